"""How a connection of each backend is opened. A new backend is one more function here: all contract tests run over it."""

import remoto
from remoto import connection


def local(request):
    return lambda **kw: remoto.Connection("localhost", **kw)


def ssh(request):
    request.getfixturevalue("sshd")
    return lambda **kw: remoto.Connection("node0", **kw)


def docker(request):
    name = request.getfixturevalue("docker_python")
    return lambda **kw: connection.get("docker")(container_name=name, **kw)


def podman(request):
    name = request.getfixturevalue("podman_python")
    return lambda **kw: connection.get("podman")(container_name=name, **kw)


def kubernetes(request):
    pod = request.getfixturevalue("kube_python")
    return lambda **kw: connection.get("kubernetes")(pod, **kw)


BACKENDS = {"local": local, "ssh": ssh, "docker": docker, "podman": podman, "kubernetes": kubernetes}
