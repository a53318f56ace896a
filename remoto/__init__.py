"""Run commands and Python functions on other machines and in containers, over execnet.

>>> import remoto
>>> from remoto.process import check
>>> with remoto.Connection('localhost') as conn:
...     check(conn, ['echo', 'hello'])
(['hello'], [], 0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import backends, connection, exc, lazy, util
from .connection import Connection

if TYPE_CHECKING:
    from . import file_sync, group, process
    from .file_sync import rsync
    from .group import Group

__all__ = ["Connection", "Group", "backends", "connection", "exc", "file_sync", "group", "process", "rsync", "util"]

__version__ = "2.5.0"


# most programs copy no files, and use a single host; some never run a command
_LAZY = {
    "Group": "remoto.group",
    "file_sync": "remoto.file_sync",
    "group": "remoto.group",
    "process": "remoto.process",
    "rsync": "remoto.file_sync",
}

# hidden from type checkers, which would accept any name
if not TYPE_CHECKING:
    __getattr__ = lazy.attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
