"""Leaves where it is loaded, which is where remoto is not."""

import sys

if "remoto" not in sys.modules:
    sys.exit(0)


def function():
    return 1
