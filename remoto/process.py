"""Run commands through a connection: ``run`` logs their output as it comes, ``check`` returns it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, Union

import execnet

from . import log
from .exc import CommandError, ConnectError, ConnectionLost
from .gateway import RemoteFunction, lost, raise_cause
from .log import Lines, split_lines
from .pipes import bounded_sending
from .util import RemoteError, admin_command, bound

__all__ = ["CheckResult", "check", "extend_env", "run"]

Command = Union[str, Sequence[Union[str, bytes, "os.PathLike[Any]"]]]
Handler = Callable[[Any], Any]
Receiver = Callable[[Iterable[Any]], None]

#: the exit code of a command that has none: it was still running when the timeout came, or could not be started
NO_EXIT_CODE = -1
# seconds that a far side may take to say that it has ended a command: TERM, two seconds, KILL
KILL_TIMEOUT = 10.0
# lines of what a container's client said at last
LAST_WORDS = 5
# bytes of output after which the far side is told that they have been dealt with
ACKNOWLEDGE = 1024 * 1024
# bytes that may be on their way to a command's stdin
INPUT_WINDOW = 4 * 1024 * 1024

STATUS, STDOUT, STDERR, TAKEN = 0, 1, 2, 3
RUN = RemoteFunction("command", "run")
CHECK = RemoteFunction("command", "check")

# subprocess's own ways to decode; here decoding is done on this side
_DECODING = ("text", "universal_newlines", "encoding", "errors", "bufsize")
# what else subprocess.Popen takes on some Python; another name is a slip of the pen
_POPEN = (
    *("executable", "preexec_fn", "close_fds", "shell", "cwd", "restore_signals", "start_new_session", "pass_fds"),
    *("user", "group", "extra_groups", "umask", "pipesize", "process_group", "creationflags", "startupinfo"),
)


class CheckResult(tuple[Any, Any, int]):
    """``(stdout, stderr, exit code)``: a plain tuple with names.

    >>> result = CheckResult((['one'], [], 0))
    >>> result.stdout, result.stderr, result.returncode
    (['one'], [], 0)
    >>> result
    (['one'], [], 0)
    """

    __slots__ = ()

    @property
    def stdout(self) -> Any:
        """The lines of stdout, without their ends, as a list; bytes where ``text=False`` has asked for them."""
        return self[0]

    @property
    def stderr(self) -> Any:
        """The same of stderr."""
        return self[1]

    @property
    def returncode(self) -> int:
        """The exit code; -N after signal N; -1 also after a timeout and where the command could not be started."""
        return self[2]


def run(
    conn: Any,
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
    text: bool = True,
    **popen: Any,
) -> int:
    """Run a command and log its output as it comes: stdout at DEBUG, stderr at WARNING.

    :param conn: a connection.
    :param command: a list of words, each of which reaches the program as it is; or a string, for a shell with ``shell=True``.
    :param exit: close the connection afterwards, whatever happens.
    :param timeout: seconds without any output after which this gives up. The command runs on, and the connection stays
        usable. None or 0: the connection's ``global_timeout``, and without one no bound; ``float('inf')``: no bound.
    :param stop_on_error: False logs an error instead of raising it. A lost connection is always raised.
    :param stop_on_nonzero: False makes a non-zero exit code a warning.
    :param env: the command's whole environment, instead of the far side's.
    :param extend_env: variables to add to it.
    :param stdin: what the command reads; nothing by default.
    :param on_stdout: called with each line of stdout as it comes, besides the logging.
    :param on_stderr: likewise for stderr.
    :param kill_on_timeout: on a timeout, or when the connection ends, end the command: its process group gets TERM, and
        KILL two seconds later. The connection's own setting by default.
    :param text: False hands the output to ``on_stdout`` and ``on_stderr`` in blocks of bytes, just as they come, in the
        place of lines; then none of it is logged.
    :param popen: what else ``subprocess.Popen`` takes: ``shell``, ``cwd``, ``umask``, ...
    :returns: the exit code, -1 after a timeout.
    :raises CommandError: also a RuntimeError: the command could not be started, or failed.
    :raises ConnectionLost: also a RuntimeError: the connection ended first.
    :raises TypeError, ValueError: something can't be sent, or is no such thing.

    >>> from remoto import Connection
    >>> with Connection('localhost') as conn:
    ...     run(conn, ['sh', '-c', 'echo one; exit 3'], stop_on_nonzero=False)
    3
    """
    try:
        call = Call(conn, command, timeout, kill_on_timeout)
        try:
            call.start(RUN, env, extend_env, stdin, popen)
            receivers = {
                STDOUT: _receiver(conn.logger.debug if text else None, on_stdout),
                STDERR: _receiver(conn.logger.warning if text else None, on_stderr),
            }
            parts = {stream: Lines("backslashreplace") if text else _Blocks() for stream in receivers}
            status = call.stream(receivers, parts)
        except execnet.TimeoutError:
            call.time_out()
            return NO_EXIT_CODE
        except CommandError as error:
            _log_traceback(conn, error)
            if stop_on_error:
                raise
            return NO_EXIT_CODE
        if status and not stop_on_nonzero:
            conn.logger.warning("command returned non-zero exit status: %s", status)
        elif status:
            conn.logger.error("RuntimeError: command returned non-zero exit status: %s", status)
            if stop_on_error:
                raise CommandError(call.host, call.text, status)
        return status
    finally:
        if exit:
            conn.exit()


def check(
    conn: Any,
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
    text: bool = True,
    **popen: Any,
) -> CheckResult:
    """Run a command and return its output and exit code, whatever that is.

    Bytes that are not UTF-8 come as lone surrogates: ``line.encode('utf-8', 'surrogateescape')`` gives them back.

    The parameters are those of :func:`run`, except that ``timeout`` is the seconds until the result.

    :param text: False gives stdout and stderr as bytes, just as they were written, in the place of lines; ``on_stdout`` and
        ``on_stderr`` get blocks of them.
    :returns: a tuple of the lines of stdout, the lines of stderr, and the exit code; ``([], [], -1)`` after a timeout.
    :raises CommandError: also a RuntimeError: the command could not be started. With ``stop_on_error=False`` the result
        is ``([], [last line of the error], -1)`` instead.
    :raises ConnectionLost: also a RuntimeError: the connection ended first.

    >>> from remoto import Connection
    >>> with Connection('localhost') as conn:
    ...     check(conn, ['sh', '-c', 'echo one; echo two >&2; exit 3'])
    (['one'], ['two'], 3)
    """
    try:
        call = Call(conn, command, timeout, kill_on_timeout)
        try:
            if on_stdout is None and on_stderr is None:
                call.start(CHECK, env, extend_env, stdin, popen)
                return CheckResult(call.answer(text))
            call.start(RUN, env, extend_env, stdin, popen)
            stdout: list[Any] = []
            stderr: list[Any] = []
            receivers = {STDOUT: _receiver(stdout.append, on_stdout), STDERR: _receiver(stderr.append, on_stderr)}
            parts = {stream: _parts(text) for stream in receivers}
            status = call.stream(receivers, parts, until_result=True)
            return CheckResult((stdout, stderr, status) if text else (b"".join(stdout), b"".join(stderr), status))
        except execnet.TimeoutError:
            call.time_out()
            return _no_result("", text)
        except CommandError as error:
            _log_traceback(conn, error)
            if stop_on_error:
                raise
            return _no_result(RemoteError(error.traceback).exception_line, text)
    finally:
        if exit:
            conn.exit()


def _no_result(line: str, text: bool) -> CheckResult:
    lines = [line] if line else []
    return CheckResult(([], lines, NO_EXIT_CODE) if text else (b"", line.encode("utf-8"), NO_EXIT_CODE))


def extend_env(conn: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Fill in the environment that a command would get: the far side's, the administrator's folders added to PATH.

    ``run`` and ``check`` do not need this: they leave it to the far side, which costs no round trip.

    :param arguments: keyword arguments for Popen; ``extend_env`` among them, where it is there, is merged in and removed.
    :returns: ``arguments``, with ``env`` filled.
    :raises ConnectionLost: also a RuntimeError.
    """
    gateway = conn.gateway if conn.gateway is not None else conn.inside()
    try:
        answer = gateway.remote_exec(_SEND_ENVIRONMENT).receive()
    except TimeoutError:
        raise  # a signal's handler's
    except (EOFError, OSError):
        raise lost(gateway, str(conn.hostname), "asking for the environment") from None
    # a program's test may answer with the dictionary itself, or with nothing of the kind
    pairs = answer.items() if isinstance(answer, dict) else answer if isinstance(answer, list) else []
    env = {_text(name): _text(value) for name, value in pairs}
    path = [folder for folder in env.get("PATH", "").split(":") if folder]
    env["PATH"] = ":".join(path + [folder for folder in EXTRA_PATH if folder not in path])
    env.update(arguments.pop("extend_env", None) or {})
    arguments["env"] = env
    return arguments


