"""Functions that call ``remoto.backends.check``, because programs patch that name in their tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..functions import interpreter, json_calls
from ..process import _original_check as check

__all__ = ["JsonModuleExecute", "check", "get_python_executable"]

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..functions.interpreter import CheckOptions
    from ..process import CheckResult
    from .base import BaseConnection


def _check(conn: BaseConnection, command: list[str], **options: Unpack[CheckOptions]) -> CheckResult[list[str]]:
    # look it up at each call, since a test may have patched it
    from remoto import backends

    return backends.check(conn, command, **options)


def get_python_executable(conn: BaseConnection) -> str:
    """Return the remote Python for JSON calls.

    It is the first of ``python3``, ``python`` and ``python2.7`` that works, or the connection's ``interpreter`` if none
    is found. The search runs once for each connection. Its timeout is ``connect_timeout`` or ``global_timeout``,
    whichever is shorter.

    :param conn: a connection of any backend.
    :raises ConnectError: also an OSError: the search timed out, or its answer is not a path.
    """
    return interpreter.find(conn, _check)


class JsonModuleExecute(json_calls.JsonModuleExecute):
    __doc__ = json_calls.JsonModuleExecute.__doc__

    def _remoto_check(
        self, conn: BaseConnection, command: list[str], **options: Unpack[CheckOptions]
    ) -> CheckResult[list[str]]:
        return _check(conn, command, **options)
