"""RUNS ON THE FAR SIDE: makes a module of the text that came along."""

import sys

SHIPPED = {}  # filename: text, for tracebacks


def load(name, package, filename, source):
    """A new module. It is not '__main__' and not '__channelexec__': blocks that ask for those do not run."""
    module = type(sys)(str(name))
    module.__file__ = filename
    module.__package__ = str(package)  # Python 2 wants it in bytes
    # for what looks its own module up, such as pickle; a module that is there already has other users
    sys.modules.setdefault(name, module)
    fill(module, filename, source)
    return module


def fill(module, filename, source):
    SHIPPED[filename] = source
    if sys.version_info[0] == 2:
        # Python 2 takes a coding line in bytes only, and these bytes for UTF-8 only with a mark
        source = b"\xef\xbb\xbf" + source.encode("utf-8")
    # without this module's own __future__
    exec(compile(source, filename, "exec", 0, 1), module.__dict__)
