"""The connection classes, and the classes that run remote functions."""

from ..functions.legacy import LegacyModuleExecute
from ..log import basic_remote_logger
from ..process import check
from .base import BaseConnection
from .patchable import JsonModuleExecute, get_python_executable
from .ssh import needs_ssh

__all__ = [
    "BaseConnection",
    "JsonModuleExecute",
    "LegacyModuleExecute",
    "basic_remote_logger",
    "check",
    "get_python_executable",
    "needs_ssh",
]
