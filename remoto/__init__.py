"""Run commands and Python functions on other machines and in containers, over execnet.

>>> import remoto
>>> from remoto.process import check
>>> with remoto.Connection('localhost') as conn:
...     check(conn, ['echo', 'hello'])
(['hello'], [], 0)
"""

from __future__ import annotations

import typing

from . import backends, connection, exc, process, util
from .connection import Connection

if typing.TYPE_CHECKING:
    from . import file_sync
    from .file_sync import rsync

__all__ = ["Connection", "backends", "connection", "exc", "file_sync", "process", "rsync", "util"]

__version__ = "2.1.0"


def __getattr__(name: str) -> typing.Any:
    # imported on first use: most programs never move files
    if name in ("file_sync", "rsync"):
        import importlib

        module = importlib.import_module(f"{__name__}.file_sync")
        return module if name == "file_sync" else module.rsync
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
