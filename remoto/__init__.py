"""Run commands and Python functions on other machines and in containers, over execnet.

>>> import remoto
>>> from remoto.process import check
>>> with remoto.Connection('localhost') as conn:
...     check(conn, ['echo', 'hello'])
(['hello'], [], 0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import backends, connection, exc, process, util
from .connection import Connection

if TYPE_CHECKING:
    from . import file_sync, group
    from .file_sync import rsync
    from .group import Group

__all__ = ["Connection", "Group", "backends", "connection", "exc", "file_sync", "group", "process", "rsync", "util"]

__version__ = "2.4.0"


# imported on first use: most programs copy no files, or use a single host
_LAZY = {"file_sync": "file_sync", "rsync": "file_sync", "group": "group", "Group": "group"}

# hidden from type checkers, which would accept any name
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _LAZY:
            import importlib

            module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
            return module if name == _LAZY[name] else getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
