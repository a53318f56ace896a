"""This machine."""

from __future__ import annotations

from typing import Any

from . import BaseConnection


class LocalConnection(BaseConnection):
    """A connection to a Python on this machine. Takes what :class:`remoto.backends.BaseConnection` takes; the hostname is ``localhost``.

    >>> from remoto.process import check
    >>> with LocalConnection() as conn:
    ...     check(conn, ['echo', 'hello']).stdout
    ['hello']
    """

    def __init__(self, hostname: str | None = None, **kw: Any) -> None:
        kw["detect_sudo"] = False
        super().__init__("localhost", **kw)
