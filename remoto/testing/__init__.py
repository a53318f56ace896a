"""Connections that answer from a script, for unit tests of programs that use remoto."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Callable, NamedTuple, Union, cast

import execnet

from .. import connection
from ..backends import BaseConnection
from ..backends.relayed import through
from ..commands.call import CHECK, RUN
from ..commands.request import Argv, Request, argv_of
from ..commands.target import Channel
from ..exc import HostError, RemotoError
from ..functions.calls import call_data
from ..functions.json_calls import plain
from ..functions.proxy import Arguments, Keywords, ModuleExecute, Problem, raised, refuse
from ..gateways.bootstrap import RemoteFunction
from ..process import _SEND_ENVIRONMENT
from ..remote.wire import STATUS, STDERR, STDOUT
from .files import Files, Transfer, as_bytes, traceback_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..backends.options import ConnectionOptions
    from ..untyped import AnyFunction, AnyGateway
    from .files import Path

__all__ = ["Called", "Hosts", "Matcher", "Ran", "Script", "ScriptedConnection", "Unexpected"]

_Argument = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
#: a string or list that the command must equal, or a function that returns True for a matching command
Matcher = Union[str, Sequence[_Argument], Callable[[Argv], bool]]


class Unexpected(AssertionError):
    """The script has no answer for a command, function or connection."""


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
        self._commands: list[tuple[Argv | Callable[[Argv], bool], _Turns]] = []
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
        answer = _Answer(*output, exit_code, times_out, is_lost, is_missing)
        matcher = command if callable(command) else argv_of(command)
        for known, turns in self._commands:
            if known == matcher:
                turns.answers.append(answer)
                return
        self._commands.append((matcher, _Turns([answer])))

    def on_call(self, function: str, answer: object) -> None:
        """Set the answer of a remote function.

        Several answers for the same function are used in turn; the last one is repeated.

        :param function: the function's name, such as ``exists``, or ``posixpath.exists`` for that module only.
        :param answer: a value to return, an exception to raise on the remote side, or a function to call instead.

        >>> import posixpath
        >>> conn = ScriptedConnection()
        >>> conn.on_call('exists', True)
        >>> conn.import_module(posixpath).exists('/etc/hosts')
        True
        """
        self._functions.setdefault(function, _Turns([])).answers.append(answer)

    def unreachable(self, error: BaseException | None = None) -> None:
        """Make further connections fail.

        :param error: the error to raise; by default a :class:`remoto.exc.HostError` of the kind ``unreachable``.
        """
        self._connect_error = error or HostError("no route to host", host=self._script_host, kind="unreachable")

    def unused(self) -> list[Argv | Callable[[Argv], bool]]:
        """Return the commands and the names of functions whose answers were not used, once for each answer."""
        everything = [*self._commands, *self._functions.items()]
        return [matcher for matcher, turns in everything for _ in range(turns.given, len(turns.answers))]

    def _answer(self, command: Argv) -> _Answer:
        for matcher, turns in self._commands:
            if matcher(command) if callable(matcher) else matcher == command:
                return cast("_Answer", turns.next())
        raise Unexpected(f"{self._script_host}: no answer in the script for the command {command!r}")

    def _answer_to_call(self, called: Called) -> object:
        self.calls.append(called)
        for name in (f"{called.module}.{called.function}", called.function):
            if name in self._functions:
                return self._functions[name].next()
        raise Unexpected(f"{self._script_host}: no answer in the script for the function {called.function}()")


class _Scripted(BaseConnection):
    """A connection of any backend that answers from a script, without leaving this process."""

    def __init__(self, script: Script, *args: object, **kw: object) -> None:
        self._script = script
        self.needs_descriptors = False
        # the backend's, which comes after this class
        init: AnyFunction[None] = super().__init__
        init(*args, **kw)

    def _make_gateway(self, hostname: str) -> execnet.Gateway:
        with through(self.via, self.where()):
            if self._script._connect_error is not None:
                raise self._script._connect_error
        return cast("execnet.Gateway", _Gateway(self))

    def _detect_sudo(self, _execnet: object = None) -> bool:
        return False

    def first_hop(self) -> None:
        return None

    def _open(self, spec: str) -> execnet.Gateway:
        raise Unexpected(f"{self.hostname}: nothing is opened for a scripted connection: {spec}")

    def inside(self, python: str | None = None) -> execnet.Gateway:
        return self._live_gateway()

    def prepare_command(self, request: Request) -> Request:
        """Return the request unchanged, since the script answers the command itself; check it as a container does."""
        super().prepare_command(request)
        return request

    def start_command(self, function: RemoteFunction, request: Request, timeout: float | None) -> Channel:
        channel = super().start_command(function, request, timeout)
        assert isinstance(channel, _Command)
        channel.ran.timeout = timeout
        return channel

    def execute(
        self, function: RemoteFunction | str | ModuleType | AnyFunction[object], **kw: object
    ) -> execnet.Channel:
        gateway: AnyGateway = self._live_gateway()
        # RUN and CHECK have the same names for a container, in another module
        if not isinstance(function, RemoteFunction) or function.name not in (RUN.name, CHECK.name):
            return cast("execnet.Channel", gateway.remote_exec(function, **kw))
        request = cast("Request", kw)
        args = request["args"]
        ran = Ran(
            _text(args) if isinstance(args, bytes) else [_text(argument) for argument in args],
            cast("bytes | None", request["stdin"]),
            None if request["env"] is None else _texts(request["env"]),
            _texts(request["extend_env"]),
            {name: _text(value) if isinstance(value, bytes) else value for name, value in request["popen"].items()},
            request["sudo"],
            kill_on_timeout=request["kill"],
        )
        self._script.ran.append(ran)
        answer = self._script._answer(ran.command)
        if answer.is_lost:
            gateway.exit()
        self.channel = _Command(answer, ran, function.name == CHECK.name)
        return cast("execnet.Channel", self.channel)

    def import_module(
        self, module: ModuleType, python_executable: str | None = None, *, include: Iterable[ModuleType] = ()
    ) -> ModuleExecute:
        is_json = self.remote_import_system == "json" or bool(python_executable and not self._has_python_inside)
        if not is_json:
            self._live_gateway()
        self.remote_module = _Functions(self, module, is_json)
        return self.remote_module


class ScriptedConnection(Script, _Scripted):
    """A connection that answers from its own script. It works with all of remoto, and opens nothing.

    :param hostname: any name; it is not resolved.
    :param kw: the keywords of ``remoto.Connection``. ``detect_sudo`` always finds root.

    >>> from remoto.process import check
    >>> conn = ScriptedConnection('node1')
    >>> conn.on(['systemctl', 'is-active', 'chrony'], stdout='inactive\\n', exit_code=3)
    >>> check(conn, ['systemctl', 'is-active', 'chrony'])
    (['inactive'], [], 3)
    >>> [ran.command for ran in conn.ran]
    [['systemctl', 'is-active', 'chrony']]
    """

    def __init__(self, hostname: str = "node1", **kw: Unpack[ConnectionOptions]) -> None:
        Script.__init__(self, hostname)
        _Scripted.__init__(self, self, hostname, **kw)


class Hosts:
    """A replacement for ``remoto.Connection``: each call returns a connection that answers from the script of its host.

    ``hosts['node1']`` is the :class:`Script` for that hostname, or for a container or pod of that name or id. All
    connections to a host share one script.

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
        """Return the script of a host; create it on first use."""
        return self._scripts.setdefault(host, Script(host))

    def __call__(self, hostname: str, *args: object, **kw: object) -> BaseConnection:
        """Return a connection to a host; the arguments are those of ``remoto.Connection``."""
        return self._connect(BaseConnection, hostname, *args, **kw)

    def get(self, name: str | None, fallback: str | None = "ssh") -> AnyFunction[BaseConnection] | None:
        """Return a backend whose connections answer from the scripts. Patch :func:`remoto.connection.get` with this."""
        backend = connection.find(name, fallback, stacklevel=3)
        return backend and (lambda *args, **kw: self._connect(backend, *args, **kw))

    def _connect(self, backend: type[BaseConnection], *args: object, **kw: object) -> BaseConnection:
        # make a connection that is never opened, to get the name of the container or host
        make: AnyFunction[BaseConnection] = backend
        unopened = make(*args, **{**kw, "eager": False})
        script = self[getattr(unopened, "identifier", unopened.hostname)]
        scripted = type(f"Scripted{backend.__name__}", (_Scripted, backend), {})
        return cast("BaseConnection", scripted(script, *args, **kw))


