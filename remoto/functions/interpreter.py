"""The search for a Python that can run functions."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable

from ..exc import CommandTimeout, ConnectError
from ..process import NO_EXIT_CODE
from .facade import where

_FIND_PYTHON = (
    "for name in python3 python python2.7; do "
    'path=$(command -v "$name") && "$path" -c "" < /dev/null > /dev/null 2>&1 && echo "$path" && exit; '
    "done; exit 1"
)


def find(conn: Any, check: Callable[..., Any]) -> str:
    """See :func:`remoto.backends.get_python_executable`.

    :param check: runs a command, as :func:`remoto.process.check`.
    """
    # threads that come at the same time wait for the first
    with vars(conn).setdefault("_python_lock", threading.Lock()):
        known = vars(conn).get("_python_executable")
        if known is None:
            known = conn._python_executable = _search(conn, check)
    return str(known)


def _search(conn: Any, check: Callable[..., Any]) -> str:
    name, limit = _search_limit(conn)
    started = time.monotonic()
    command = ["/bin/sh", "-c", _FIND_PYTHON]
    try:
        stdout, _, status = check(conn, command, timeout=limit, kill_on_timeout=True)
    except CommandTimeout:  # the connection has raise_on_timeout set
        stdout, status = [], NO_EXIT_CODE
    if status == 0 and stdout:
        return str(stdout[0].strip())
    # a command that SIGHUP has ended has the same status
    if status == NO_EXIT_CODE and limit is not None and limit <= time.monotonic() - started:
        reason, kind = f"no answer within {limit:g} seconds ({name}) to the question for a Python there", "timeout"
        advice = "python_executable= of import_module() names one, which spares the question."
    else:
        reason, kind = "there is no python3, python or python2.7 there, and functions need one", "interpreter"
        advice = "python_executable= of import_module() names another; commands need none in a container."
    error: ConnectError = getattr(conn, "connect_error", ConnectError)(
        reason, host=where(conn), kind=kind, advice=advice
    )
    raise error


def _search_limit(conn: Any) -> tuple[str, float | None]:
    """The time limit of the search for a Python in seconds, and its name: the connection's shorter one; None for no limit."""
    limits = {name: getattr(conn, name, None) for name in ("global_timeout", "connect_timeout")}
    # a program's mock has anything in their place
    numbers = {name: limit for name, limit in limits.items() if isinstance(limit, (int, float)) and limit > 0}
    return min(numbers.items(), key=lambda item: item[1], default=("", None))
