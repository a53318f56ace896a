"""Connections to this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from .base import BaseConnection

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import ConnectionOptions


class LocalConnection(BaseConnection):
    """A connection to a Python on this machine, never over ssh.

    :param hostname: ignored; it is always ``localhost``.
    :param kw: the keywords of :class:`remoto.backends.BaseConnection`. ``use_ssh`` and ``detect_sudo`` have no effect.

    >>> from remoto.process import check
    >>> with LocalConnection() as conn:
    ...     check(conn, ['echo', 'hello']).stdout
    ['hello']
    """

    def __init__(self, hostname: str | None = None, **kw: Unpack[ConnectionOptions]) -> None:
        kw["detect_sudo"] = False
        super().__init__("localhost", **kw)

    def _make_connection_string(
        self, hostname: str, _needs_ssh: Callable[[str], bool] | None = None, use_sudo: bool | None = None
    ) -> str:
        return f"popen//python={self._python_command(use_sudo)}"
