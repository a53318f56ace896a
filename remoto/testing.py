"""For the unit tests of programs that use remoto: a connection that answers from a script, without any other side."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Union

import execnet

from .backends import BaseConnection
from .exc import ConnectionLost, FunctionError
from .process import CHECK, STATUS, STDERR, STDOUT

__all__ = ["Ran", "ScriptedConnection", "Unexpected"]

Matcher = Union[str, Sequence[str], Callable[[Any], bool]]


class Unexpected(AssertionError):
    """A command or function that the script has no answer for."""


class Ran(NamedTuple):
    """A command that was run."""

    #: as it was given: a list of words, or a string
    command: Any
    stdin: bytes | None
    #: the whole environment, where one was given
    env: dict[str, str] | None
    extend_env: dict[str, str]
    #: what else was given for Popen: ``cwd``, ``shell``, ...
    popen: dict[str, Any]


class ScriptedConnection(BaseConnection):
    """A connection to nowhere. ``run``, ``check`` and ``import_module`` work with it as with a real one.

    :param hostname: what it is called; nothing is looked up.
    :param kw: what :class:`remoto.Connection` takes.
    :ivar ran: a list of :class:`Ran`, of all commands in their order.
    :ivar calls: a list of (function's name, args, kwargs).

    >>> from remoto.process import check
    >>> conn = ScriptedConnection('node1')
    >>> conn.on(['systemctl', 'is-active', 'chrony'], stdout='inactive\\n', exit_code=3)
    >>> check(conn, ['systemctl', 'is-active', 'chrony'])
    (['inactive'], [], 3)
    >>> [ran.command for ran in conn.ran]
    [['systemctl', 'is-active', 'chrony']]
    """

    def __init__(self, hostname: str = "node1", **kw: Any) -> None:
        kw["eager"] = False
        super().__init__(hostname, **kw)
        self.ran: list[Ran] = []
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._commands: list[tuple[Matcher, deque[_Answer]]] = []
        self._functions: dict[str, Any] = {}

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
        """Give a command its answer. Answers for the same command are given in turn, the last one from then on.

        :param command: the list of words or the string that it must be, or a function that is called with it and tells.
        :param stdout: what it writes.
        :param stderr: likewise.
        :param exit_code: how it ends.
        :param times_out: it writes that and then never ends, if the call has a timeout.
        :param is_lost: it writes that, and then the connection ends.
        :param is_missing: there is no such program.
        """
        answer = _Answer(_bytes(stdout), _bytes(stderr), exit_code, times_out, is_lost, is_missing)
        for matcher, answers in self._commands:
            if matcher == command:
                answers.append(answer)
                return
        self._commands.append((command, deque([answer])))

    def on_call(self, function: str, answer: Any) -> None:
        """Give a remote function its answer.

        :param function: its name.
        :param answer: what it returns; an exception, which is raised; or a function, which is called in its place.

        >>> import posixpath
        >>> conn = ScriptedConnection()
        >>> conn.on_call('exists', True)
        >>> conn.import_module(posixpath).exists('/etc/hosts')
        True
        """
        self._functions[function] = answer

    # what remoto calls

    def has_connection(self) -> bool:
        """True until :meth:`exit`, or until it was lost."""
        return not self._closed

    def execute(self, function: Any, **request: Any) -> Any:
        if self._closed:
            raise self._is_closed()
        args = request["args"]
        command = args.decode() if isinstance(args, bytes) else [word.decode() for word in args]
        given = {name: _text(value) for name, value in request["popen"].items()}
        env = request["env"]
        ran = Ran(command, request["stdin"], None if env is None else _texts(env), _texts(request["extend_env"]), given)
        self.ran.append(ran)
        answer = self._answer(command)
        if answer.is_lost:
            self._closed = True
        return _Channel(answer, whole=function == CHECK)

    def import_module(self, module: Any, python_executable: str | None = None, **kw: Any) -> Any:
        self.remote_module = _Functions(self, module)
        return self.remote_module

    def _answer(self, command: Any) -> _Answer:
        for matcher, answers in self._commands:
            if matcher(command) if callable(matcher) else _same(matcher, command):
                return answers.popleft() if len(answers) > 1 else answers[0]
        raise Unexpected(f"{self.hostname}: no answer in the script for the command {command!r}")

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._closed:
            raise ConnectionLost(self.hostname, f"{name}()", "the connection is closed")
        self.calls.append((name, args, kwargs))
        if name not in self._functions:
            raise Unexpected(f"{self.hostname}: no answer in the script for the function {name}()")
        answer = self._functions[name]
        if isinstance(answer, RuntimeError):
            raise answer
        if isinstance(answer, BaseException):
            kind = type(answer).__name__
            line = f"{kind}: {answer}"
            raise FunctionError(self.hostname, name, kind, str(answer), line, line) from answer
        return answer(*args, **kwargs) if callable(answer) else answer


class _Answer(NamedTuple):
    stdout: bytes
    stderr: bytes
    exit_code: int
    times_out: bool
    is_lost: bool
    is_missing: bool


class _Functions:
    def __init__(self, conn: ScriptedConnection, module: Any) -> None:
        self._conn = conn
        self.module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not hasattr(self.module, name):
            raise AttributeError(f"module {self.module.__name__} does not have attribute {name}")
        return lambda *args, **kwargs: self._conn._call(name, args, kwargs)


class _Channel:
    """What the far side of :mod:`remoto.process` would send."""

    def __init__(self, answer: _Answer, whole: bool) -> None:
        ending: Any = (STATUS, answer.exit_code)
        items: list[Any] = [(STDOUT, answer.stdout), (STDERR, answer.stderr)]
        if whole:
            items, ending = [], (answer.stdout, answer.stderr, answer.exit_code)
        if answer.is_missing:
            items, ending = [], execnet.RemoteError("FileNotFoundError: [Errno 2] No such file or directory")
        elif answer.times_out:
            ending = execnet.TimeoutError("no item")
        elif answer.is_lost:
            ending = EOFError()
        self._items = deque([*items, ending, EOFError()])

    def receive(self, timeout: float | None = None) -> Any:
        if isinstance(self._items[0], execnet.TimeoutError) and not timeout:
            raise Unexpected("a command that never ends was run without a timeout")
        item = self._items.popleft()
        if isinstance(item, BaseException):
            raise item
        return item

    def send(self, item: Any) -> None:
        """Nobody has to be told."""

    def close(self) -> None:
        """Nothing is open."""


def _same(wanted: Any, command: Any) -> bool:
    return bool(wanted == command if isinstance(wanted, str) else list(wanted) == command)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _text(value: Any) -> Any:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _texts(variables: Mapping[bytes, bytes] | None) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in (variables or {}).items()}