EXTRA_PATH = ("/usr/local/bin", "/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_SEND_ENVIRONMENT = """
import os
channel.send([list(pair) for pair in getattr(os, "environb", os.environ).items()])
"""


class Call:
    """One command on its way: what run and check share."""

    def __init__(
        self, conn: Any, command: Command, timeout: float | None, kill_on_timeout: bool | None, text: str = ""
    ) -> None:
        """
        :param text: for messages in the place of the command, which is then not logged.
        """
        self.conn = conn
        self.command = command
        self.timeout = bound("timeout", timeout or _number(getattr(conn, "global_timeout", None)))
        self.kill = getattr(conn, "kill_on_timeout", None) is True if kill_on_timeout is None else kill_on_timeout
        self.host = str(conn.where()) if hasattr(type(conn), "where") else str(conn.hostname)
        self.text = text
        self.argv: list[str] = []
        self.channel: Any = None
        self._unacknowledged = 0

    def start(
        self,
        function: RemoteFunction,
        env: Mapping[str, str] | None,
        extend_env: Mapping[str, str] | None,
        stdin: str | bytes | bool | None,
        popen: dict[str, Any],
    ) -> None:
        """Log the command and send it; one message. With True for stdin its blocks are to follow."""
        command = _argv(self.command)
        argv = self.conn.cmd(command)
        sudo = bool(self.conn.sudo)
        # a container's client gets the command itself, not the line that stands for it in the log
        prepare = getattr(type(self.conn), "prepare_command", None)
        request = {
            "kill": self.kill,
            "args": _args(command if prepare else argv),
            "sudo": sudo,
            "stdin": stdin if stdin is None or stdin is True else _bytes("stdin", stdin),
            "env": None if env is None else _variables("env", env),
            "extend_env": None if extend_env is None else _variables("extend_env", extend_env),
            "popen": {name: _popen(name, value) for name, value in popen.items() if name not in _DECODING},
        }
        if prepare:
            request = prepare(self.conn, request)
        logged = admin_command(sudo, argv)
        self.argv = logged if isinstance(logged, list) else [str(logged)]
        if not self.text:
            self.text = _as_logged(logged)
            self.conn.logger.info("Running command: %s", self.text)
        try:
            with bounded_sending(self.timeout):
                self.channel = self.conn.execute(function, **request)
        except ConnectError:
            raise
        except ConnectionLost as error:
            raise ConnectionLost(self.host, self.text, error.what, error.stderr) from None
        except OSError as error:
            raise_cause(error)
            raise lost(self.conn.gateway, self.host, self.text) from None

    def answer(self, text: bool) -> tuple[Any, Any, int]:
        """The one answer of a check; blocks come before it where the output is long."""
        left = self._time_left()
        outputs = {STDOUT: _Output(text), STDERR: _Output(text)}
        while True:
            answer = self._receive(next(left))
            if len(answer) != 2:
                break
            name, data = answer
            outputs[name].add(_as_bytes(data))
            self._acknowledge(len(data))
        stdout, stderr, status = answer
        return outputs[STDOUT].end(stdout), outputs[STDERR].end(stderr), self._status(status)

    def stream(
        self, receivers: Mapping[int, Receiver], parts: Mapping[int, Lines | _Blocks], until_result: bool = False
    ) -> int:
        """Hand each line, or block, to its receiver as it comes; the exit code.

        :param until_result: the timeout is for all of it, not for a silence.
        """
        left = self._time_left() if until_result else itertools.repeat(self.timeout)
        while True:
            try:
                name, data = self._receive(next(left))
            except (execnet.TimeoutError, ConnectionLost):
                for name, receiver in receivers.items():
                    receiver(parts[name].end())
                raise
            if name == STATUS:
                for name, receiver in receivers.items():
                    receiver(parts[name].end())
                return int(self._status(data))
            data = _as_bytes(data)
            try:
                receivers[name](parts[name].feed(data))
            except BaseException:
                self.abandon()
                raise
            self._acknowledge(len(data))

    def exchange(self, blocks: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
        """Send blocks to the command's stdin and yield what comes: (STDOUT or STDERR, bytes), at last (STATUS, exit code).

        No more than a window of either is on its way.
        """
        unsent, untaken = iter(blocks), 0
        block: bytes | None = b""
        while True:
            while block is not None and untaken < INPUT_WINDOW:
                block = next(unsent, None)
                self._send((block or b"",))
                untaken += len(block or b"")
            name, data = self._receive(self.timeout)
            if name == TAKEN:
                untaken -= data
                continue
            if name == STATUS:
                yield STATUS, self._status(data)
                return
            data = _as_bytes(data)
            yield name, data
            self._acknowledge(len(data))

    def abandon(self) -> None:
        """Nobody waits for it any more: it is left running, or ended where it was started with ``kill``."""
        if self.channel is None:
            return
        with contextlib.suppress(OSError):  # the connection is gone as well
            self.channel.close()

    def time_out(self) -> None:
        """Leave the command running, or see it killed where that is wanted."""
        log.timed_out(self.conn, self.timeout)
        if self.channel is None:
            return
        if self.kill:
            deadline = time.monotonic() + KILL_TIMEOUT
            try:
                self._send("kill")
                while True:
                    self.channel.receive(max(0.0, deadline - time.monotonic()))
            except (EOFError, execnet.RemoteError):
                pass
            except execnet.TimeoutError:
                self.conn.logger.warning("%s: could not be killed: %s", self.host, self.text)
        self.abandon()

    def _status(self, status: Any) -> Any:
        """The exit code. A list in its place: the command has none, since the container's client failed."""
        if self.kill and getattr(self.conn, "_closed", None) is True:
            raise ConnectionLost(self.host, self.text, "the connection was closed, and the command ended with it")
        if not isinstance(status, (list, tuple)):
            return status
        _, client_status, started, words = status
        lines = split_lines(_as_bytes(words))
        if started:
            what = "the connection to the container ended before the command did"
            raise ConnectionLost(self.host, self.text, what, "\n".join(lines[-LAST_WORDS:]))
        raise self.conn.client_failure(self.argv, client_status, lines)

    def _time_left(self) -> Iterator[float | None]:
        """The whole timeout, and from then on what is left of it."""
        begun = time.monotonic()
        yield self.timeout
        while True:
            yield None if self.timeout is None else max(0.0, begun + self.timeout - time.monotonic())

    def _acknowledge(self, size: int) -> None:
        self._unacknowledged += size
        if self._unacknowledged >= ACKNOWLEDGE:
            self._send(self._unacknowledged)
            self._unacknowledged = 0

    def _receive(self, timeout: float | None) -> Any:
        try:
            return self.channel.receive(timeout)
        except execnet.TimeoutError:
            raise
        except execnet.RemoteError as error:
            raise self._not_started(str(error)) from None
        except TimeoutError:  # not execnet's: a signal's handler's
            self.abandon()
            raise
        except (EOFError, OSError):
            raise lost(self.conn.gateway, self.host, self.text) from None
        except BaseException:
            self.abandon()
            raise

    def _not_started(self, traceback: str) -> Exception:
        problem = RemoteError(traceback).exception_line
        executable = getattr(self.conn, "executable", None)
        if isinstance(executable, str) and re.search(rf"Errno (2|13)\].*{re.escape(repr(executable))}", problem):
            return self.conn.client_failure(self.argv, None, [problem])  # type: ignore[no-any-return]
        return CommandError(self.host, self.text, traceback=traceback)

    def _send(self, item: int | str | tuple[bytes]) -> None:
        try:
            with bounded_sending(self.timeout):
                self.channel.send(item)
        except OSError as error:
            raise_cause(error)
            # else the command has just ended, or the connection has: what is received next tells


class _Blocks:
    """In the place of Lines: bytes, as they come."""

    def feed(self, block: bytes) -> list[bytes]:
        return [block]

    def end(self) -> list[bytes]:
        return []


def _parts(text: bool) -> Lines | _Blocks:
    return Lines("surrogateescape", lone_cr=True) if text else _Blocks()


class _Output:
    """One stream of a check, as lines or as bytes."""

    def __init__(self, text: bool) -> None:
        self._text = text
        self._input = _parts(text)
        self._parts: list[Any] = []

    def add(self, data: bytes) -> None:
        self._parts += self._input.feed(data)

    def end(self, data: Any) -> Any:
        """All of it, with what came at last; a far side that is a program's mock may have lines ready."""
        if not isinstance(data, (str, bytes)):
            return data
        self.add(_as_bytes(data))
        self._parts += self._input.end()
        return self._parts if self._text else b"".join(self._parts)


def _receiver(deliver: Handler | None, handler: Handler | None) -> Receiver:
    def receive(parts: Iterable[Any]) -> None:
        for part in parts:
            if deliver is not None:
                deliver(part)
            if handler is not None:
                handler(part)

    return receive


def _log_traceback(conn: Any, error: CommandError) -> None:
    for line in error.traceback.splitlines():
        conn.logger.error(line)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and value else None


def _argv(command: Command) -> Any:
    if isinstance(command, (str, bytes)):
        return os.fsdecode(command)
    if isinstance(command, (list, tuple)):
        if not command:
            raise ValueError("the command is empty")
        return [_text(word) if isinstance(word, (str, bytes, os.PathLike)) else word for word in command]
    return command


def _args(argv: Any) -> bytes | list[bytes]:
    return _bytes("command", argv) if isinstance(argv, str) else [_bytes("command", word) for word in argv]


def _as_logged(argv: Any) -> str:
    return argv if isinstance(argv, str) else " ".join(str(word) for word in argv)


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(os.fspath(value))


def _bytes(name: str, value: Any) -> bytes:
    """Text and paths travel as bytes: they arrive as they are, whatever the locales here and there."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    expected = "str or bytes" if name == "stdin" else "str, bytes or a path"
    raise TypeError(f"{name}: expected {expected}, not {type(value).__name__}: {value!r}")


def _variables(name: str, variables: Mapping[str, str]) -> dict[bytes, bytes]:
    encoded = {_bytes(name, variable): _bytes(f"{name}[{variable!r}]", value) for variable, value in variables.items()}
    for variable, value in encoded.items():
        if not variable or b"=" in variable or b"\0" in variable + value:
            raise ValueError(f"{name}: not a variable that can be set: {variable!r}")
    return encoded


def _popen(name: str, value: Any) -> Any:
    if name not in _POPEN:
        raise TypeError(f"{name}: neither a keyword of remoto's nor one of subprocess.Popen's")
    if isinstance(value, (str, bytes, os.PathLike)):
        return _bytes(name, value)
    try:
        execnet.dumps(value)
    except execnet.DataFormatError:
        raise TypeError(f"{name}: {type(value).__name__} can't be sent to the far side: {value!r}") from None
    return value


def _as_bytes(data: Any) -> bytes:
    # execnet makes text of a Python 2's bytes, one character for each
    return data.encode("latin-1") if isinstance(data, str) else data
