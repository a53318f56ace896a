"""Every error that remoto raises.

Their tree::

    RemotoError
        ConnectError
            HostError             (also execnet.HostNotFound)
                InvalidHostname   (also ValueError)
            StartError            (also OSError)
                ContainerError    (also RuntimeError)
        ConnectionLost            (also RuntimeError and OSError)
        CommandError              (also RuntimeError)
            CommandTimeout        (also TimeoutError)
        FunctionError             (also RuntimeError)
            ModuleMissing         (also ImportError)
        FileTransferError         (also OSError)
        RsyncError                (also execnet.HostNotFound and OSError)
        GroupError                (also RuntimeError)

Programs also import four errors of execnet from here: ``HostNotFound``, ``RemoteError``, ``TimeoutError``
and ``DataFormatError``.
"""

from __future__ import annotations

import builtins
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from execnet import DataFormatError, HostNotFound, RemoteError, TimeoutError  # noqa: A004  # programs use this name

if TYPE_CHECKING:
    from .fleets.result import GroupResult

__all__ = [
    "CommandError",
    "CommandTimeout",
    "ConnectError",
    "ConnectionLost",
    "ContainerError",
    "DataFormatError",
    "FileTransferError",
    "FunctionError",
    "GroupError",
    "HostError",
    "HostNotFound",
    "InvalidHostname",
    "ModuleMissing",
    "RemoteError",
    "RemotoError",
    "RsyncError",
    "StartError",
    "TimeoutError",
]


