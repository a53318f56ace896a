"""The part of a connection that commands use."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..gateways.bootstrap import RemoteFunction
from .request import Argv, Request


class Channel(Protocol):
    """execnet's channel, or a mock of one in a program's test."""

    def receive(self, timeout: float | None = None) -> object: ...

    def send(self, item: object) -> None: ...

    def close(self) -> None: ...


class Target(Protocol):
    """Where commands run. :class:`remoto.backends.BaseConnection` is one."""

    logger: logging.Logger
    sudo: bool
    gateway: Any
    global_timeout: float | None
    kill_on_timeout: bool
    raise_on_timeout: bool
    #: whether a container's client runs the commands
    has_client: bool

    @property
    def is_closed(self) -> bool:
        """Whether ``exit()`` was called."""

    def where(self) -> str:
        """Return the host or container, for messages."""

    def cmd(self, command: Argv) -> Argv:
        """Return the argv that is run on the remote side for a command."""

    def prepare_command(self, request: Request) -> Request:
        """Return the request to send: for a container, one that runs its client."""

    def start_command(self, function: RemoteFunction, request: Request, timeout: float | None) -> Channel:
        """Send a request; return the channel that carries its answers."""

    def client_failure(self, argv: Sequence[str], status: int | None, stderr: Sequence[str]) -> Exception | None:
        """Return the error for a failed container client; None if commands need no client."""


def target_of(conn: object) -> Target:
    """Return a connection unchanged, or a program's mock with the members that it lacks.

    :raises TypeError: it is not a connection.
    """
    # look at the class: an instance of Mock has every attribute
    if hasattr(type(conn), "start_command"):
        return conn  # type: ignore[return-value]
    if isinstance(conn, type) or not (hasattr(conn, "cmd") and hasattr(conn, "execute")):
        raise TypeError(f"conn: expected a connection, not {type(conn).__name__}: {conn!r}")
    return _Mock(conn)


class _Mock:
    """Adapts a mock of a connection in a program's test: it has the attributes of remoto 1.2's, or any at all."""

    has_client = False
    is_closed = False

    def __init__(self, conn: Any) -> None:
        timeout = getattr(conn, "global_timeout", None)
        self._conn = conn
        self.logger: logging.Logger = conn.logger
        self.sudo = bool(conn.sudo)
        self.gateway = conn.gateway
        self.global_timeout: float | None = timeout if isinstance(timeout, (int, float)) else None
        self.kill_on_timeout = getattr(conn, "kill_on_timeout", None) is True
        self.raise_on_timeout = getattr(conn, "raise_on_timeout", None) is True

    def where(self) -> str:
        return str(self._conn.hostname)

    def cmd(self, command: Argv) -> Argv:
        argv: Argv = self._conn.cmd(command)
        return argv

    def prepare_command(self, request: Request) -> Request:
        return request

    def start_command(self, function: RemoteFunction, request: Mapping[str, Any], timeout: float | None) -> Channel:
        channel: Channel = self._conn.execute(function, **request)
        return channel

    def client_failure(self, argv: Sequence[str], status: int | None, stderr: Sequence[str]) -> Exception | None:
        return None
