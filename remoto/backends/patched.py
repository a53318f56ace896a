"""Functions that run commands by ``remoto.backends.check``, because programs' tests replace that name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..functions import interpreter, json_calls

if TYPE_CHECKING:
    from ..commands.target import Target


def _check(*args: Any, **kw: Any) -> Any:
    # at each call: a test may have replaced it since the last one
    from remoto import backends

    return backends.check(*args, **kw)


def get_python_executable(conn: Target) -> str:
    """Return the Python that JSON calls use: the first of ``python3``, ``python`` and ``python2.7`` that works on the
    remote side.

    Search once per connection. If the search finds none, return the connection's ``interpreter``. The search's timeout
    is ``connect_timeout`` or ``global_timeout``, whichever is shorter.

    :raises ConnectError: also an OSError: the search timed out, or its answer is not a path.
    """
    return interpreter.find(conn, _check)


class JsonModuleExecute(json_calls.JsonModuleExecute):
    __doc__ = json_calls.JsonModuleExecute.__doc__

    def _remoto_check(self, *args: Any, **kw: Any) -> Any:
        return _check(*args, **kw)
