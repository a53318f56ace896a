"""Connections that answer from a script."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, cast

import execnet

from .. import connection
from ..backends import BaseConnection
from ..backends.relayed import through
from ..commands.call import CHECK, RUN
from ..exc import RemotoError
from ..functions.calls import call_data
from ..functions.json_calls import plain
from ..functions.proxy import Arguments, Keywords, ModuleExecute, raised, refuse
from ..gateways.remote_calls import RemoteFunction
from ..process import _SEND_ENVIRONMENT
from ..remote.wire import STATUS, STDERR, STDOUT
from .files import Transfer, as_bytes, traceback_of
from .script import Answer, Called, Ran, Script, Unexpected

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..backends.options import ConnectionOptions
    from ..commands.request import Request
    from ..commands.target import Channel
    from ..functions.proxy import Problem
    from ..untyped import AnyFunction, AnyGateway
    from .files import Path

__all__ = ["Hosts", "ScriptedConnection"]


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
        args, popen = request["args"], request["popen"] or {}
        ran = Ran(
            _text(args) if isinstance(args, bytes) else [_text(argument) for argument in args],
            cast("bytes | None", request["stdin"]),
            None if request["env"] is None else _texts(request["env"]),
            _texts(request["extend_env"]),
            {name: _text(value) if isinstance(value, bytes) else value for name, value in popen.items()},
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


class _Command:
    """The channel of a command. It receives the messages that ``remote/command.py`` would send."""

    def __init__(self, answer: Answer, ran: Ran, whole: bool) -> None:
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
