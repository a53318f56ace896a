"""For the unit tests of programs that use remoto: connections that answer from a script, without any other side."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Callable, NamedTuple, Union

import execnet

from .. import connection
from ..backends import BaseConnection
from ..commands.answers import STATUS, STDERR, STDOUT
from ..commands.call import CHECK, RUN
from ..commands.request import Request, argv_of
from ..commands.target import Channel
from ..exc import HostError, RemotoError
from ..functions.calls import call_data
from ..functions.facade import ModuleExecute, raised, refuse
from ..functions.json_calls import plain
from ..gateways.bootstrap import RemoteFunction
from ..process import _SEND_ENVIRONMENT
from .files import Files, Transfer, as_bytes, traceback_of

__all__ = ["Called", "Hosts", "Matcher", "Ran", "Script", "ScriptedConnection", "Unexpected"]

_Word = Union[str, bytes, "os.PathLike[Any]"]
#: matches commands: a command's string or list, or a function that is called with it
Matcher = Union[str, Sequence[_Word], Callable[[Any], bool]]


class Unexpected(AssertionError):
    """The program has asked for something that the script has no answer for."""


@dataclass
class Ran:
    """A command that was run."""

    #: a list of words or a string, as it was given; paths and bytes are text here
    command: Any
    #: what it was given to read
    stdin: bytes | None = None
    #: the whole environment, where one was given
    env: dict[str, str] | None = None
    #: what was to be added to it
    extend_env: dict[str, str] = field(default_factory=dict)
    #: what else was given for Popen: ``cwd``, ``shell``, ...
    popen: dict[str, Any] = field(default_factory=dict)
    #: whether the connection had sudo on
    sudo: bool = False
    #: the call's, or the connection's ``global_timeout``
    timeout: float | None = None
    #: the call's, or the connection's own
    kill_on_timeout: bool = False


class Called(NamedTuple):
    """A remote function that was called."""

    #: the module's name
    module: str
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Script:
    """What a host answers, and what it was asked. ``Hosts()['node1']`` is one, and so is a :class:`ScriptedConnection`.

    :ivar ran: a list of :class:`Ran`, of all commands in their order.
    :ivar calls: a list of :class:`Called`, of all remote functions in their order.
    :ivar files: the files there, a dictionary of path and bytes: what ``put`` and ``rsync`` write and ``get`` reads. An
        exception in the place of the bytes is a file that can't be read or written.
    """

    def __init__(self, hostname: str = "node1") -> None:
        self.ran: list[Ran] = []
        self.calls: list[Called] = []
        self.files: MutableMapping[str, Any] = Files()
        self._script_host = hostname
        self._commands: list[tuple[Any, _Turns]] = []
        self._functions: dict[str, _Turns] = {}
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
        """Give a command its answer. Answers for the same command are given in turn, the last one from then on.

        :param command: the list of words or the string that it must be, or a function that is called with it and tells.
        :param stdout: what it writes.
        :param stderr: likewise.
        :param exit_code: how it ends.
        :param times_out: it writes that and then never ends: the call's timeout comes at once, and it must have one.
        :param is_lost: it writes that, and then the connection ends.
        :param is_missing: there is no such program.
        :raises TypeError: the output is neither str nor bytes, or the exit code no number.
        """
        if not isinstance(exit_code, int):
            raise TypeError(f"exit_code: expected int, not {type(exit_code).__name__}: {exit_code!r}")
        output = as_bytes("stdout", stdout), as_bytes("stderr", stderr)
        answer = _Answer(*output, exit_code, times_out, is_lost, is_missing)
        matcher = command if callable(command) else argv_of(command)
        for known, turns in self._commands:
            if known == matcher:
                turns.answers.append(answer)
                return
        self._commands.append((matcher, _Turns([answer])))

    def on_call(self, function: str, answer: Any) -> None:
        """Give a remote function its answer. Answers for the same function are given in turn, the last one from then on.

        :param function: its name, ``exists`` or, of one module alone, ``posixpath.exists``.
        :param answer: what it returns; an exception, which the far side raises; or a function that is called in its place.

        >>> import posixpath
        >>> conn = ScriptedConnection()
        >>> conn.on_call('exists', True)
        >>> conn.import_module(posixpath).exists('/etc/hosts')
        True
        """
        self._functions.setdefault(function, _Turns([])).answers.append(answer)

    def unreachable(self, error: BaseException | None = None) -> None:
        """Let no further connection be opened.

        :param error: what is raised; by default a :class:`remoto.exc.HostError` of the kind ``unreachable``.
        """
        self._connect_error = error or HostError("no route to host", host=self._script_host, kind="unreachable")

    def unused(self) -> list[Any]:
        """The commands, and the names of the functions, of the answers that nobody has asked for."""
        everything = [*self._commands, *self._functions.items()]
        return [asked for asked, turns in everything for _ in range(turns.given, len(turns.answers))]

    def _answer(self, command: Any) -> _Answer:
        for matcher, turns in self._commands:
            if matcher(command) if callable(matcher) else matcher == command:
                answer: _Answer = turns.next()
                return answer
        raise Unexpected(f"{self._script_host}: no answer in the script for the command {command!r}")

    def _answer_to_call(self, called: Called) -> Any:
        self.calls.append(called)
        for name in (f"{called.module}.{called.function}", called.function):
            if name in self._functions:
                return self._functions[name].next()
        raise Unexpected(f"{self._script_host}: no answer in the script for the function {called.function}()")


class _Scripted(BaseConnection):
    """A connection of any backend that follows a script: all that would leave this process is answered here."""

    def __init__(self, script: Script, *args: Any, **kw: Any) -> None:
        self._script = script
        super().__init__(*args, **kw)

    def _make_gateway(self, hostname: str) -> Any:
        if self._script._connect_error is not None:
            raise self._script._connect_error
        return _Gateway(self)

    def _detect_sudo(self, _execnet: Any = None) -> bool:
        return False

    def _open(self, spec: str) -> Any:
        raise Unexpected(f"{self.hostname}: nothing is opened for a scripted connection: {spec}")

    def inside(self, python: str | None = None) -> Any:
        return self._live_gateway()

    def prepare_command(self, request: Request) -> Request:
        """The command itself is answered, not the call of a container's client; what that refuses is refused."""
        super().prepare_command(request)
        return request

    def start_command(self, function: RemoteFunction, request: Request, timeout: float | None) -> Channel:
        channel = super().start_command(function, request, timeout)
        assert isinstance(channel, _Command)
        channel.ran.timeout = timeout
        return channel

    def execute(self, function: Any, **kw: Any) -> Any:
        gateway = self._live_gateway()
        if function not in (RUN, CHECK):
            return gateway.remote_exec(function, **kw)
        args = kw["args"]
        ran = Ran(
            _text(args) if isinstance(args, bytes) else [_text(word) for word in args],
            kw["stdin"],
            None if kw["env"] is None else _texts(kw["env"]),
            _texts(kw["extend_env"]),
            {name: _text(value) for name, value in kw["popen"].items()},
            kw["sudo"],
            kill_on_timeout=kw["kill"],
        )
        self._script.ran.append(ran)
        answer = self._script._answer(ran.command)
        if answer.is_lost:
            gateway.exit()
        self.channel = _Command(answer, ran, function == CHECK)
        return self.channel

    def import_module(
        self, module: Any, python_executable: str | None = None, *, include: Iterable[ModuleType] = ()
    ) -> Any:
        is_json = self.remote_import_system == "json" or bool(python_executable and not self._has_python_inside)
        if not is_json:
            self._live_gateway()
        self.remote_module = _Functions(self, module, is_json)
        return self.remote_module


