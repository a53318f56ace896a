"""Connections to podman containers, on this machine or on another one over ssh."""

from .docker import DockerConnection


class PodmanConnection(DockerConnection):
    """A connection to a running container, by ``podman``.

    The parameters are those of :class:`remoto.backends.docker.DockerConnection`.

    >>> conn = PodmanConnection(container_name='web', user='www-data', eager=False)
    >>> conn.cmd(['id', '-un'])
    ['podman', 'exec', '-i', '-u', 'www-data', 'web', '/bin/sh', '-c', 'id -un']
    """

    executable = "podman"
