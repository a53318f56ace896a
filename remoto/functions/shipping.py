"""Collect the source of a module, and of modules sent along, for the remote side."""

from __future__ import annotations

import inspect
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import NamedTuple

from ..lazy import importing


class Text(NamedTuple):
    """The source of a module."""

    name: str
    package: str
    filename: str
    source: str
    is_package: bool

    @classmethod
    def of(cls, module: ModuleType) -> Text:
        name = module.__name__
        spec = getattr(module, "__spec__", None)
        filename = shown(getattr(module, "__file__", None) or f"<{name}>")
        package = getattr(module, "__package__", None) or ""
        text = _source(spec.loader, spec.name) if spec is not None else None
        if text is None:
            try:
                text = _as_utf8(inspect.getsource(module))
            except OSError:
                raise TypeError(f"{name}: a module without its source can't be sent to the remote side") from None
        if name in ("__main__", "__channelexec__"):
            name = "remoto_main"
        return cls(name, package, filename, text, hasattr(module, "__path__"))


def _source(loader: object, name: str) -> str | None:
    # an extension module has no source, and some loaders can't return it
    get_source = getattr(loader, "get_source", None)
    text = get_source(name) if get_source is not None else None
    return None if text is None else _as_utf8(text)


def _as_utf8(text: str) -> str:
    """Set the coding line of source to UTF-8: it is sent as UTF-8, whatever the encoding of the file."""
    lines = text.split("\n", 2)
    head = [re.sub(r"^([ \t\f]*#.*?coding[:=][ \t]*)[-\w.]+", r"\1utf-8", line) for line in lines[:2]]
    return "\n".join([*head, *lines[2:]])


#: the modules for remote/including.py: {name: (whether it is a package, filename, source)}
Included = dict[str, tuple[bool, str, str]]


class Shipment(NamedTuple):
    """The source of a module, and of the modules that are sent along."""

    module: Text
    included: Included
    #: packages that are sent only in part
    parents: list[str]

    @classmethod
    def of(cls, module: object, include: ModuleType | Iterable[ModuleType]) -> Shipment:
        checked = checked_module(module)
        text = Text.of(checked)
        included: Included = {}
        if text.is_package:
            included.update(_parts(text.name, checked.__path__))
        for item in listed(include):
            included.update(_with_parts(item))
        names = [text.name, *included]
        parents = {name.rsplit(".", level)[0] for name in names for level in range(1, name.count(".") + 1)}
        return cls(text, included, sorted(parents - set(names)))


def checked_module(module: object) -> ModuleType:
    """Return a module unchanged.

    :raises TypeError: it is none.
    """
    if not isinstance(module, ModuleType):
        raise TypeError(f"expected a module, not {type(module).__name__}: {module!r}")
    return module


def listed(include: object) -> list[ModuleType]:
    """Return the modules of ``include``, which is one or several.

    :raises TypeError: something else is among them.
    """
    items = list(include) if isinstance(include, Iterable) and not isinstance(include, str) else [include]
    for item in items:
        if not isinstance(item, ModuleType):
            raise TypeError(f"include: expected modules, not {type(item).__name__}: {item!r}")
    return items


def _with_parts(module: ModuleType) -> Included:
    text = Text.of(module)
    found = {text.name: (text.is_package, text.filename, text.source)}
    if text.is_package:
        found.update(_parts(text.name, module.__path__))
    return found


def _parts(package: str, path: Iterable[str], above: Sequence[str] = ()) -> Included:
    """Return all modules of a package, without importing them.

    :param above: the parent directories; symbolic links to them are skipped.
    """
    with importing:
        # importing them takes half as long as importing remoto
        import pkgutil
        from importlib.machinery import PathFinder

    path = [directory for directory in path if os.path.realpath(directory) not in above]
    above = [*above, *map(os.path.realpath, path)]
    names = {info.name for info in pkgutil.iter_modules(path)}
    # a directory without an __init__.py is a package as well (PEP 420)
    names.update(itertools.chain.from_iterable(map(_directories, path)))
    found: Included = {}
    for name in sorted(names):
        spec = PathFinder.find_spec(f"{package}.{name}", path) if name.isidentifier() else None
        if spec is None or name == "__pycache__":
            continue
        inner = spec.submodule_search_locations
        try:
            source = _source(spec.loader, spec.name) if spec.has_location else None
        except (ImportError, SyntaxError, ValueError):
            source = None  # invalid Python, for instance test data
        if source is not None:
            found[spec.name] = (inner is not None, shown(spec.origin or spec.name), source)
        found.update(_parts(spec.name, inner or (), above))
    return found


def _directories(directory: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []  # in an archive, or unreadable


def shown(text: str) -> str:
    """Escape the bytes in text that are not UTF-8, such as ``\\xff``, so that it can be encoded."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if not text.isascii() else text
