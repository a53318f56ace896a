"""RUNS ON THE REMOTE SIDE: makes a module of source that was sent."""

import sys

SHIPPED = {}  # filename: source, for tracebacks
LOADED = {}  # name: the module that was made last under it
PY2 = sys.version_info[0] == 2


def load(name, package, filename, source, is_package, builtins=None):
    """Return a new module. It is not '__main__' and not '__channelexec__': blocks that ask for those do not run.

    :param builtins: its ``__builtins__``; by default Python's own choice.
    """
    module = type(sys)(str(name))
    if builtins is not None:
        module.__builtins__ = builtins
    module.__file__ = native(filename)
    module.__package__ = str(package)  # Python 2 wants it in bytes
    if is_package:
        module.__path__ = []  # its parts are found by including.py
    # for code that looks up its own module, such as pickle; but an installed module of that name has other users
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
        # Python 2 takes a coding line in bytes only, and these bytes for UTF-8 only with a mark
        source = b"\xef\xbb\xbf" + source
    # without this module's own __future__
    exec(compile(source, filename, "exec", 0, 1), module.__dict__)


def native(text):
    return text.encode("utf-8") if PY2 else text
