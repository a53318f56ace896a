"""Find a backend by its name."""

from __future__ import annotations

import logging
from typing import Any

from .backends import BaseConnection, docker, kubernetes, local, needs_ssh, openshift, podman, ssh

__all__ = ["Connection", "docker", "get", "kubernetes", "local", "needs_ssh", "openshift", "podman", "ssh"]

Connection = BaseConnection

_BACKENDS: dict[str, Any] = {
    "ssh": ssh.SshConnection,
    "local": local.LocalConnection,
    "localhost": local.LocalConnection,
    "popen": local.LocalConnection,
    "docker": docker.DockerConnection,
    "podman": podman.PodmanConnection,
    "kubernetes": kubernetes.KubernetesConnection,
    "k8s": kubernetes.KubernetesConnection,
    "openshift": openshift.OpenshiftConnection,
    "oc": openshift.OpenshiftConnection,
}


def get(name: str | None, fallback: str | None = "ssh") -> Any:
    """The class of a backend.

    :param name: ``ssh``; ``local``, ``popen`` or ``localhost``; ``docker``; ``podman``; ``kubernetes`` or ``k8s``;
        ``openshift`` or ``oc``. Any case; blanks around it are ignored. Empty or None means ssh.
    :param fallback: the name that counts where ``name`` is not known.
    :returns: a subclass of :class:`remoto.backends.BaseConnection`, or None where neither name is known.

    >>> get('ssh').__name__
    'BaseConnection'
    >>> get(' Local ').__name__
    'LocalConnection'
    """
    wanted = (name or "ssh").strip().lower() or "ssh"
    if wanted in _BACKENDS:
        return _BACKENDS[wanted]
    logger = logging.getLogger("remoto")
    logger.warning('no connection backend found for: "%s"', name)
    if not fallback:
        return None
    logger.info('falling back to "%s"', fallback)
    return _BACKENDS.get(fallback.strip().lower())
