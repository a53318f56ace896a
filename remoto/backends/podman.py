"""Containers of podman, on this machine or on another one by ssh."""

from .docker import DockerConnection


class PodmanConnection(DockerConnection):
    """As :class:`remoto.backends.docker.DockerConnection`, by ``podman``.

    >>> conn = PodmanConnection(container_name='web', user='www-data', eager=False)
    >>> conn.cmd(['id', '-un'])
    ['podman', 'exec', '-i', '-u', 'www-data', 'web', '/bin/sh', '-c', 'id -un']
    """

    executable = "podman"