class _Turns:
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


class _Answer(NamedTuple):
    stdout: bytes
    stderr: bytes
    exit_code: int
    times_out: bool
    is_lost: bool
    is_missing: bool


class _Command:
    """The channel of a command. It receives the messages that ``remote/command.py`` would send."""

    def __init__(self, answer: _Answer, ran: Ran, whole: bool) -> None:
        program = ran.command if isinstance(ran.command, str) else (ran.command or [""])[0]
        if answer.is_missing and ran.popen.get("shell"):
            line = f"/bin/sh: 1: {program.split(' ')[0]}: not found\n"
            answer = answer._replace(is_missing=False, stdout=b"", stderr=as_bytes("stderr", line), exit_code=127)
        ending: object = (STATUS, answer.exit_code)
        items: list[object] = [(STDOUT, answer.stdout), (STDERR, answer.stderr)]
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

    def receive(self, timeout: float | None = None) -> object:
        if isinstance(self._items[0], execnet.TimeoutError) and timeout is None:
            raise Unexpected(f"a command with times_out=True was run without a timeout: {self.ran.command!r}")
        item = self._items.popleft()
        if isinstance(item, BaseException):
            raise item
        return item

    def send(self, item: object) -> None:
        """Do nothing: there is no receiver."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


class _Functions(ModuleExecute):
    def __init__(self, conn: _Scripted, module: ModuleType, is_json: bool) -> None:
        self.module = module
        self.logger = conn.logger
        self._conn = conn
        self._is_json = is_json

    def _remoto_place(self) -> str:
        return self._conn.hostname

    def _remoto_call(self, name: str, args: Arguments, kwargs: Keywords) -> object:
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
            # raise remoto's own errors unchanged; an AssertionError is for the test
            raise
        except Exception as error:
            raise self._raised(name, error) from error

    def _raised(self, name: str, error: Exception) -> RemotoError:
        kind = type(error)
        problem: Problem = {
            "name": kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}",
            "message": str(error),
            "traceback": traceback_of(error),
            "missing": isinstance(error, ImportError),
        }
        return raised(self._conn.hostname, name, problem, self._is_json, self.logger)


class _Gateway:
    """A replacement for execnet's gateway."""

    def __init__(self, conn: _Scripted) -> None:
        self.remoteaddress = conn.hostname
        self._conn = conn
        self._is_open = True

    def hasreceiver(self) -> bool:
        return self._is_open and (self._conn.via is None or self._conn.via.has_connection())

    def exit(self) -> None:
        self._is_open = False

    def remote_exec(self, source: object, **kw: object) -> _Environment | Transfer:
        if source == _SEND_ENVIRONMENT:
            return _Environment(self._conn.env)
        if kw.get("module") == "files":
            request = cast("Mapping[str, Path]", kw["request"])
            return Transfer(self, self._conn._script.files, str(kw["function"]), request)
        raise Unexpected(f"{self.remoteaddress}: no answer in the script for source that is sent: {source!r:.200}")


class _Environment(NamedTuple):
    variables: dict[str, str]

    def receive(self, timeout: float | None = None) -> dict[str, str]:
        return self.variables


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _texts(variables: Mapping[bytes, bytes] | None) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in (variables or {}).items()}
