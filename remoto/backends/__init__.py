"""The connection classes, and the classes that run remote functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import lazy
from ..log import basic_remote_logger
from .base import BaseConnection
from .ssh import needs_ssh

if TYPE_CHECKING:
    from ..functions.legacy import LegacyModuleExecute
    from ..process import check
    from .patchable import JsonModuleExecute, get_python_executable

__all__ = [
    "BaseConnection",
    "JsonModuleExecute",
    "LegacyModuleExecute",
    "basic_remote_logger",
    "check",
    "get_python_executable",
    "needs_ssh",
]

# most programs use one backend, and call no functions; some never run a command
_LAZY = {
    "JsonModuleExecute": "remoto.backends.patchable",
    "LegacyModuleExecute": "remoto.functions.legacy",
    "check": "remoto.backends.patchable",
    "containers": "remoto.backends.containers",
    "docker": "remoto.backends.docker",
    "get_python_executable": "remoto.backends.patchable",
    "kubernetes": "remoto.backends.kubernetes",
    "local": "remoto.backends.local",
    "openshift": "remoto.backends.openshift",
    "podman": "remoto.backends.podman",
}

# hidden from type checkers, which would accept any name
if not TYPE_CHECKING:
    __getattr__ = lazy.attributes(__name__, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
