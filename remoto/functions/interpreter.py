"""Find a Python on the remote side that can run functions."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..commands.target import adapted
from ..exc import CommandTimeout, ConnectError
from ..gateways.interrupts import PerObject
from ..process import NO_EXIT_CODE
from ..util import checked_text

if TYPE_CHECKING:
    from typing import Protocol, TypedDict

    from typing_extensions import Unpack

    from ..backends import BaseConnection
    from ..process import CheckResult

    class CheckOptions(TypedDict, total=False):
        """The keywords of ``check`` that functions use."""

        timeout: float | None
        kill_on_timeout: bool
        stdin: bytes

    class Check(Protocol):
        """:func:`remoto.process.check`, or a program's replacement for it."""

        def __call__(
            self, conn: BaseConnection, command: list[str], **options: Unpack[CheckOptions]
        ) -> CheckResult[list[str]]: ...


NOT_FOUND = "no python3, python or python2.7 was found"


def for_first_python(command: str) -> str:
    """Return a line for /bin/sh, to be continued, that runs a command with the first Python that works as ``$path``."""
    return (
        "for name in python3 python python2.7; do "
        'path=$(command -v "$name") && "$path" -c "" < /dev/null > /dev/null 2>&1 && '
        f"{command}; done; "
    )


_FIND_PYTHON = for_first_python('echo "$path" && exit') + "exit 1"


class _Python:
    """The result of the search for a connection's Python."""

    def __init__(self) -> None:
        # held during a search, so that a connection runs only one
        self.lock = threading.Lock()
        self.path = ""
        #: True if the search found none, and ``path`` is the connection's interpreter
        self.is_guess = False


_pythons: PerObject[BaseConnection, _Python] = PerObject()


def find(conn: BaseConnection, check: Check) -> str:
    """Return the Python for a connection, see :func:`remoto.backends.get_python_executable`.

    :param check: runs a command, like :func:`remoto.process.check`.
    """
    python = _pythons.setdefault(conn, _Python())
    with python.lock:
        if not python.path:
            found = _search(conn, check)
            python.is_guess = not found
            python.path = found or conn.interpreter
        return python.path


def forget_guess(conn: BaseConnection) -> bool:
    """Forget a Python that the search did not find, so that the next call searches again. Return True if it did."""
    python = _pythons.setdefault(conn, _Python())
    with python.lock:
        was_guess, python.is_guess = python.is_guess, False
        if was_guess:
            python.path = ""
        return was_guess


def checked(python_executable: object) -> str | None:
    """Return a ``python_executable`` as a string; None for the default.

    :raises TypeError: it is neither text nor a path.
    :raises ValueError: it is blank, or has a NUL character.
    """
    path = checked_text("python_executable", python_executable)
    if path is not None and not path.strip():
        raise ValueError(f"python_executable: expected a program, not blanks: {python_executable!r}")
    return path


def missing(conn: BaseConnection) -> ConnectError:
    """Return the error for a remote side without Python."""
    return _error(
        conn,
        f"{NOT_FOUND}, and functions need one",
        "interpreter",
        "Pass python_executable= to import_module() to name another one. Commands in a container need none.",
    )


def _search(conn: BaseConnection, check: Check) -> str:
    """Return the path of a Python; empty if there is none."""
    conn.logger.debug("trying to determine remote python executable with python3")
    name, limit = _search_limit(conn)
    started = time.monotonic()
    command = ["/bin/sh", "-c", _FIND_PYTHON]
    try:
        stdout, _, status = check(conn, command, timeout=limit, kill_on_timeout=True)
    except CommandTimeout:  # the connection has raise_on_timeout set
        stdout, status = [], NO_EXIT_CODE
    # a command killed by SIGHUP has the same status
    if status == NO_EXIT_CODE and limit is not None and limit <= time.monotonic() - started:
        reason = f"no answer within {limit:g} seconds ({name}) to the search for a Python"
        raise _error(conn, reason, "timeout", _NAME_ONE)
    path = str(stdout[0]).strip() if status == 0 and stdout else ""
    if "\0" in path:
        raise _error(
            conn,
            f"invalid answer to the search for a Python: {path!r:.200}",
            "interpreter",
            _NAME_ONE,
        )
    return path


_NAME_ONE = "Pass python_executable= to import_module() to name one without a search."


def _error(conn: BaseConnection, reason: str, kind: str, advice: str) -> ConnectError:
    target = adapted(conn)
    return target.connect_error(reason, host=target.where(), kind=kind, advice=advice, action="run functions on")


def _search_limit(conn: BaseConnection) -> tuple[str, float | None]:
    """Return the name and seconds of the search's timeout: the shorter one of the connection. None means no limit."""
    target = adapted(conn)
    limits = {"global_timeout": target.global_timeout, "connect_timeout": target.connect_timeout}
    return min(
        ((name, limit) for name, limit in limits.items() if limit and limit > 0),
        key=lambda item: item[1],
        default=("", None),
    )
