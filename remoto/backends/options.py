"""The keywords of connections, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from ..log import AnyLogger
    from .base import BaseConnection

#: the names of backends, by the keywords that their connections have
HostBackend = Literal["ssh", "local", "localhost", "popen"]
EngineBackend = Literal["docker", "podman"]
ClusterBackend = Literal["kubernetes", "k8s", "openshift", "oc"]


class SharedOptions(TypedDict, total=False):
    """The keywords of all connections that a group passes to each of its connections."""

    logger: AnyLogger | None
    sudo: bool
    threads: int
    detect_sudo: bool
    use_ssh: bool
    interpreter: str | None
    ssh_options: str | None
    connect_timeout: float | None
    keepalive: float | None
    env: Mapping[str, str] | None
    kill_on_timeout: bool
    raise_on_timeout: bool


class ConnectionOptions(SharedOptions, total=False):
    """The keywords of all connections, see :class:`remoto.backends.BaseConnection`."""

    eager: bool
    via: BaseConnection | None


class ClientOptions(TypedDict, total=False):
    """The keywords that only connections to containers have."""

    executable: str | None
    persistent: bool | Literal["require"]


class ContainerOptions(ConnectionOptions, ClientOptions, total=False):
    """The keywords of all connections to containers."""
