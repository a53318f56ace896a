"""Functions of a module, run on the far side.

Two ways, with the same calls: :class:`LegacyModuleExecute` keeps the module in the Python of a gateway, where a call is one
round trip and globals live on; :class:`JsonModuleExecute` starts a fresh Python for each call, as a command.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Callable, NamedTuple

import execnet
from execnet.gateway import Gateway

from .. import backends, remote
from ..diagnosis import FAR_LINE
from ..exc import CommandError, ConnectError, ConnectionLost, FunctionError, ModuleMissing
from ..gateway import RemoteFunction, lost
from ..log import basic_remote_logger
from ..process import NO_EXIT_CODE
from ..util import RemoteError

_HOLD = RemoteFunction("module", "hold")
_SERVE = RemoteFunction("module", "serve")
_numbers = itertools.count()
#: items of a generator after which the far side is told that they have been taken; less than its window
TAKEN = 16
#: Python's own parser, which reads the arguments on the far side, takes about twice as many brackets
DEEPEST = 45
UNEXPECTED = "Unexpected remote exception"


class _Text(NamedTuple):
    """A module's text, for another machine."""

    name: str
    package: str
    filename: str
    source: str

    @classmethod
    def of(cls, module: Any) -> _Text:
        name = module.__name__
        spec = getattr(module, "__spec__", None)
        filename = getattr(module, "__file__", None) or f"<{name}>"
        package = getattr(module, "__package__", None) or ""
        if name in ("__main__", "__channelexec__"):
            name = "remoto_main"
        return cls(name, package, filename, _source(module, spec))


def _source(module: Any, spec: Any) -> str:
    text = None
    if spec is not None and hasattr(spec.loader, "get_source"):
        text = spec.loader.get_source(spec.name)
    if text is None:
        try:
            text = inspect.getsource(module)
        except OSError:
            raise TypeError(f"{module.__name__}: a module without its source can't be sent to the far side") from None
    # it travels as UTF-8, whatever the file is in
    lines = text.split("\n", 2)
    head = [re.sub(r"^([ \t\f]*#.*?coding[:=][ \t]*)[-\w.]+", r"\1utf-8", line) for line in lines[:2]]
    return "\n".join([*head, *lines[2:]])


class _Shipment(NamedTuple):
    """What goes to the far side of a module and of those that it wants."""

    module: _Text
    included: dict[str, tuple[bool, str, str]]
    #: packages of which only a part goes along
    parents: list[str]

    @classmethod
    def of(cls, module: Any, include: Iterable[ModuleType]) -> _Shipment:
        text = _Text.of(module)
        included: dict[str, tuple[bool, str, str]] = {}
        for item in include:
            if not isinstance(item, ModuleType):
                raise TypeError(f"include: expected modules, not {type(item).__name__}: {item!r}")
            included.update(_with_submodules(item))
        names = [text.name, *included]
        parents = {name.rsplit(".", level)[0] for name in names for level in range(1, name.count(".") + 1)}
        return cls(text, included, sorted(parents - set(included)))


def _with_submodules(module: ModuleType) -> dict[str, tuple[bool, str, str]]:
    # only here: they take as long to import as half of this package
    import importlib.util
    import pkgutil
    from importlib.abc import InspectLoader

    text = _Text.of(module)
    path = getattr(module, "__path__", None)
    found = {text.name: (path is not None, text.filename, text.source)}
    for info in pkgutil.walk_packages(path or [], f"{text.name}."):
        spec = importlib.util.find_spec(info.name)
        loader = spec.loader if spec is not None else None
        # what is not written in Python has no source, or a loader that knows of none
        source = loader.get_source(info.name) if isinstance(loader, InspectLoader) else None
        if spec is not None and source is not None:
            found[info.name] = (info.ispkg, spec.origin or info.name, source)
    return found


class _ModuleExecute:
    """What both have in common: a function is an attribute."""

    module: Any
    logger: Any

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {_name(self.module)} on {self._place()}>"

    def _place(self) -> str:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__") or name in ("module", "logger"):
            raise AttributeError(name)
        if not hasattr(self.module, name):
            raise AttributeError(f"module {_name(self.module)} does not have attribute {name}")
        here = getattr(self.module, name)
        description = (getattr(here, "__doc__", None) or "").strip().split("\n")[0]

        @functools.wraps(here, assigned=("__name__", "__qualname__", "__doc__"), updated=())
        def function(*args: Any, **kwargs: Any) -> Any:
            if description:
                self.logger.debug(description)
            return self._call(name, args, kwargs)

        # found there from now on
        self.__dict__[name] = function
        return function

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _refuse(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], can: Callable[[Any], Any]) -> None:
        """TypeError for the first argument that can't be sent."""
        for key, value in itertools.chain(enumerate(args, 1), kwargs.items()):
            try:
                can(value)
            except (TypeError, ValueError, RecursionError, execnet.DataFormatError) as error:
                what = f"argument {key!r} of {name}(): {type(value).__name__} can't be sent to the far side: {error}"
                raise TypeError(what) from None