class RemotoError(Exception):
    """Base class of remoto's own errors. They can be pickled, for instance to pass them between processes."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args, dict(vars(self)), getattr(self, "errno", None))


def _restored(
    kind: type[RemotoError], args: tuple[object, ...], state: dict[str, object], errno: int | None
) -> RemotoError:
    # OSError requires its own __new__; where RuntimeError is a base as well, kind.__new__ may be another one
    error: RemotoError = (OSError if issubclass(kind, OSError) else Exception).__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    if isinstance(error, OSError):
        error.errno = errno
    if sys.version_info < (3, 11) and "__notes__" in state:
        error.__cause__ = Exception("\n".join(state["__notes__"]))
    return error


class ConnectError(RemotoError):
    """A connection could not be opened: either a HostError or a StartError.

    :ivar str reason: the reason, such as ``connection refused``.
    :ivar str kind: the reason as one word, for programs to compare. HostError: ``unresolvable``, ``refused``,
        ``timeout``, ``unreachable``, ``hostkey``, ``permission``, ``closed``, ``proxy``, ``hostname``, ``relay`` or
        ``other``.
        StartError: ``interpreter``, ``version``, ``sudo``, ``client`` or ``other``.
    :ivar str host: the hostname, as passed to the connection.
    :ivar str via: the relay; empty without one.
    :ivar list command: the argv that was tried, on this machine or on the relay; empty if nothing was started.
    :ivar exit_status: the exit status of that command; None after a timeout.
    :ivar str stderr: the stderr of that command, which may come from ssh, the remote shell, sudo or Python.
    :ivar str advice: how to fix it, if known; else empty.
    :ivar str action: the action that failed, as the error's text has it: ``connect to``, or for instance
        ``run functions on``.
    """

    def __init__(
        self,
        reason: str,
        *,
        host: str,
        kind: str = "other",
        command: Sequence[str] = (),
        exit_status: int | None = None,
        stderr: str = "",
        advice: str = "",
        action: str = "connect to",
    ) -> None:
        self.reason = reason
        self.kind = kind
        self.host = host
        self.command = list(command)
        self.exit_status = exit_status
        self.stderr = stderr
        self.advice = advice
        self.action = action
        self.via = ""
        super().__init__(self._text())

    def name_relay(self, via: str) -> None:
        """Add the name of the relay to the text."""
        self.via = via
        self.args = (self._text(),)

    def _text(self) -> str:
        via = f" via {self.via}" if self.via else ""
        lines = [f"cannot {self.action} {self.host}{via}: {self.reason}"]
        lines += [f"    {line}" for line in self.stderr.splitlines() if line.strip()]
        if self.command:
            ended = "killed by remoto" if self.exit_status is None else f"exit status {self.exit_status}"
            lines.append(f"tried: {shlex.join(self.command)} ({ended})")
        if self.advice:
            lines.append(self.advice)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self._text()


class HostError(ConnectError, HostNotFound):
    """The host could not be reached: ssh failed, or ``connect_timeout`` expired.

    Also an execnet.HostNotFound.
    """


class InvalidHostname(HostError, ValueError):
    """A hostname was refused before anything was started, because it has options of ssh, or shell syntax.

    Also a ValueError.
    """


class StartError(ConnectError, OSError):
    """Python could not be started: it is missing or too old, sudo failed, or this machine has no ssh.

    Also an OSError.
    """


class ContainerError(StartError, RuntimeError):
    """A container's client failed before it started the command.

    For instance, the container does not exist or is stopped, or the engine cannot be reached.
    ``kind`` may also be ``container``, ``stopped``, ``user``, ``permission``, ``unreachable``, ``shell`` or
    ``timeout``. ``host`` names the container. Also a RuntimeError.
    """


class ConnectionLost(RemotoError, RuntimeError, OSError):
    """The connection was lost before the remote side answered, was already closed, or the answer was invalid.

    Also a RuntimeError and an OSError.

    :ivar str host: the hostname, as passed to the connection.
    :ivar str command: the command or function that was running or about to run.
    :ivar str what: a short description of the failure.
    :ivar str stderr: the last stderr lines of ssh, or of the container's client.
    """

    def __init__(self, host: str, command: str, what: str, stderr: str = "") -> None:
        self.host = host
        self.command = command
        self.what = what
        self.stderr = stderr
        text = f"{what}: {host}, {command}"
        if stderr.strip():
            text += f" ({'; '.join(stderr.strip().splitlines())})"
        self._text = text
        super().__init__(text)

    def __str__(self) -> str:
        return self._text


class CommandError(RemotoError, RuntimeError):
    """A command could not be started, or returned a non-zero exit status.

    Also a RuntimeError. A traceback shows the reason, stderr and advice below the error's text: as a note, or before
    Python 3.11 as its cause.

    :ivar str host: the hostname, as passed to the connection.
    :ivar str command: the command as it was logged.
    :ivar exit_code: the exit status; None if the command could not be started.
    :ivar str stderr: the last stderr lines; empty if the command could not be started.
    :ivar str reason: why the command could not be started, such as ``No such file or directory: 'foo'``; else empty.
    :ivar str advice: how to fix it, if known; else empty.
    :ivar str traceback: the remote traceback if the command could not be started; else empty.
    """

    def __init__(
        self,
        host: str,
        command: str,
        exit_code: int | None = None,
        traceback: str = "",
        *,
        stderr: str = "",
        reason: str = "",
        advice: str = "",
    ) -> None:
        self.host = host
        self.command = command
        self.exit_code = exit_code
        self.traceback = traceback
        self.stderr: str | list[str] | bytes = stderr
        self.reason = reason
        self.advice = advice
        super().__init__(f"Failed to execute command: {command}")
        what = reason if exit_code is None else f"exit status {exit_code}"
        _add_note(self, "\n".join(filter(None, [what and f"{host}: {what}", _indented(stderr), advice])))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines() if line.strip())


def _add_note(error: BaseException, note: str) -> None:
    """Add a note that a traceback shows below the error's text (PEP 678); before Python 3.11, make it the cause."""
    if not note:
        return
    if sys.version_info >= (3, 11):
        error.add_note(note)
    else:
        # the cause is not pickled, the attributes are
        error.__dict__.setdefault("__notes__", []).append(note)
        error.__cause__ = Exception(note)


