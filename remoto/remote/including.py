"""RUNS ON THE REMOTE SIDE: makes the modules that were sent along importable by their names."""

from __future__ import absolute_import, unicode_literals

import sys

from .loading import fill, native


class Finder(object):
    """A finder and loader for sys.meta_path.

    :ivar modules: {name: (whether it is a package, filename, text)}
    """

    def __init__(self):
        self.modules = {}

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        from importlib.machinery import ModuleSpec

        is_package, filename, _ = self.modules[name]
        spec = ModuleSpec(name, self, origin=filename, is_package=is_package)  # type: ignore[arg-type]  # it has the methods of a loader
        spec.has_location = True
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        _, filename, source = self.modules[module.__name__]
        fill(module, filename, source)

    # Python 2

    def find_module(self, name, path=None):
        return self if name in self.modules else None

    def load_module(self, name):
        is_package, filename, _ = self.modules[name]
        module = sys.modules[name] = type(sys)(name)
        module.__file__ = native(filename)
        module.__loader__ = self
        module.__package__ = str(name if is_package else name.rpartition(".")[0])
        if is_package:
            module.__path__ = []
        try:
            self.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return sys.modules[name]


INCLUDED = Finder()  # comes before installed modules
PARENTS = Finder()  # comes after them: empty packages for modules that were sent without their parents


def include(modules, parents, module):
    """Make these modules importable.

    :param module: the name of the module that is about to be reloaded; the modules of a package are reloaded with it.
    """
    if INCLUDED not in sys.meta_path:
        sys.meta_path.insert(0, INCLUDED)
        sys.meta_path.append(PARENTS)
    for name in modules:
        if INCLUDED.modules.get(name) != modules[name]:
            forget(name)
    for name in list(modules) + list(parents):
        if name.startswith(module + "."):
            forget(name)
    INCLUDED.modules.update(modules)
    PARENTS.modules.update((name, (True, name, "")) for name in parents)


def forget(name):
    """Make the next import of a module reload it."""
    module = sys.modules.pop(name, None)
    package, _, last = name.rpartition(".")
    parent = sys.modules.get(package)
    # `from package import module` looks at the package's attributes first
    if module is not None and getattr(parent, last, None) is module:
        delattr(parent, last)
