"""Can be loaded where remoto is, which is here."""

import sys

print("before it breaks")

if "remoto" not in sys.modules:
    raise KeyError("broken from the start")


def function():
    return 1