class LegacyModuleExecute(_ModuleExecute):
    """A module that stays loaded in a gateway's Python. Any number of threads may call it.

    There is no bound on how long a call may take; a connection that ends is noticed.

    :param gateway: execnet's gateway; a connection's is ``conn.gateway``.
    :param module: a module of functions.
    :param logger: for what the functions print, at DEBUG, and write to stderr, at WARNING.
    :param include: modules that it imports, to be sent along; a package goes with all that is in it.
    :raises TypeError: on a call: an argument can't be sent.
    :raises FunctionError: on a call: also a RuntimeError: what the function raised.
    :raises ConnectionLost: on a call: also a RuntimeError.

    >>> import shutil, remoto
    >>> with remoto.Connection('localhost') as conn:
    ...     remote = LegacyModuleExecute(conn.gateway, shutil, include=[])
    ...     remote.which('sh', path='/bin')
    '/bin/sh'
    """

    def __init__(self, gateway: Any, module: Any, logger: Any = None, *, include: Iterable[ModuleType] = ()) -> None:
        self.gateway = gateway
        self.module = module
        self.logger = logger or basic_remote_logger(_host(gateway))
        self._lock = threading.Lock()
        self._replacement: Any = None
        self._loading: Any = None
        self._loading_logged = False
        self._idle: list[Any] = []  # channels, each served by a thread of the far side, that no call uses now
        if isinstance(gateway, Gateway):
            self._number = f"{os.getpid()}-{next(_numbers)}"
            self._shipment = _Shipment.of(module, include)
        else:
            self._replacement = gateway.remote_exec(module)

    @property
    def channel(self) -> Any:
        """execnet's channel to the module. One that a program puts in its place gets each call as text."""
        return self._replacement or self._load()

    @channel.setter
    def channel(self, channel: Any) -> None:
        self._replacement = channel

    def _place(self) -> str:
        return _host(self.gateway)

    def _load(self) -> Any:
        """Have the module loaded there, on first use: the first call does not wait for it, it is sent right behind."""
        with self._lock:
            if self._loading is None:
                request = {"number": self._number, **self._shipment._asdict(), "module": tuple(self._shipment.module)}
                self._loading = self._start(_HOLD, request, f"importing {_name(self.module)}")
            return self._loading

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._replacement is not None:
            return self._call_by_text(name, args, kwargs)
        self._load()
        try:
            channel = self._idle.pop()
        except IndexError:
            channel = self._start(_SERVE, {"number": self._number}, f"{name}()")
        try:
            self._send(channel, name, args, kwargs)
            if not self._loading_logged:
                self._log_loading()
            kind, value = self._answer(channel, name)
        except FunctionError:
            self._idle.append(channel)
            raise
        except BaseException:
            channel.close()
            raise
        if kind == "generator":
            return self._items(channel, name)
        self._idle.append(channel)
        return value

    def _send(self, channel: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            channel.send((name, args, kwargs))
        except OSError:
            raise self._lost(f"{name}()") from None
        except (execnet.DataFormatError, RecursionError):
            self._refuse(name, args, kwargs, execnet.dumps)
            raise

    def _start(self, function: RemoteFunction, request: Mapping[str, Any], what: str) -> Any:
        try:
            return function.start(self.gateway, request)
        except OSError:
            raise self._lost(what) from None

    def _lost(self, what: str) -> ConnectionLost:
        error = lost(self.gateway, _host(self.gateway), what)
        return ConnectionLost(error.host, what, "the connection ended before the function did", error.stderr)

    def _log_loading(self) -> None:
        """What the module printed when it was loaded, which is over before its first call."""
        try:
            while True:
                self._log(*self._loading.receive())
        except EOFError:
            self._loading_logged = True

    def _log(self, level: str, line: str) -> None:
        {"debug": self.logger.debug, "warning": self.logger.warning}[level](line)

    def _answer(self, channel: Any, name: str) -> tuple[str, Any]:
        """What comes next that is not a line for the log."""
        while True:
            try:
                answer = channel.receive()
            except EOFError:
                raise self._lost(f"{name}()") from None
            except execnet.RemoteError as error:
                traceback = str(error)
                raise self._error(name, RemoteError(traceback).exception_line, traceback) from None
            kind, value = answer if isinstance(answer, tuple) and len(answer) == 2 else (None, answer)
            if kind in ("debug", "warning"):
                self._log(kind, value)
            elif kind == "raise":
                raise _raised(_host(self.gateway), name, value, whole=False, logger=self.logger)
            elif kind in ("return", "generator", "item", "end"):
                return kind, value
            else:
                raise self._error(name, f"{name}() was answered by something that is not an answer: {answer!r:.200}")

    def _error(self, name: str, text: str, traceback: str = "") -> FunctionError:
        return FunctionError(_host(self.gateway), name, "", text, traceback, text)

    def _items(self, channel: Any, name: str) -> Iterator[Any]:
        taken = 0
        try:
            while True:
                kind, value = self._answer(channel, name)
                if kind == "end":
                    return
                yield value
                taken += 1
                if taken >= TAKEN:
                    try:
                        channel.send(taken)
                    except OSError:
                        pass  # the connection has ended: what is received next tells
                    taken = 0
        finally:
            # where it was left early, this ends the generator there
            channel.close()

    def _call_by_text(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        words = [self._convert_args(args)] if args else []
        words += [f"{key}={value!r}" for key, value in kwargs.items()]
        self.channel.send(f"{name}({', '.join(words)})")
        try:
            return self.channel.receive()
        except Exception as error:
            problem = RemoteError(str(error))
            line = problem.exception_line
            raise FunctionError(
                _host(self.gateway), name, problem.exception_name, line.partition(": ")[2], str(error), line
            ) from error

    def _convert_args(self, args: Iterable[Any]) -> str:
        """
        >>> LegacyModuleExecute._convert_args(None, ['foo', ('bar',), 1])
        "'foo', ('bar',), 1"
        """
        return ", ".join(map(repr, args))


class JsonModuleExecute(_ModuleExecute):
    """A module of which each call is a command: a fresh Python on the far side, answering in JSON.

    :param conn: a connection, of any backend.
    :param module: a module of functions.
    :param logger: for what the functions print, at DEBUG, and write to stderr, at WARNING; the connection's by default.
    :param python_executable: the far Python, for instance of a virtualenv. By default the first of ``python3``,
        ``python`` and ``python2.7`` that is there. May be set later.
    :param include: modules that it imports, to be sent along; a package goes with all that is in it.
    :raises TypeError: on a call: an argument can't be sent.
    :raises FunctionError: on a call: also a RuntimeError: what the function raised, with the whole remote traceback as text.
    :raises CommandError: on a call: also a RuntimeError: that Python can't be started.

    >>> import shutil, remoto
    >>> with remoto.Connection('localhost') as conn:
    ...     remote = JsonModuleExecute(conn, shutil)
    ...     remote.which('sh', path='/bin')
    '/bin/sh'
    """

    def __init__(
        self,
        conn: Any,
        module: Any,
        logger: Any = None,
        python_executable: str | None = None,
        *,
        include: Iterable[ModuleType] = (),
    ) -> None:
        self.conn = conn
        self.module = module
        self.logger = logger or conn.logger
        self.python_executable = python_executable
        self._include = list(include)

    def _place(self) -> str:
        return _where(self.conn)

    @functools.cached_property
    def _program(self) -> bytes:
        """All but the call itself: one line, since that is what the far Python reads."""
        shipment = _Shipment.of(self.module, self._include)
        modules = bool(shipment.included or shipment.parents)
        arguments = (
            tuple(shipment.module),
            shipment.included,
            shipment.parents,
            _far_text("including") if modules else "",
            _far_text("problem"),
        )
        lines = (
            "from __future__ import unicode_literals",
            _far_text("loading"),
            _far_text("call"),
            'inf, nan = float("inf"), float("nan")',
            f"call(*eval(sys.stdin.readline()) + {arguments!a})",
        )
        return ascii("\n".join(lines)).encode("ascii") + b"\n"

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            request = [_plain(list(args)), _plain(kwargs)]
        except TypeError:
            self._refuse(name, args, kwargs, _plain)
            raise
        python = self.python_executable or get_python_executable(self.conn)
        mark = f"remoto-answer-{os.urandom(8).hex()}"
        stdin = self._program + ascii((mark, name, *request)).encode("ascii") + b"\n"
        try:
            stdout, stderr, status = backends.check(self.conn, [python, "-c", FAR_LINE], stdin=stdin)
        except CommandError as error:
            raise CommandError(error.host, python, traceback=error.traceback) from error
        answers = [line for line in stdout if mark in line]
        for line in stderr:
            self.logger.warning(line)
        for line in stdout:
            line, marked, _ = line.partition(mark)
            if line or not marked:
                self.logger.debug(line)
        return self._result(name, python, answers[-1].partition(mark)[2] if answers else None, status, stderr)

    def _result(self, name: str, python: str, answer: str | None, status: int, stderr: list[str]) -> Any:
        import json

        host = _where(self.conn)
        if answer is None and status in (126, 127):
            raise CommandError(host, python, status)
        if answer is None and status == 0:
            return None
        if answer is None:
            self.logger.error(f'error calling "{name}"')
            ended = f"and its exit status is {status}"
            if status == NO_EXIT_CODE and not stderr:
                ended = "before the time limit"
            what = f'{UNEXPECTED}: error calling "{name}" on {host}: {python} gave no answer {ended}'
            text = "\n".join([what, *stderr])
            raise FunctionError(host, name, "", what, "\n".join(stderr), text)
        try:
            content = json.loads(answer)
        except ValueError as error:
            what = f"{UNEXPECTED}: {name}() on {host} was answered by something that is not an answer: {error}"
            raise FunctionError(host, name, "", what, "", what) from None
        if "raise" in content:
            raise _raised(host, name, content["raise"], whole=True, logger=self.logger)
        return content["return"]


@functools.cache
def _far_text(name: str) -> str:
    return remote.source(name)


def _raised(host: str, name: str, problem: Mapping[str, Any], whole: bool, logger: Any) -> FunctionError:
    """The error for an exception of the far side.

    :param whole: all of its traceback is the text, not its last line alone.
    """
    exception, message, traceback = str(problem["name"]), str(problem["message"]), str(problem["traceback"])
    text = traceback if whole else RemoteError(traceback).exception_line
    if exception == "SystemExit":
        logger.error(f'error calling "{name}"')
        text = f'{UNEXPECTED}: error calling "{name}" on {host}: it ended with exit status {message}'
    if problem["missing"]:
        advice = "include=[...] of import_module() sends modules along"
        return ModuleMissing(host, name, exception, message, traceback, f"{text.rstrip()} ({advice})")
    error = FunctionError(host, name, exception, message, traceback, text)
    if not whole and traceback:
        # shown above the error where nobody catches it
        error.__cause__ = execnet.RemoteError(traceback)
    return error


def _plain(value: Any, depth: int = 0) -> Any:
    """The same of Python's own plain types, so that its text on any Python stands for it."""
    if depth > DEEPEST:
        raise TypeError(f"it is nested more than {DEEPEST} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (list, tuple)):
        items = [_plain(item, depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {_plain(key, depth + 1): _plain(item, depth + 1) for key, item in value.items()}
    raise TypeError(f"JSON can't carry {type(value).__name__}")


_FIND_PYTHON = (
    "for name in python3 python python2.7; do "
    'path=$(command -v "$name") && "$path" -c "" < /dev/null > /dev/null 2>&1 && echo "$path" && exit; '
    "done; exit 1"
)


def get_python_executable(conn: Any) -> str:
    """The Python that JSON calls use: the first of ``python3``, ``python`` and ``python2.7`` that works there.

    It is looked for once for each connection.

    :raises ConnectError: also an OSError: there is none.
    """
    known = vars(conn).get("_python_executable")
    if known is None:
        stdout, _, status = backends.check(conn, ["/bin/sh", "-c", _FIND_PYTHON])
        if status != 0 or not stdout:
            raise _no_python(conn)
        known = conn._python_executable = stdout[0].strip()
    return str(known)


def _no_python(conn: Any) -> ConnectError:
    reason = "there is no python3, python or python2.7 there, and functions need one"
    advice = "python_executable= of import_module() names another; commands need none in a container."
    kind = getattr(conn, "connect_error", ConnectError)
    error: ConnectError = kind(reason, host=_where(conn), kind="interpreter", advice=advice)
    return error


def _name(module: Any) -> str:
    return str(getattr(module, "__name__", module))


def _host(gateway: Any) -> str:
    return str(getattr(gateway, "remoteaddress", gateway))


def _where(conn: Any) -> str:
    return str(conn.where()) if hasattr(type(conn), "where") else str(conn.hostname)
