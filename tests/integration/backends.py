"""Open a connection of each backend.

Add a function for a new backend: all contract tests then run over it.
"""

import functools

import remoto
from remoto import connection


def local(request):
    return lambda **kw: remoto.Connection("localhost", **kw)


def ssh(request):
    request.getfixturevalue("sshd")
    return lambda **kw: remoto.Connection("node0", **kw)


def ssh_via(request):
    relay = request.getfixturevalue("relay")
    return lambda **kw: remoto.Connection("node0", via=relay, **kw)


def docker(request, image="python"):
    name = request.getfixturevalue(f"docker_{image}")
    return lambda **kw: connection.get("docker")(container_name=name, **kw)


def podman(request, image="python"):
    name = request.getfixturevalue(f"podman_{image}")
    return lambda **kw: connection.get("podman")(container_name=name, **kw)


def kubernetes(request, image="python"):
    pod = request.getfixturevalue(f"kube_{image}")
    keywords = request.getfixturevalue("kube_cluster").keywords
    return lambda **kw: connection.get("kubernetes")(pod, **keywords, **kw)


def persistent(backend):
    """Return the function for the same containers, with ``persistent``."""
    return lambda request: functools.partial(backend(request), persistent="require")


BACKENDS = {
    "local": local,
    "ssh": ssh,
    "ssh_via": ssh_via,
    "docker": docker,
    "podman": podman,
    "kubernetes": kubernetes,
}
BACKENDS.update({f"{name}-persistent": persistent(BACKENDS[name]) for name in ("docker", "podman", "kubernetes")})
#: containers that have only a shell, for test modules with NEEDS_NO_PYTHON
SHELLS = {
    f"{backend}-shell": functools.partial(BACKENDS[backend], image="shell")
    for backend in ("docker", "podman", "kubernetes")
}
