"""Run commands through a connection: ``run`` logs their output as it arrives, ``check`` returns it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast, overload

import execnet

from .commands.answers import wrong_answer
from .commands.call import CHECK, RUN, Call
from .commands.failure import without_own_frames
from .commands.lines import Blocks, Lines
from .commands.output import Output
from .commands.request import Command, as_text, require_callables, warn_of_unused_arguments
from .commands.target import target_of
from .commands.timeout import TimedOut
from .exc import CommandError, ConnectionLost
from .gateways.execnet_internals import is_gateway
from .gateways.remote_calls import lost
from .remote.wire import EXTRA_PATH, STDERR, STDOUT
from .util import RemoteError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .backends import BaseConnection
    from .commands.output import Handler, OfBlock, OfLine
    from .commands.popen import PopenOptions
    from .untyped import AnyArguments

__all__ = ["CheckResult", "check", "extend_env", "run"]

#: returned in place of an exit status if the command timed out or could not be started
NO_EXIT_CODE = -1
# lines of each stream, or blocks, that run() keeps for an error
_LAST = 20


# the type of a stream's output: list[str], or bytes with text=False
_Stream = TypeVar("_Stream")


class CheckResult(tuple[_Stream, _Stream, int], Generic[_Stream]):  # noqa: SLOT001  # a tuple can have no slots
    """``(stdout, stderr, exit status)``: a tuple whose items also have names.

    >>> result = CheckResult((['one'], [], 0))
    >>> result.stdout, result.stderr, result.returncode, result.timed_out
    (['one'], [], 0, False)
    >>> result
    (['one'], [], 0)
    """

    #: True after a timeout; its exit status, -1, is also that of a command killed by SIGHUP
    timed_out: bool

    def __new__(cls, result: tuple[_Stream, _Stream, int], timed_out: bool = False) -> CheckResult[_Stream]:
        self = super().__new__(cls, result)
        self.timed_out = timed_out
        return self

    @property
    def stdout(self) -> _Stream:
        """The lines of stdout as a list, without newlines; bytes with ``text=False``."""
        return self[0]

    @property
    def stderr(self) -> _Stream:
        """The lines of stderr, in the same form."""
        return self[1]

    @property
    def returncode(self) -> int:
        """The exit status; -N after signal N; -1 also after a timeout and if the command could not be started."""
        return self[2]


def run(
    conn: BaseConnection,
    command: Command,
    exit: bool = False,
    timeout: float | None = None,
    *,
    stop_on_error: bool = True,
    stop_on_nonzero: bool = True,
    env: Mapping[str, str] | None = None,
    extend_env: Mapping[str, str] | None = None,
    stdin: str | bytes | None = None,
    on_stdout: Handler | None = None,
    on_stderr: Handler | None = None,
    kill_on_timeout: bool | None = None,
    raise_on_timeout: bool | None = None,
    text: bool = True,
    **popen: Unpack[PopenOptions],
) -> int:
    """Run a command and log its output as it arrives: stdout at DEBUG, stderr at WARNING.

    :param conn: a connection.
    :param command: a list of arguments, which reach the program unchanged; or a string, for a shell with
        ``shell=True``.
    :param exit: close the connection afterwards, even after an error.
    :param timeout: seconds to wait for output; time spent in ``on_stdout`` and ``on_stderr`` does not count. After a
        timeout, the command is left running, and the connection stays usable. None or 0 means the connection's
        ``global_timeout``, or no limit if it has none; ``float('inf')`` means no limit.
    :param stop_on_error: False logs errors instead of raising them. ConnectionLost is always raised.
    :param stop_on_nonzero: False logs a non-zero exit status as a warning instead of raising an error.
    :param env: the whole environment of the command, instead of the remote Python's.
    :param extend_env: variables to add to the environment.
    :param stdin: the command's input; empty by default.
    :param on_stdout: called with each line of stdout as it arrives, in addition to logging.
    :param on_stderr: called with each line of stderr as it arrives, in addition to logging.
    :param kill_on_timeout: kill the command on a timeout, and when the connection ends: its process group gets SIGTERM,
        and SIGKILL two seconds later. The default is the connection's setting.
    :param raise_on_timeout: raise CommandTimeout on a timeout. The default is the connection's setting.
    :param text: False passes the output to ``on_stdout`` and ``on_stderr`` as blocks of bytes instead of lines, exactly
        as they arrive, and logs none of it.
    :param popen: other keywords of ``subprocess.Popen``: ``shell``, ``cwd``, ``umask``, ...
    :returns: the exit status; -1 after a timeout.
    :raises CommandError: also a RuntimeError: the command could not be started, or its exit status is not zero.
    :raises CommandTimeout: also a CommandError and a TimeoutError: the command timed out, and ``raise_on_timeout`` was
        set. It has the last lines of the output.
    :raises ConnectError: the connection, made with ``eager=False``, could not be opened.
    :raises ContainerError: also an OSError and a RuntimeError: the container's client failed.
    :raises ConnectionLost: also a RuntimeError: the connection was lost, or the remote side sent an invalid answer.
    :raises TypeError, ValueError: an argument is invalid; nothing was started.

    >>> from remoto import Connection
    >>> with Connection('localhost') as conn:
    ...     run(conn, ['sh', '-c', 'echo one; exit 3'], stop_on_nonzero=False)
    3
    """
    target = target_of(conn)
    try:
        warn_of_unused_arguments(command, popen)
        require_callables(on_stdout=on_stdout, on_stderr=on_stderr)
        call = Call(target, command, timeout, kill_on_timeout)
        outputs = {
            STDOUT: Output(_logged(text), deque(maxlen=_LAST), [target.logger.debug if text else None, on_stdout]),
            STDERR: Output(_logged(text), deque(maxlen=_LAST), [target.logger.warning if text else None, on_stderr]),
        }
        try:
            call.start(RUN, env, extend_env, stdin, popen)
            status = call.stream(outputs)
        except TimedOut:
            call.time_out()
            if target.raise_on_timeout if raise_on_timeout is None else raise_on_timeout:
                call.raise_timeout(*_result(outputs, text, NO_EXIT_CODE)[:2])
            return NO_EXIT_CODE
        except CommandError as error:
            if error is not call.failure:
                raise  # raised by a callback
            _log_traceback(target.logger, error)
            if stop_on_error:
                raise
            return NO_EXIT_CODE
        if status and not stop_on_nonzero:
            target.logger.warning("command returned non-zero exit status: %s", status)
        elif status:
            target.logger.error("RuntimeError: command returned non-zero exit status: %s", status)
            if stop_on_error:
                raise call.exit_error(status, outputs[STDERR].kept)
        return status
    finally:
        if exit:
            conn.exit()


@overload
def check(
    conn: BaseConnection,
    command: Command,
    exit: bool = False,
    timeout: float | None = None,
    *,
    stop_on_error: bool = True,
    env: Mapping[str, str] | None = None,
    extend_env: Mapping[str, str] | None = None,
    stdin: str | bytes | None = None,
    on_stdout: OfLine | None = None,
    on_stderr: OfLine | None = None,
    kill_on_timeout: bool | None = None,
    raise_on_timeout: bool | None = None,
    text: Literal[True] = True,
    **popen: Unpack[PopenOptions],
) -> CheckResult[list[str]]: ...
@overload
def check(
    conn: BaseConnection,
    command: Command,
    exit: bool = False,
    timeout: float | None = None,
    *,
    stop_on_error: bool = True,
    env: Mapping[str, str] | None = None,
    extend_env: Mapping[str, str] | None = None,
    stdin: str | bytes | None = None,
    on_stdout: OfBlock | None = None,
    on_stderr: OfBlock | None = None,
    kill_on_timeout: bool | None = None,
    raise_on_timeout: bool | None = None,
    text: Literal[False],
    **popen: Unpack[PopenOptions],
) -> CheckResult[bytes]: ...
@overload
def check(
    conn: BaseConnection,
    command: Command,
    exit: bool = False,
    timeout: float | None = None,
    *,
    stop_on_error: bool = True,
    env: Mapping[str, str] | None = None,
    extend_env: Mapping[str, str] | None = None,
    stdin: str | bytes | None = None,
    on_stdout: Handler | None = None,
    on_stderr: Handler | None = None,
    kill_on_timeout: bool | None = None,
    raise_on_timeout: bool | None = None,
    text: bool,
    **popen: Unpack[PopenOptions],
) -> CheckResult[list[str]] | CheckResult[bytes]: ...
def check(
    conn: BaseConnection,
    command: Command,
    exit: bool = False,
    timeout: float | None = None,
    *,
    stop_on_error: bool = True,
    env: Mapping[str, str] | None = None,
    extend_env: Mapping[str, str] | None = None,
    stdin: str | bytes | None = None,
    on_stdout: Handler | None = None,
    on_stderr: Handler | None = None,
    kill_on_timeout: bool | None = None,
    raise_on_timeout: bool | None = None,
    text: bool = True,
    **popen: Unpack[PopenOptions],
) -> CheckResult[list[str]] | CheckResult[bytes]:
    """Run a command; return its output and its exit status. A non-zero exit status is not an error.

    The parameters are those of :func:`run`, without ``stop_on_nonzero``. These differ:

    :param timeout: seconds for the whole call, even if output keeps arriving. After a timeout, ``on_stdout`` and
        ``on_stderr`` are not called again.
    :param text: False returns stdout and stderr as bytes, exactly as written, instead of lines, and calls ``on_stdout``
        and ``on_stderr`` with blocks of bytes. As text, bytes that are not UTF-8 become surrogate escapes:
        ``line.encode('utf-8', 'surrogateescape')`` restores them.
    :returns: a :class:`CheckResult`: a tuple of the lines of stdout, the lines of stderr, and the exit status;
        ``([], [], -1)`` after a timeout, with ``timed_out`` set.
    :raises CommandError: also a RuntimeError: the command could not be started. With ``stop_on_error=False``,
        ``([], [last line of the error], -1)`` is returned instead.
    :raises CommandTimeout: also a CommandError and a TimeoutError: the command timed out, and ``raise_on_timeout`` was
        set. It has the output so far.
    :raises ConnectError: the connection, made with ``eager=False``, could not be opened.
    :raises ContainerError: also an OSError and a RuntimeError: the container's client failed.
    :raises ConnectionLost: also a RuntimeError: the connection was lost, or the remote side sent an invalid answer.
    :raises TypeError, ValueError: an argument is invalid; nothing was started.

    >>> from remoto import Connection
    >>> with Connection('localhost') as conn:
    ...     check(conn, ['sh', '-c', 'echo one; echo two >&2; exit 3'])
    (['one'], ['two'], 3)
    """
    target = target_of(conn)
    raises = target.raise_on_timeout if raise_on_timeout is None else raise_on_timeout
    try:
        warn_of_unused_arguments(command, popen)
        require_callables(on_stdout=on_stdout, on_stderr=on_stderr)
        call = Call(target, command, timeout, kill_on_timeout, total=True)
        outputs = {STDOUT: Output(_returned(text), [], [on_stdout]), STDERR: Output(_returned(text), [], [on_stderr])}
        # the remote side keeps the output for one answer, unless it is needed earlier
        as_it_comes = on_stdout is not None or on_stderr is not None or (raises and call.timeout is not None)
        try:
            call.start(RUN if as_it_comes else CHECK, env, extend_env, stdin, popen)
            status = call.stream(outputs) if as_it_comes else call.answer(outputs)
            return _result(outputs, text, status)
        except TimedOut:
            call.time_out()
            if raises:
                call.raise_timeout(*_result(outputs, text, NO_EXIT_CODE)[:2])
            return _failed([], text, timed_out=True)
        except CommandError as error:
            if error is not call.failure:
                raise  # raised by a callback
            _log_traceback(target.logger, error)
            if stop_on_error:
                raise
            return _failed([RemoteError(error.traceback).exception_line], text)
    finally:
        if exit:
            conn.exit()


def extend_env(conn: BaseConnection, arguments: AnyArguments) -> AnyArguments:
    """Set ``env`` to the remote environment, with the usual program directories in PATH.

    ``run`` and ``check`` do not need this: the remote side does it for them, without a round trip.

    :param conn: a connection.
    :param arguments: keyword arguments for Popen; changed in place. ``extend_env``, if present, is merged into ``env``
        and removed.
    :returns: ``arguments``.
    :raises ConnectionLost: also a RuntimeError: the connection was lost, or the remote side sent an invalid answer.
    """
    gateway = conn.gateway if conn.gateway is not None else conn.inside()
    host, what = str(conn.hostname), "asking for the environment"
    try:
        answer = gateway.remote_exec(_SEND_ENVIRONMENT).receive()
    except TimeoutError:
        raise  # raised by a signal handler
    except (EOFError, OSError):
        raise lost(gateway, host, what) from None
    except execnet.RemoteError as error:
        line = RemoteError(str(error)).exception_line
        raise ConnectionLost(host, what, "the remote side failed", line) from error
    pairs = answer.items() if isinstance(answer, dict) else answer
    # a program's mock may answer with anything
    if is_gateway(gateway) and not _are_variables(pairs):
        raise wrong_answer(host, what, answer)
    env = {as_text(name): as_text(value) for name, value in pairs} if _are_variables(pairs) else {}
    path = [directory for directory in env.get("PATH", "").split(":") if directory]
    env["PATH"] = ":".join(path + [directory for directory in EXTRA_PATH if directory not in path])
    env.update(arguments.pop("extend_env", None) or {})
    arguments["env"] = env
    return arguments


_SEND_ENVIRONMENT = """
import os
channel.send([list(pair) for pair in getattr(os, "environb", os.environ).items()])
"""


def _are_variables(pairs: object) -> bool:
    return isinstance(pairs, Collection) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(text, (str, bytes)) for text in pair)
        for pair in pairs
    )


def _logged(text: bool) -> Lines | Blocks:
    return Lines("backslashreplace") if text else Blocks()


def _returned(text: bool) -> Lines | Blocks:
    return Lines("surrogateescape", lone_cr=True) if text else Blocks()


def _failed(stderr: list[str], text: bool, timed_out: bool = False) -> CheckResult[list[str]] | CheckResult[bytes]:
    """Return the result of a command without an exit status."""
    if text:
        return CheckResult(([], stderr, NO_EXIT_CODE), timed_out)
    return CheckResult((b"", "\n".join(stderr).encode("utf-8"), NO_EXIT_CODE), timed_out)


def _result(outputs: Mapping[int, Output], text: bool, status: int) -> CheckResult[list[str]] | CheckResult[bytes]:
    stdout, stderr = outputs[STDOUT].kept, outputs[STDERR].kept
    if text:
        return CheckResult((list(cast("list[str]", stdout)), list(cast("list[str]", stderr)), status))
    return CheckResult((b"".join(cast("list[bytes]", stdout)), b"".join(cast("list[bytes]", stderr)), status))


def _log_traceback(logger: logging.Logger, error: CommandError) -> None:
    for line in without_own_frames(error.traceback).splitlines():
        logger.error(line)


# for modules that are imported on first use, perhaps while a program's test has patched ``check``
_original_check = check
