"""Source that is sent to the far side. Nothing in this folder imports remoto, and nothing in remoto imports it.

It runs on Python 2.7 and 3.4 to 3.14 with the standard library alone.
"""

import pkgutil


def source(name):
    """The text of the file ``NAME.py`` of this folder, also out of a zip."""
    return pkgutil.get_data(__name__, name + ".py").decode("utf-8")