class ScriptedConnection(Script, _Scripted):
    """A connection to nowhere, and its script. All of remoto works with it as with a real one; nothing is ever opened.

    :param hostname: what it is called; nothing is looked up.
    :param kw: what ``remoto.Connection`` takes. ``detect_sudo`` finds that the user there is root.

    >>> from remoto.process import check
    >>> conn = ScriptedConnection('node1')
    >>> conn.on(['systemctl', 'is-active', 'chrony'], stdout='inactive\\n', exit_code=3)
    >>> check(conn, ['systemctl', 'is-active', 'chrony'])
    (['inactive'], [], 3)
    >>> [ran.command for ran in conn.ran]
    [['systemctl', 'is-active', 'chrony']]
    """

    def __init__(self, hostname: str = "node1", **kw: Any) -> None:
        Script.__init__(self, hostname)
        _Scripted.__init__(self, self, hostname, **kw)


class Hosts:
    """Put in the place of ``remoto.Connection``: each call gives a connection that follows its host's script.

    ``hosts['node1']`` is the :class:`Script` of that host, under the name that the program uses; of a container or pod, it
    is that of its name or id. All connections to a host follow the same one.

    >>> hosts = Hosts()
    >>> hosts['node1'].on(['uname'], stdout='Linux\\n')
    >>> hosts['node2'].unreachable()
    >>> from unittest import mock
    >>> import remoto
    >>> from remoto.process import check
    >>> with mock.patch('remoto.Connection', hosts), remoto.Connection('node1') as conn:
    ...     check(conn, ['uname']).stdout
    ['Linux']
    >>> hosts['node1'].unused()
    []
    """

    def __init__(self) -> None:
        self._scripts: dict[str, Script] = {}

    def __getitem__(self, host: str) -> Script:
        """The script of a host; a new one for a new name."""
        return self._scripts.setdefault(host, Script(host))

    def __call__(self, hostname: str, *args: Any, **kw: Any) -> Any:
        """What ``remoto.Connection`` takes."""
        return self._connect(BaseConnection, hostname, *args, **kw)

    def get(self, name: str | None, fallback: str | None = "ssh") -> Any:
        """To be put in the place of :func:`remoto.connection.get`."""
        backend: Any = connection.find(name, fallback, stacklevel=3)
        return backend and (lambda *args, **kw: self._connect(backend, *args, **kw))

    def _connect(self, backend: Any, *args: Any, **kw: Any) -> Any:
        # one that is never opened knows what it would be called
        unopened = backend(*args, **{**kw, "eager": False})
        script = self[getattr(unopened, "identifier", unopened.hostname)]
        return type(f"Scripted{backend.__name__}", (_Scripted, backend), {})(script, *args, **kw)


