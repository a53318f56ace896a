"""The script of a scripted host: its answers, and a record of what was run."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Callable, NamedTuple, Union, cast

from ..commands.request import Argv, argv_of
from ..exc import HostError
from .files import Files, as_bytes

__all__ = ["Called", "Matcher", "Ran", "Script", "Unexpected"]

_Argument = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
#: a string or list that the command must equal, or a function that returns True for a matching command
Matcher = Union[str, Sequence[_Argument], Callable[[Argv], bool]]


class Unexpected(AssertionError):
    """The script has no answer for a command, function or connection."""

    # tracebacks show the name that programs import
    __module__ = "remoto.testing"


@dataclass
class Ran:
    """A command that was run."""

    #: a list of arguments or a string, as given; paths and bytes as text
    command: str | list[str]
    #: its stdin; None if it was empty
    stdin: bytes | None = None
    #: the ``env`` of the call; None if it had none
    env: dict[str, str] | None = None
    #: variables added to the environment
    extend_env: dict[str, str] = field(default_factory=dict)
    #: other keywords of Popen: ``cwd``, ``shell``, ...
    popen: dict[str, object] = field(default_factory=dict)
    #: whether the connection used sudo
    sudo: bool = False
    #: the call's timeout, or the connection's ``global_timeout``
    timeout: float | None = None
    #: the call's setting, or the connection's
    kill_on_timeout: bool = False


class Called(NamedTuple):
    """A call of a remote function."""

    #: the module's name
    module: str
    function: str
    args: tuple[object, ...]
    kwargs: dict[str, object]


class Script:
    """The answers of a host, and a record of what was run.

    ``Hosts()['node1']`` is one, and so is a :class:`ScriptedConnection`.

    :ivar ran: a list of :class:`Ran`: all commands, in order.
    :ivar calls: a list of :class:`Called`: all calls of remote functions, in order.
    :ivar files: a mapping of path to bytes. ``put`` and ``rsync`` write to it, ``get`` reads from it. An exception
        instead of bytes makes a transfer of that file fail.
    """

    def __init__(self, hostname: str = "node1") -> None:
        self.ran: list[Ran] = []
        self.calls: list[Called] = []
        self.files: Files = Files()
        self._script_host = hostname
        self._commands: list[tuple[Argv | Callable[[Argv], bool], Turns]] = []
        self._functions: dict[str, Turns] = {}
        self._connect_error: BaseException | None = None

    def on(
        self,
        command: Matcher,
        stdout: str | bytes = "",
        stderr: str | bytes = "",
        exit_code: int = 0,
        *,
        times_out: bool = False,
        is_lost: bool = False,
        is_missing: bool = False,
    ) -> None:
        """Set the answer to a command. Several answers to the same command are used in turn; the last one is repeated.

        :param command: the list of arguments or the string that the command must equal, or a function that returns True
            for a matching command.
        :param stdout: the command's stdout.
        :param stderr: the command's stderr.
        :param exit_code: the command's exit status.
        :param times_out: the command does not exit after its output. The call must have a timeout, which expires at
            once.
        :param is_lost: the connection is lost after the output.
        :param is_missing: the program does not exist.
        :raises TypeError: the output is neither str nor bytes, or the exit status is not an int.
        """
        if not isinstance(exit_code, int):
            raise TypeError(f"exit_code: expected int, not {type(exit_code).__name__}: {exit_code!r}")
        output = as_bytes("stdout", stdout), as_bytes("stderr", stderr)
        answer = Answer(*output, exit_code, times_out, is_lost, is_missing)
        matcher = command if callable(command) else argv_of(command)
        for known, turns in self._commands:
            if known == matcher:
                turns.answers.append(answer)
                return
        self._commands.append((matcher, Turns([answer])))

    def on_call(self, function: str, answer: object) -> None:
        """Set the answer of a remote function.

        Several answers for the same function are used in turn; the last one is repeated.

        :param function: the function's name, such as ``exists``, or ``posixpath.exists`` for that module only.
        :param answer: a value to return, an exception to raise on the remote side, or a function to call instead.

        >>> import posixpath
        >>> from remoto.testing import ScriptedConnection
        >>> conn = ScriptedConnection()
        >>> conn.on_call('exists', True)
        >>> conn.import_module(posixpath).exists('/etc/hosts')
        True
        """
        self._functions.setdefault(function, Turns([])).answers.append(answer)

    def unreachable(self, error: BaseException | None = None) -> None:
        """Make further connections fail.

        :param error: the error to raise; by default a :class:`remoto.exc.HostError` of the kind ``unreachable``.
        """
        self._connect_error = error or HostError("no route to host", host=self._script_host, kind="unreachable")

    def unused(self) -> list[Argv | Callable[[Argv], bool]]:
        """Return the commands and the names of functions whose answers were not used, once for each answer."""
        everything = [*self._commands, *self._functions.items()]
        return [matcher for matcher, turns in everything for _ in range(turns.given, len(turns.answers))]

    def _answer(self, command: Argv) -> Answer:
        for matcher, turns in self._commands:
            if matcher(command) if callable(matcher) else matcher == command:
                return cast("Answer", turns.next())
        raise Unexpected(f"{self._script_host}: no answer in the script for the command {command!r}")

    def _answer_to_call(self, called: Called) -> object:
        self.calls.append(called)
        for name in (f"{called.module}.{called.function}", called.function):
            if name in self._functions:
                return self._functions[name].next()
        raise Unexpected(f"{self._script_host}: no answer in the script for the function {called.function}()")


class Turns:
    """Answers to the same command or function, used in turn."""

    def __init__(self, answers: list[object]) -> None:
        self.answers = answers
        self.given = 0
        self._lock = threading.Lock()

    def next(self) -> object:
        with self._lock:
            answer = self.answers[min(self.given, len(self.answers) - 1)]
            self.given += 1
            return answer


class Answer(NamedTuple):
    stdout: bytes
    stderr: bytes
    exit_code: int
    times_out: bool
    is_lost: bool
    is_missing: bool
