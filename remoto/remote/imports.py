"""RUNS ON THE REMOTE SIDE, first of all, as the package ``remoto_remote``: imports the modules that were sent.

The package is not named ``remoto``, which may be installed there.
"""

from __future__ import absolute_import, unicode_literals

import sys

PACKAGE = "remoto_remote"
PY2 = sys.version_info[0] == 2
# seconds to wait for the source of a module that a call needs
SOURCE_LIMIT = 60


def imported(source):
    """Return the names of the modules of this directory that a source imports at its top level."""
    # importing re would take longer
    return [line.split()[1][1:] for line in source.splitlines() if line.startswith("from .")]


class Sources(object):
    """The modules that were sent: a finder and loader for sys.meta_path.

    :ivar sources: {name, without the package's: source}
    """

    def __init__(self):
        self.sources = {}

    def add(self, pairs):
        """Add modules: name, source, name, source ..."""
        self.sources.update(zip(pairs[::2], pairs[1::2]))
        if self not in sys.meta_path:
            sys.meta_path.append(self)

    def wait_for(self, name):
        """Wait for a module and its imports: calls run in parallel, and may overtake the call that adds the modules.

        Not in the finder, since the other call imports something, too, and Python 2 runs only one import at a time.
        """
        import time

        deadline = time.time() + SOURCE_LIMIT
        while name not in self.sources and time.time() < deadline:
            time.sleep(0.01)
        for other in imported(self.sources[name]):
            self.wait_for(other)

    def has(self, name):
        return name.startswith(PACKAGE + ".") and name.rpartition(".")[2] in self.sources

    def find_spec(self, name, path=None, target=None):
        if self.has(name):
            # importing importlib.machinery would take longer
            return type(sys.__spec__)(name, self)  # type: ignore[arg-type]  # it has the methods of a loader

    def create_module(self, spec):
        pass

    def exec_module(self, module):
        name = module.__name__.rpartition(".")[2]
        module.__file__ = str("remoto/remote/" + name + ".py")
        exec(compile(self.sources[name], module.__file__, "exec"), module.__dict__)

    # Python 2

    def find_module(self, name, path=None):
        return self if self.has(name) else None

    def load_module(self, name):
        module = sys.modules[name] = type(sys)(str(name))
        module.__package__ = str(PACKAGE)
        try:
            self.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


SOURCES = Sources()


def add(texts):
    """Add modules, like :meth:`Sources.add`. Python 2 accepts a coding line only in bytes."""
    SOURCES.add([text.decode("utf-8") if isinstance(text, bytes) and not PY2 else text for text in texts])


def unpack(text):
    """Return what ``remote.packed`` has packed."""
    import binascii
    import zlib

    return zlib.decompress(binascii.a2b_base64(text)).split(b"\0")


def function(module, name):
    """Return a function of one of these modules, which is imported on first use."""
    full_name = PACKAGE + "." + module
    if full_name not in sys.modules:
        SOURCES.wait_for(module)
    __import__(full_name)
    return getattr(sys.modules[full_name], name)
