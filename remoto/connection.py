"""Find a backend by its name."""

from __future__ import annotations

import importlib
import logging
import warnings
from typing import TYPE_CHECKING, Literal, Union, overload

from . import lazy
from .backends import BaseConnection, needs_ssh, ssh

if TYPE_CHECKING:
    from .backends import docker, kubernetes, local, openshift, podman
    from .backends.options import ClusterBackend, EngineBackend, HostBackend

    BackendName = Union[HostBackend, EngineBackend, ClusterBackend]

__all__ = ["Connection", "docker", "get", "kubernetes", "local", "logger", "needs_ssh", "openshift", "podman", "ssh"]

Connection = BaseConnection

#: the logger for messages that belong to no connection
logger = logging.getLogger("remoto")

# the modules of remoto.backends and their classes, which are imported on first use: most programs use only one
_BACKENDS = {
    "ssh": "ssh.SshConnection",
    "local": "local.LocalConnection",
    "localhost": "local.LocalConnection",
    "popen": "local.LocalConnection",
    "docker": "docker.DockerConnection",
    "podman": "podman.PodmanConnection",
    "kubernetes": "kubernetes.KubernetesConnection",
    "k8s": "kubernetes.KubernetesConnection",
    "openshift": "openshift.OpenshiftConnection",
    "oc": "openshift.OpenshiftConnection",
}
# as in remoto 1.x, these modules can also be found here
_LAZY = {name: f"remoto.backends.{name}" for name in ("docker", "kubernetes", "local", "openshift", "podman")}

# hidden from type checkers, which would accept any name
if not TYPE_CHECKING:
    __getattr__ = lazy.attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


@overload
def get(name: Literal["ssh", ""] | None, fallback: str | None = "ssh") -> type[BaseConnection]: ...
@overload
def get(name: Literal["local", "localhost", "popen"], fallback: str | None = "ssh") -> type[local.LocalConnection]: ...
@overload
def get(name: Literal["docker"], fallback: str | None = "ssh") -> type[docker.DockerConnection]: ...
@overload
def get(name: Literal["podman"], fallback: str | None = "ssh") -> type[podman.PodmanConnection]: ...
@overload
def get(name: Literal["openshift", "oc"], fallback: str | None = "ssh") -> type[openshift.OpenshiftConnection]: ...
@overload
def get(name: Literal["kubernetes", "k8s"], fallback: str | None = "ssh") -> type[kubernetes.KubernetesConnection]: ...
@overload
def get(name: str | None, fallback: BackendName) -> type[BaseConnection]: ...
@overload
def get(name: str | None, fallback: str | None) -> type[BaseConnection] | None: ...
def get(name: str | None, fallback: str | None = "ssh") -> type[BaseConnection] | None:
    """Return the class of a backend.

    :param name: ``ssh``; ``local``, ``popen`` or ``localhost``; ``docker``; ``podman``; ``kubernetes`` or ``k8s``;
        ``openshift`` or ``oc``. Case and surrounding blanks are ignored. Empty or None means ssh.
    :param fallback: the name to use if ``name`` is unknown. An unknown name is logged at WARNING, and passed to
        ``warnings.warn``.
    :returns: :class:`remoto.backends.BaseConnection` or a subclass; None if neither name is known.
    :raises TypeError: the name is not a string.

    >>> get('ssh').__name__
    'BaseConnection'
    >>> get(' Local ').__name__
    'LocalConnection'
    """
    return find(name, fallback, stacklevel=3)


def find(name: str | None, fallback: str | None, stacklevel: int) -> type[BaseConnection] | None:
    """Return the class of a backend, see :func:`get`.

    :param stacklevel: passed to ``warnings.warn``.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name: expected a backend's name, not {type(name).__name__}: {name!r}")
    wanted = (name or "ssh").strip().lower() or "ssh"
    if wanted in _BACKENDS:
        return _backend(wanted)
    unknown = f'no connection backend found for: "{name}"'
    logger.warning(unknown)
    warnings.warn(f"{unknown}; falling back to {fallback!r}" if fallback else unknown, stacklevel=stacklevel)
    if not fallback:
        return None
    logger.info('falling back to "%s"', fallback)
    wanted = fallback.strip().lower()
    return _backend(wanted) if wanted in _BACKENDS else None


def _backend(name: str) -> type[BaseConnection]:
    module, class_name = _BACKENDS[name].split(".")
    with lazy.importing:
        found: type[BaseConnection] = getattr(importlib.import_module(f"remoto.backends.{module}"), class_name)
    return found
