"""The keywords of connections, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from ..log import AnyLogger
    from .base import BaseConnection


class ConnectionOptions(TypedDict, total=False):
    """The keywords of all connections, see :class:`remoto.backends.BaseConnection`."""

    logger: AnyLogger | None
    sudo: bool
    threads: int
    eager: bool
    detect_sudo: bool
    use_ssh: bool
    interpreter: str | None
    ssh_options: str | None
    connect_timeout: float | None
    keepalive: float | None
    env: Mapping[str, str] | None
    kill_on_timeout: bool
    raise_on_timeout: bool
    via: BaseConnection | None


class ContainerOptions(ConnectionOptions, total=False):
    """The keywords of all connections to containers."""

    executable: str | None
    persistent: bool | Literal["require"]