class CommandTimeout(CommandError, builtins.TimeoutError, TimeoutError):
    """A command timed out, and ``raise_on_timeout`` was set.

    Also Python's TimeoutError, and execnet's.

    :ivar float timeout: the timeout in seconds.
    :ivar stdout: the stdout before the timeout: a list of lines, or bytes with ``text=False``. ``run`` keeps only the
        last lines or blocks.
    :ivar stderr: the stderr before the timeout, in the same form.
    """

    def __init__(
        self, host: str, command: str, timeout: float, stdout: list[str] | bytes, stderr: list[str] | bytes, note: str
    ) -> None:
        super().__init__(host, command)
        self.timeout = timeout
        self.stdout = stdout
        self.stderr = stderr
        self._text = f"no result within {timeout:g} seconds: {host}, {command}"
        self.args = (self._text,)
        _add_note(self, note)

    def __str__(self) -> str:
        return self._text


class FunctionError(RemotoError, RuntimeError):
    """A remote function raised an exception, made its Python exit, or returned a value that can't be sent.

    Also a RuntimeError.

    :ivar str host: the host or container.
    :ivar str function: the name of the function.
    :ivar str exception_name: the class of the exception, with its module unless it is built in; empty if the remote
        Python exited without an answer.
    :ivar str message: the text of the exception.
    :ivar str traceback: the whole remote traceback.
    """

    def __init__(self, host: str, function: str, exception_name: str, message: str, traceback: str, text: str) -> None:
        self.host = host
        self.function = function
        self.exception_name = exception_name
        self.message = message
        self.traceback = traceback
        self._text = text
        super().__init__(text)

    def __str__(self) -> str:
        return self._text


class ModuleMissing(FunctionError, ImportError):
    """The remote side does not have a module that a function's module imports. ``include=`` sends it along.

    Also an ImportError.
    """


class FileTransferError(RemotoError, OSError):
    """Files could not be read, sent or written, on this machine or on the remote side.

    Also an OSError.

    :ivar str host: the remote host or container.
    :ivar str what: the transfer, such as ``put a.txt to /etc/``.
    :ivar str path: the path of the first failure; empty if the failure concerns no path.
    :ivar str side: the side of that path, ``local`` or ``remote``; empty without a path.
    :ivar str reason: the reason of the first failure.
    :ivar list failures: a pair of path and reason for each failure.
    :ivar errno: the system's error number of the first failure; None if there is none.
    """

    def __init__(
        self, what: str, host: str, failures: Sequence[tuple[str, str]], errno: int | None = None, *, side: str = ""
    ) -> None:
        self.what = what
        self.host = host
        self.failures = list(failures)
        self.path, self.reason = self.failures[0]
        self.side = side if self.path else ""
        place = f"{self.side} path {self.path}" if self.side else self.path
        more = f", and {len(self.failures) - 1} more" if len(self.failures) > 1 else ""
        self._text = f"{host}: {what}: {f'{place}: ' if place else ''}{self.reason}{more}"
        super().__init__(self._text)
        self.errno = errno or None

    def __str__(self) -> str:
        return self._text


class RsyncError(RemotoError, HostNotFound, OSError):
    """:func:`~remoto.file_sync.rsync` to several hosts failed on at least one of them.

    Also an execnet.HostNotFound and an OSError.

    :ivar dict failures: the error of each host that failed.
    :ivar list succeeded: the other hosts.
    """

    def __init__(self, failures: Mapping[str, Exception], succeeded: Sequence[str]) -> None:
        self.failures = dict(failures)
        self.succeeded = list(succeeded)
        lines = [f"rsync failed on {len(self.failures)} of {len(self.failures) + len(self.succeeded)} hosts"]
        lines += [f"{host}: {error}" for host, error in self.failures.items()]
        self._text = "\n".join(lines)
        super().__init__(self._text)

    def __str__(self) -> str:
        return self._text


class GroupError(RemotoError, RuntimeError):
    """Some hosts of a group did not succeed. :meth:`remoto.group.GroupResult.raise_for_errors` raises it.

    Also a RuntimeError.

    :ivar result: the whole :class:`~remoto.group.GroupResult`, including the hosts that succeeded.
    """

    def __init__(self, text: str, result: GroupResult[object]) -> None:
        self.result = result
        super().__init__(text)
