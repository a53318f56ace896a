"""Is not to be run here."""

import os

if "REMOTO_TEST_HERE" in os.environ:
    raise RuntimeError("it was run where it was only to be sent from")
