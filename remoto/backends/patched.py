"""Functions that run commands by ``remoto.backends.check``, because programs' tests replace that name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..functions import interpreter, json_calls

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..functions.interpreter import CheckOptions
    from ..process import CheckResult
    from .base import BaseConnection


def _check(conn: BaseConnection, command: list[str], **options: Unpack[CheckOptions]) -> CheckResult[list[str]]:
    # at each call: a test may have replaced it since the last one
    from remoto import backends

    return backends.check(conn, command, **options)


def get_python_executable(conn: BaseConnection) -> str:
    """Return the Python that JSON calls use: the first of ``python3``, ``python`` and ``python2.7`` that works on the
    remote side.

    Search once per connection. If the search finds none, return the connection's ``interpreter``. The search's timeout
    is ``connect_timeout`` or ``global_timeout``, whichever is shorter.

    :raises ConnectError: also an OSError: the search timed out, or its answer is not a path.
    """
    return interpreter.find(conn, _check)


class JsonModuleExecute(json_calls.JsonModuleExecute):
    __doc__ = json_calls.JsonModuleExecute.__doc__

    def _remoto_check(
        self, conn: BaseConnection, command: list[str], **options: Unpack[CheckOptions]
    ) -> CheckResult[list[str]]:
        return _check(conn, command, **options)
