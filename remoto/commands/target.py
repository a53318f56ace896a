"""The part of a connection that commands and functions use."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from ..exc import ConnectError, StartError
from ..gateways.remote_calls import RemoteFunction

if TYPE_CHECKING:
    from ..backends import BaseConnection
    from ..untyped import AnyGateway
    from .request import Argv, Request

    class Channel(Protocol):
        """execnet's channel, or a mock of one in a program's test."""

        def receive(self, timeout: float | None = None) -> object: ...

        def send(self, item: object) -> None: ...

        def close(self) -> None: ...


class Target:
    """The base class of all connections: what commands and functions need of one. The defaults are those of a host."""

    hostname: str
    logger: logging.Logger
    sudo: bool
    #: execnet's gateway, None before the first use
    gateway: AnyGateway
    connect_timeout: float | None
    global_timeout: float | None
    kill_on_timeout: bool
    raise_on_timeout: bool
    #: the class of the error if no Python is found
    connect_error: type[StartError] = StartError
    #: True if a container's client runs the commands
    has_client = False

    @property
    def is_closed(self) -> bool:
        """True after ``exit()`` was called."""
        raise NotImplementedError

    def where(self) -> str:
        """Return the host or container, for messages."""
        return self.hostname

    def cmd(self, command: Argv) -> Argv:
        """Return the argv that runs a command on the remote side: the unchanged command, except in a container."""
        return command

    def prepare_command(self, request: Request) -> Request:
        """Return the request to send. For a container, it runs the client."""
        return request

    def start_command(self, function: RemoteFunction, request: Request, timeout: float | None) -> Channel:
        """Send a request; return the channel for its answers.

        :param timeout: seconds to wait until the request is sent.
        """
        raise NotImplementedError

    def client_failure(self, argv: Sequence[str], status: int | None, stderr: Sequence[str]) -> ConnectError | None:
        """Return the error for a failed container client; None if commands need no client."""
        return None


def target_of(conn: object) -> Target:
    """Return a connection unchanged; adapt a program's mock of one.

    :raises TypeError: it has no ``cmd`` or no ``execute``.
    """
    is_target = issubclass(type(conn), Target)
    if not is_target and (isinstance(conn, type) or not (hasattr(conn, "cmd") and hasattr(conn, "execute"))):
        raise TypeError(f"conn: expected a connection, not {type(conn).__name__}: {conn!r}")
    return adapted(conn)


def adapted(conn: object) -> Target:
    """Return a connection unchanged, or a Target for a program's mock of one."""
    # not isinstance(): it is true for a Mock(spec=Connection)
    return cast("Target", conn) if issubclass(type(conn), Target) else _Mock(cast("BaseConnection", conn))


class _Mock(Target):
    """An adapter for a program's mock, which has the attributes of remoto 1.2's connections, or any at all."""

    is_closed = False

    def __init__(self, conn: BaseConnection) -> None:
        self._conn = conn
        self.hostname = str(getattr(conn, "hostname", conn))
        self.logger = conn.logger
        self.sudo = bool(getattr(conn, "sudo", False))
        self.gateway = getattr(conn, "gateway", None)
        self.global_timeout = _seconds(conn, "global_timeout")
        self.connect_timeout = _seconds(conn, "connect_timeout")
        self.kill_on_timeout = getattr(conn, "kill_on_timeout", None) is True
        self.raise_on_timeout = getattr(conn, "raise_on_timeout", None) is True

    def cmd(self, command: Argv) -> Argv:
        argv: Argv = self._conn.cmd(command)
        return argv

    def start_command(self, function: RemoteFunction, request: Mapping[str, object], timeout: float | None) -> Channel:
        channel: Channel = self._conn.execute(function, **request)
        return channel


def _seconds(conn: object, name: str) -> float | None:
    value = getattr(conn, name, None)
    return value if isinstance(value, (int, float)) else None
