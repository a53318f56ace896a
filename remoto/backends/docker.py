"""Connections to docker containers, on this machine or on another one over ssh."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..util import checked_text
from .containers import ContainerConnection, Symptom, checked_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import ContainerOptions


# those of podman, too, which may be installed as docker
_SYMPTOMS: tuple[Symptom, ...] = (
    (r"no such container|no container with name or id", "container", "no such container"),
    (r"is restarting|can only create exec sessions on running containers", "stopped", "the container is not running"),
    (r"permission denied while trying to connect|dial unix .* permission denied", "permission", "permission denied"),
    (r"cannot connect to the docker daemon|failed to connect to the docker api|cannot connect to podman"
     r"|unable to connect to podman", "unreachable", "cannot reach the engine"),
    (r"unable to resolve docker endpoint", "client", "the client's configuration is not valid"),
)  # fmt: skip


class DockerConnection(ContainerConnection):
    """A connection to a running container.

    :param hostname: the host of the engine, reached over ssh; this machine by default.
    :param container_id: the container's id. This or ``container_name`` is required.
    :param container_name: the container's name.
    :param user: the user in the container, as for ``docker exec --user``.
    :param executable: the client's name or path; ``docker`` by default.
    :param persistent: True starts a Python in the container on first use, which serves all commands, functions and
        files. If the container has none, each command calls the client, or, with ``'require'``, a ContainerError is
        raised.
    :param kw: the keywords of :class:`remoto.backends.BaseConnection`; ``env`` is set in the container.

    >>> conn = DockerConnection(container_name='web', eager=False)
    >>> conn.cmd(['ls', 'a b'])
    ['docker', 'exec', '-i', 'web', '/bin/sh', '-c', "ls 'a b'"]
    """

    executable = "docker"
    symptoms = _SYMPTOMS
    named_by = "container_name=... or container_id=..."

    def __init__(
        self,
        hostname: str | None = None,
        container_id: str | None = None,
        container_name: str | None = None,
        user: str | None = None,
        **kw: Unpack[ContainerOptions],
    ) -> None:
        self.refuse_unknown(kw)
        if not (container_id or container_name):
            raise TypeError("Either container_id or container_name must be provided")
        self.identifier = checked_name("container", container_id or container_name or "")
        self.user = checked_text("user", user)
        super().__init__(hostname, **kw)

    def client(self) -> list[str]:
        user = ["-u", self.user] if self.user else []
        return [self.executable, "exec", "-i", *user, self.identifier]

    def where(self) -> str:
        return f"{os.path.basename(self.executable)} container {self.identifier} on {self.hostname}"