class _Turns:
    """The answers to one question, in turn."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.given = 0
        self._lock = threading.Lock()

    def next(self) -> Any:
        with self._lock:
            answer = self.answers[min(self.given, len(self.answers) - 1)]
            self.given += 1
            return answer


class _Answer(NamedTuple):
    stdout: bytes
    stderr: bytes
    exit_code: int
    times_out: bool
    is_lost: bool
    is_missing: bool


class _Command:
    """The channel of a command: what the far side of :mod:`remoto.process` would send."""

    def __init__(self, answer: _Answer, ran: Ran, whole: bool) -> None:
        program = ran.command if isinstance(ran.command, str) else (ran.command or [""])[0]
        if answer.is_missing and ran.popen.get("shell"):
            said = f"/bin/sh: 1: {program.split(' ')[0]}: not found\n"
            answer = answer._replace(is_missing=False, stdout=b"", stderr=as_bytes("stderr", said), exit_code=127)
        ending: Any = (STATUS, answer.exit_code)
        items: list[Any] = [(STDOUT, answer.stdout), (STDERR, answer.stderr)]
        if whole:
            items, ending = [], (answer.stdout, answer.stderr, answer.exit_code)
        if answer.is_missing:
            error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
            items, ending = [], execnet.RemoteError(traceback_of(error))
        elif answer.times_out:
            ending = execnet.TimeoutError("no item")
        elif answer.is_lost:
            ending = EOFError()
        self._items = deque([*items, ending, EOFError()])
        self.ran = ran

    def receive(self, timeout: float | None = None) -> Any:
        if isinstance(self._items[0], execnet.TimeoutError) and timeout is None:
            raise Unexpected(f"a command that never ends was run without a timeout: {self.ran.command!r}")
        item = self._items.popleft()
        if isinstance(item, BaseException):
            raise item
        return item

    def send(self, item: Any) -> None:
        """Nobody has to be told."""

    def close(self) -> None:
        """Nothing is open."""


class _Functions(ModuleExecute):
    def __init__(self, conn: _Scripted, module: Any, is_json: bool) -> None:
        self.module = module
        self.logger = conn.logger
        self._conn = conn
        self._is_json = is_json

    def _remoto_place(self) -> str:
        return self._conn.hostname

    def _remoto_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._conn._live_gateway()
        if self._is_json:
            refuse(name, args, kwargs, plain)
        else:
            call_data(name, args, kwargs)
        answer = self._conn._script._answer_to_call(Called(self.module.__name__, name, args, kwargs))
        if isinstance(answer, type) and issubclass(answer, BaseException):
            answer = answer()
        try:
            if isinstance(answer, BaseException):
                raise answer
            return answer(*args, **kwargs) if callable(answer) else answer
        except (RemotoError, AssertionError):
            # of remoto's own, the program gets them like this; the other is the test's
            raise
        except Exception as error:
            raise self._raised(name, error) from error

    def _raised(self, name: str, error: Exception) -> RemotoError:
        kind = type(error)
        problem = {
            "name": kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}",
            "message": str(error),
            "traceback": traceback_of(error),
            "missing": isinstance(error, ImportError),
        }
        return raised(self._conn.hostname, name, problem, self._is_json, self.logger)


class _Gateway:
    """What is there in the place of execnet's."""

    def __init__(self, conn: _Scripted) -> None:
        self.remoteaddress = conn.hostname
        self._conn = conn
        self._is_open = True

    def hasreceiver(self) -> bool:
        return self._is_open

    def exit(self) -> None:
        self._is_open = False

    def remote_exec(self, source: Any, **kw: Any) -> Any:
        if source == _SEND_ENVIRONMENT:
            return _Environment(self._conn.env)
        if kw.get("module") == "files":
            files: Any = self._conn._script.files
            return Transfer(self, files, kw["function"], kw["request"])
        raise Unexpected(f"{self.remoteaddress}: no answer in the script for source that is sent: {source!r:.200}")


class _Environment(NamedTuple):
    variables: dict[str, str]

    def receive(self, timeout: float | None = None) -> dict[str, str]:
        return self.variables


def _text(value: Any) -> Any:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _texts(variables: Mapping[bytes, bytes] | None) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in (variables or {}).items()}
