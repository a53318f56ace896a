"""RUNS ON THE REMOTE SIDE: makes a module from source that was sent."""

from __future__ import absolute_import, unicode_literals

import sys

# filename: source, for tracebacks
SHIPPED = {}  # type: dict
# name: the last module loaded by that name
LOADED = {}  # type: dict
PY2 = sys.version_info[0] == 2


def load(shipped, builtins=None):
    """Return a new module. Its name is neither '__main__' nor '__channelexec__', so that blocks for these do not run.

    :param shipped: (name, package, filename, source, True for a package)
    :param builtins: its ``__builtins__``; by default those that exec() sets.
    """
    name, package, filename, source, is_package = shipped
    module = type(sys)(str(name))
    if builtins is not None:
        module.__dict__["__builtins__"] = builtins
    module.__file__ = native(filename)
    module.__package__ = str(package)  # Python 2 requires bytes
    if is_package:
        module.__path__ = []  # including.py finds its parts
    # for code that looks up its module, such as pickle; do not replace an installed module of that name
    if sys.modules.get(name) is LOADED.get(name):
        sys.modules[str(name)] = module
    if PY2 and package:
        import warnings

        warnings.filterwarnings("ignore", "Parent module .* not found", RuntimeWarning)
    fill(module, filename, source)
    return module


def fill(module, filename, source):
    filename, source = native(filename), native(source)
    SHIPPED[filename] = source
    LOADED[module.__name__] = module
    if PY2:
        # Python 2 accepts a coding line only in bytes, and reads these as UTF-8 only after a byte order mark
        source = b"\xef\xbb\xbf" + source
    # do not inherit this file's __future__ imports
    exec(compile(source, filename, "exec", 0, True), module.__dict__)


def native(text):
    return text.encode("utf-8") if PY2 else text
