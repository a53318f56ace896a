"""Every error that remoto raises::

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

and, under the names that programs have always found here, execnet's own four: ``HostNotFound``,
``RemoteError``, ``TimeoutError``, ``DataFormatError``.
"""

from __future__ import annotations

import builtins
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from execnet import DataFormatError, HostNotFound, RemoteError, TimeoutError

__all__ = [
    "CommandError",
    "CommandTimeout",
    "ConnectError",
    "ConnectionLost",
    "ContainerError",
    "DataFormatError",
    "FileTransferError",
    "FunctionError",
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
    """The root of the errors that are remoto's own. They can be pickled, as programs of several processes do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, dict(vars(self)), getattr(self, "errno", None))


def _restored(kind: type[RemotoError], args: tuple[Any, ...], state: dict[str, Any], errno: int | None) -> RemotoError:
    # OSError insists on its own __new__, which is not the first one found where RuntimeError is a base as well
    error: RemotoError = (OSError if issubclass(kind, OSError) else Exception).__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    if isinstance(error, OSError):
        error.errno = errno
    if sys.version_info < (3, 11) and "__notes__" in state:
        error.__cause__ = Exception("\n".join(state["__notes__"]))
    return error


class ConnectError(RemotoError):
    """A connection could not be opened. What is raised is one of its two kinds: HostError or StartError.

    :ivar str reason: the reason, such as ``connection refused``.
    :ivar str kind: one word for it, for programs. HostError: ``unresolvable``, ``refused``, ``timeout``, ``unreachable``,
        ``hostkey``, ``permission``, ``hostname`` or ``other``. StartError: ``interpreter``, ``version``, ``sudo``,
        ``client`` or ``other``.
    :ivar str host: the host as it was given.
    :ivar list command: the argv that was tried on this machine; empty when nothing was started.
    :ivar exit_status: that command's exit status; None after a timeout.
    :ivar str stderr: the stderr of that command: of ssh, the remote shell, sudo or Python.
    :ivar str action: what failed, for the text: ``connect to``, unless commands have run there already.
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
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [f"cannot {self.action} {self.host}: {self.reason}"]
        lines += [f"    {line}" for line in self.stderr.splitlines() if line.strip()]
        if self.command:
            ended = "ended by remoto" if self.exit_status is None else f"exit status {self.exit_status}"
            lines.append(f"tried: {shlex.join(self.command)} ({ended})")
        if self.advice:
            lines.append(self.advice)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self._text()


class HostError(ConnectError, HostNotFound):
    """The host was not reached: ssh failed, or nothing answered before ``connect_timeout``. Also an execnet.HostNotFound."""


class InvalidHostname(HostError, ValueError):
    """A hostname was refused before anything was started: it is an option, or holds options or shell syntax."""


class StartError(ConnectError, OSError):
    """Python could not be started: a missing or too old interpreter, sudo, or no ssh on this machine. Also an OSError."""


class ContainerError(StartError, RuntimeError):
    """The client of a container failed before it started a command: no such container, stopped, no permission, no engine, ...

    Its ``kind`` may also be ``container``, ``stopped``, ``user`` or ``shell``; ``host`` names the container.
    """


class ConnectionLost(RemotoError, RuntimeError, OSError):
    """The connection ended before the remote side had answered, or had ended before the call; or what it sent is no answer.

    :ivar str host: the host as it was given.
    :ivar str command: what was running or about to run, as it was logged.
    :ivar str what: what happened, in plain words.
    :ivar str stderr: the last words of ssh, or of whatever carried the connection.
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
    """A command could not be started, or ended with another exit status than 0.

    What is known of it is shown below its text in a traceback: as a note, before Python 3.11 as its cause.

    :ivar str host: the host as it was given.
    :ivar str command: the command as it was logged.
    :ivar exit_code: the command's exit status, None if it could not be started.
    :ivar str stderr: the last lines of its stderr; empty from ``check()``, which returns them.
    :ivar str reason: why it could not be started, such as ``No such file or directory: 'foo'``; else empty.
    :ivar str advice: what to do about it, if that is known; else empty.
    :ivar str traceback: the remote traceback if it could not be started, else empty.
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
        self.stderr: Any = stderr
        self.reason = reason
        self.advice = advice
        super().__init__(f"Failed to execute command: {command}")
        what = reason if exit_code is None else f"exit status {exit_code}"
        _add_note(self, "\n".join(filter(None, [what and f"{host}: {what}", _indented(stderr), advice])))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines() if line.strip())


def _add_note(error: BaseException, note: str) -> None:
    """Let a traceback show more than the error's text (PEP 678); before Python 3.11 as the error's cause."""
    if not note:
        return
    if sys.version_info >= (3, 11):
        error.add_note(note)
    else:
        # the cause is not pickled, the attributes are
        error.__dict__.setdefault("__notes__", []).append(note)
        error.__cause__ = Exception(note)


class CommandTimeout(CommandError, builtins.TimeoutError, TimeoutError):
    """A command gave no result, or no output, within the time limit, and ``raise_on_timeout`` was set.

    It is also Python's TimeoutError and execnet's.

    :ivar float timeout: the seconds.
    :ivar stdout: the output until then, in the form that ``check`` returns: a list of lines, or bytes with ``text=False``.
        Of ``run`` it has the last lines, or blocks.
    :ivar stderr: likewise.
    """

    def __init__(self, host: str, command: str, timeout: float, stdout: Any, stderr: Any, note: str) -> None:
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
    """A remote function raised something, ended its Python, or its result could not be sent.

    :ivar str host: where it ran.
    :ivar str function: its name.
    :ivar str exception_name: the exception's class, with its module where it is not one of Python's own; empty where
        the far Python ended without an answer.
    :ivar str message: the exception's own text.
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
    """A remote function's module imports one that is not there: ``include=`` sends it along."""


class FileTransferError(RemotoError, OSError):
    """Files could not be sent, written or read, on one side or the other.

    :ivar str host: the connection's other side.
    :ivar str what: what was to be done, such as ``put a.txt to /etc/``.
    :ivar str path: the path that failed, the first where there are several; empty where there is none to name.
    :ivar str side: where that path is: ``local`` or ``remote``; empty where there is none.
    :ivar str reason: why, in plain words.
    :ivar list failures: pairs of path and reason, of everything that failed.
    :ivar errno: the error's number where the system gave one, else None.
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
    """Some of several hosts could not be synchronised; the others were.

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
