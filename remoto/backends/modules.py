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
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Callable, NamedTuple

import execnet
from execnet import gateway_base
from execnet.gateway import Gateway

from .. import backends, remote
from ..diagnosis import FAR_LINE
from ..exc import CommandError, CommandTimeout, ConnectError, ConnectionLost, FunctionError, ModuleMissing
from ..gateway import RemoteFunction, lost, raise_cause
from ..log import basic_remote_logger
from ..process import NO_EXIT_CODE
from ..remote import module as far_module
from ..util import RemoteError

_HOLD = RemoteFunction("module", "hold")
_SERVE = RemoteFunction("module", "serve")
_numbers = itertools.count()
# plainly, pack and unpack: what execnet can't carry
far_values: Any = far_module
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
    is_package: bool

    @classmethod
    def of(cls, module: ModuleType) -> _Text:
        name = module.__name__
        spec = getattr(module, "__spec__", None)
        filename = _shown(getattr(module, "__file__", None) or f"<{name}>")
        package = getattr(module, "__package__", None) or ""
        text = _source(spec.loader, spec.name) if spec is not None else None
        if text is None:
            try:
                text = _as_utf8(inspect.getsource(module))
            except OSError:
                raise TypeError(f"{name}: a module without its source can't be sent to the far side") from None
        if name in ("__main__", "__channelexec__"):
            name = "remoto_main"
        return cls(name, package, filename, text, hasattr(module, "__path__"))


def _source(loader: Any, name: str) -> str | None:
    # what is not written in Python has no source, or a loader that knows of none
    text = loader.get_source(name) if hasattr(loader, "get_source") else None
    return None if text is None else _as_utf8(text)


def _as_utf8(text: str) -> str:
    """It travels as UTF-8, whatever the file is in."""
    lines = text.split("\n", 2)
    head = [re.sub(r"^([ \t\f]*#.*?coding[:=][ \t]*)[-\w.]+", r"\1utf-8", line) for line in lines[:2]]
    return "\n".join([*head, *lines[2:]])


#: what including.py takes: {name: (whether it is a package, filename, text)}
_Included = dict[str, tuple[bool, str, str]]


class _Shipment(NamedTuple):
    """What goes to the far side of a module and of those that it wants."""

    module: _Text
    included: _Included
    #: packages of which only a part goes along
    parents: list[str]

    @classmethod
    def of(cls, module: Any, include: ModuleType | Iterable[ModuleType]) -> _Shipment:
        text = _Text.of(_checked(module))
        included: _Included = {}
        if text.is_package:
            included.update(_parts(text.name, module.__path__))
        items: Iterable[Any] = [include] if isinstance(include, ModuleType) else include
        for item in items:
            if not isinstance(item, ModuleType):
                raise TypeError(f"include: expected modules, not {type(item).__name__}: {item!r}")
            included.update(_with_parts(item))
        names = [text.name, *included]
        parents = {name.rsplit(".", level)[0] for name in names for level in range(1, name.count(".") + 1)}
        return cls(text, included, sorted(parents - set(names)))


def _checked(module: Any) -> Any:
    if not isinstance(module, ModuleType):
        raise TypeError(f"expected a module, not {type(module).__name__}: {module!r}")
    return module


def _with_parts(module: ModuleType) -> _Included:
    text = _Text.of(module)
    found = {text.name: (text.is_package, text.filename, text.source)}
    if text.is_package:
        found.update(_parts(text.name, module.__path__))
    return found


def _parts(package: str, path: Iterable[str], above: Sequence[str] = ()) -> _Included:
    """The modules of a package, to the last one. Looking for them runs none of them.

    :param above: the folders that lead here, to which a link in it may lead again.
    """
    # only here: they take as long to import as half of this package
    import pkgutil
    from importlib.machinery import PathFinder

    path = [folder for folder in path if os.path.realpath(folder) not in above]
    above = [*above, *map(os.path.realpath, path)]
    names = {info.name for info in pkgutil.iter_modules(path)}
    # a folder without an __init__.py is a package as well
    names.update(itertools.chain.from_iterable(map(_folders, path)))
    found: _Included = {}
    for name in sorted(names):
        spec = PathFinder.find_spec(f"{package}.{name}", path) if name.isidentifier() else None
        if spec is None or name == "__pycache__":
            continue
        inner = spec.submodule_search_locations
        try:
            source = _source(spec.loader, spec.name) if spec.has_location else None
        except (ImportError, SyntaxError, ValueError):
            source = None  # a file that no Python can read, such as one that is there for tests
        if source is not None:
            found[spec.name] = (inner is not None, _shown(spec.origin or spec.name), source)
        found.update(_parts(spec.name, inner or (), above))
    return found


def _folders(folder: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []  # it is in an archive, or can't be read


def _shown(text: str) -> str:
    """Text that can be written anywhere: bytes that were not UTF-8 are shown as such."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if not text.isascii() else text


class _ModuleExecute:
    """What both have in common: a function is an attribute."""

    # these names and the subclasses' public ones are taken; whatever else there is must not hide a function of the module
    module: Any
    logger: Any

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {_name(self.module)} on {self._remoto_place()}>"

    def _remoto_place(self) -> str:
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
            if not callable(here):
                raise TypeError(f"{_name(self.module)}.{name} is not a function")
            if description:
                self.logger.debug(description)
            return self._remoto_call(name, args, kwargs)

        # found there from now on
        self.__dict__[name] = function
        return function

    def _remoto_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError


def _refuse(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], can: Callable[[Any], Any]) -> None:
    """TypeError for the first argument that can't be sent."""
    for key, value in itertools.chain(enumerate(args, 1), kwargs.items()):
        try:
            can(value)
        except Exception as error:
            what = f"argument {key!r} of {name}(): {type(value).__name__} can't be sent to the far side: {error}"
            raise TypeError(what) from None


class LegacyModuleExecute(_ModuleExecute):
    """A module that stays loaded in a gateway's Python. Any number of threads may call it.

    There is no bound on how long a call may take; a connection that ends is noticed.

    :param gateway: execnet's gateway; a connection's is ``conn.gateway``.
    :param module: a module of functions.
    :param logger: for what the functions print, at DEBUG, and write to stderr, at WARNING.
    :param include: modules that it imports, to be sent along; a package goes with all that is in it, also ``module`` itself.
    :raises TypeError: on a call: an argument can't be sent.
    :raises FunctionError: on a call: also a RuntimeError: what the function raised.
    :raises ConnectionLost: on a call: also a RuntimeError.

    >>> import shutil, remoto
    >>> with remoto.Connection('localhost') as conn:
    ...     remote = LegacyModuleExecute(conn.gateway, shutil, include=[])
    ...     remote.which('sh', path='/bin')
    '/bin/sh'
    """

    def __init__(
        self,
        gateway: Any,
        module: Any,
        logger: Any = None,
        *,
        include: ModuleType | Iterable[ModuleType] = (),
    ) -> None:
        self.gateway = gateway
        self.module = module
        self.logger = logger or basic_remote_logger(_host(gateway))
        self.__lock = threading.Lock()
        self.__replacement: Any = None
        self.__loading: Any = None
        self.__loading_logged = False
        self.__idle: list[Any] = []  # channels, each served by a thread of the far side, that no call uses now
        if isinstance(gateway, Gateway):
            self.__number = f"{os.getpid()}-{next(_numbers)}"
            self.__shipment = _Shipment.of(module, include)
        else:
            self.__replacement = gateway.remote_exec(module)

    @property
    def channel(self) -> Any:
        """execnet's channel to the module. One that a program puts in its place gets each call as text."""
        return self.__load() if self.__replacement is None else self.__replacement

    @channel.setter
    def channel(self, channel: Any) -> None:
        self.__replacement = channel

    def _remoto_place(self) -> str:
        return _host(self.gateway)

    def __load(self) -> Any:
        """Have the module loaded there, on first use: the first call does not wait for it, it is sent right behind."""
        with self.__lock:
            if self.__loading is None:
                request = {
                    "number": self.__number,
                    **self.__shipment._asdict(),
                    "module": tuple(self.__shipment.module),
                    "dropped": _dropped(self.gateway, self.__number, self),
                }
                self.__loading = self.__start(_HOLD, request, f"importing {_name(self.module)}")
            return self.__loading

    def _remoto_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.__replacement is not None:
            return self.__call_by_text(name, args, kwargs)
        data = _call_data(name, args, kwargs)
        self.__load()
        channel = self.__send(data, f"{name}()")
        try:
            if not self.__loading_logged:
                self.__log_loading(name)
            kind, value = self.__answer(channel, name, ("return", "raise", "generator"))
        except BaseException:
            _close(channel)
            raise
        if kind == "generator":
            return self.__items(channel, name)
        self.__idle.append(channel)
        if kind == "raise":
            raise self.__raised(name, value)
        return value

    def __send(self, data: bytes, what: str) -> Any:
        """Send a call; the channel that it went by."""
        try:
            channel = self.__idle.pop()
            _put(channel, data)
            return channel
        except IndexError:
            pass
        except OSError as error:
            raise_cause(error)
            # else nothing but this channel has ended
            if not self.gateway.hasreceiver():
                raise self.__lost(what) from None
        channel = self.__start(_SERVE, {"number": self.__number}, what)
        try:
            _put(channel, data)
        except OSError as error:
            raise_cause(error)
            raise self.__lost(what) from None
        return channel

    def __start(self, function: RemoteFunction, request: Mapping[str, Any], what: str) -> Any:
        try:
            return function.start(self.gateway, request)
        except OSError as error:
            raise_cause(error)
            raise self.__lost(what) from None

    def __lost(self, what: str) -> ConnectionLost:
        error = lost(self.gateway, _host(self.gateway), what)
        return ConnectionLost(error.host, what, "the connection ended before the function did", error.stderr)

    def __log_loading(self, name: str) -> None:
        """What the module printed when it was loaded, which is over before its first call."""
        try:
            while True:
                self.__log(*self.__loading.receive())
        except EOFError:
            self.__loading_logged = True
        except execnet.RemoteError as error:
            raise self.__error(name, str(error)) from None

    def __log(self, level: str, line: str) -> None:
        {"debug": self.logger.debug, "warning": self.logger.warning}[level](line)

    def __answer(self, channel: Any, name: str, expected: Iterable[str]) -> tuple[str, Any]:
        """What comes next that is not a line for the log."""
        while True:
            try:
                answer = channel.receive()
            except EOFError:
                raise self.__lost(f"{name}()") from None
            except execnet.RemoteError as error:
                raise self.__error(name, str(error)) from None
            kind, value, *packed = answer if isinstance(answer, tuple) and len(answer) in (2, 3) else (None, answer)
            if kind in ("debug", "warning"):
                self.__log(kind, value)
            elif kind in expected:
                return kind, far_values.unpack(value) if packed else value
            else:
                raise self.__error(name, f"{name}() was answered by something that is not an answer: {answer!r:.200}")

    def __error(self, name: str, traceback: str) -> FunctionError:
        line = RemoteError(traceback).exception_line
        return FunctionError(_host(self.gateway), name, "", line, traceback, line)

    def __raised(self, name: str, problem: Mapping[str, Any]) -> FunctionError:
        return _raised(_host(self.gateway), name, problem, whole=False, logger=self.logger)

    def __items(self, channel: Any, name: str) -> Iterator[Any]:
        # it begins there when somebody asks for its first item
        taken = 0
        try:
            while True:
                _tell(channel, taken)
                for _ in range(TAKEN):
                    kind, value = self.__answer(channel, name, ("item", "end", "raise"))
                    if kind == "end":
                        return
                    if kind == "raise":
                        raise self.__raised(name, value)
                    yield value
                taken = TAKEN
        finally:
            # where it was left early, this ends the generator there
            _close(channel)

    def __call_by_text(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        words = [self._convert_args(args)] if args else []
        words += [f"{key}={value!r}" for key, value in kwargs.items()]
        try:
            self.channel.send(f"{name}({', '.join(words)})")
            return self.channel.receive()
        except (EOFError, OSError):
            raise self.__lost(f"{name}()") from None
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


def _call_data(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """A call in execnet's form, before anything is sent.

    :raises TypeError: for an argument that can't be.
    """
    call = (name, args, kwargs)
    try:
        return gateway_base.dumps_internal(far_values.plainly(call))
    except Exception:  # execnet's own, struct's, of recursion, ...
        pass
    try:
        return gateway_base.dumps_internal((far_values.pack(call), (), {}, True))
    except Exception:
        _refuse(name, args, kwargs, lambda value: gateway_base.dumps_internal(far_values.pack(value)))
        raise


def _put(channel: Any, data: bytes) -> None:
    if channel.isclosed():
        raise OSError("the channel is closed")
    channel.gateway._send(gateway_base.Message.CHANNEL_DATA, channel.id, data)


def _tell(channel: Any, number: int) -> None:
    try:
        channel.send(number)
    except OSError as error:
        raise_cause(error)
        # else the connection has ended: what is received next tells


def _close(channel: Any) -> None:
    try:
        channel.close()
    except OSError:
        pass


_numbers_dropped: weakref.WeakKeyDictionary[Any, list[str]] = weakref.WeakKeyDictionary()


def _dropped(gateway: Any, number: str, executor: Any) -> list[str]:
    """The numbers of modules of that gateway that nobody can call any more; from ``executor``'s end on, its own is one.

    They go along with the next module: a garbage collector may come at any time, and nothing can be sent then.
    """
    numbers = _numbers_dropped.setdefault(gateway, [])
    weakref.finalize(executor, numbers.append, number)
    return [numbers.pop() for _ in range(len(numbers))]


class JsonModuleExecute(_ModuleExecute):
    """A module of which each call is a command: a fresh Python on the far side, answering in JSON.

    :param conn: a connection, of any backend.
    :param module: a module of functions.
    :param logger: for what the functions print, at DEBUG, and write to stderr, at WARNING; the connection's by default.
    :param python_executable: the far Python, for instance of a virtualenv. By default the first of ``python3``,
        ``python`` and ``python2.7`` that is there. May be set later.
    :param include: modules that it imports, to be sent along; a package goes with all that is in it, also ``module`` itself.
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
        include: ModuleType | Iterable[ModuleType] = (),
    ) -> None:
        self.conn = conn
        self.module = module
        self.logger = logger or conn.logger
        self.python_executable = python_executable
        self.__include = include
        # a program's test may have something else in the place of a module, and never call it
        if isinstance(module, (ModuleType, str)):
            self.__shipment  # noqa: B018

    def _remoto_place(self) -> str:
        return _where(self.conn)

    @functools.cached_property
    def __shipment(self) -> _Shipment:
        return _Shipment.of(self.module, self.__include)

    @functools.cached_property
    def __program(self) -> bytes:
        """All but the call itself: one line, since that is what the far Python reads."""
        shipment = self.__shipment
        modules = bool(shipment.included or shipment.parents)
        arguments = (
            tuple(shipment.module),
            shipment.included,
            shipment.parents,
            _far_text("including") if modules else "",
            _far_text("problem"),
            _far_text("printing"),
        )
        lines = (
            "from __future__ import unicode_literals",
            _far_text("loading"),
            _far_text("call"),
            'inf, nan = float("inf"), float("nan")',
            f"call(*eval(sys.stdin.readline()) + {arguments!a})",
        )
        return ascii("\n".join(lines)).encode("ascii") + b"\n"

    def _remoto_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mark = f"remoto-answer-{os.urandom(8).hex()}"
        try:
            request = ascii(
                (mark, name, [_plain(value) for value in args], {key: _plain(kwargs[key]) for key in kwargs})
            )
        except Exception:
            _refuse(name, args, kwargs, lambda value: ascii(_plain(value)))
            raise
        python = self.python_executable or get_python_executable(self.conn)
        stdin = self.__program + request.encode("ascii") + b"\n"
        started = time.monotonic()
        try:
            stdout, stderr, status = backends.check(self.conn, [python, "-c", FAR_LINE], stdin=stdin)
        except CommandTimeout:  # the connection has raise_on_timeout set
            stdout, stderr, status = [], [], NO_EXIT_CODE
        except CommandError as error:
            raise CommandError(error.host, python, traceback=error.traceback, reason=error.reason) from error
        limit = _time_limit(self.conn, started, status)
        answers = [line for line in stdout if mark in line]
        stderr = [_shown(line) for line in stderr]
        for line in stderr:
            self.logger.warning(line)
        for line in stdout:
            line, marked, _ = line.partition(mark)
            if line or not marked:
                self.logger.debug(_shown(line))
        if answers:
            return self.__result(name, answers[-1].partition(mark)[2])
        if status == 0:
            return None
        ended = f"and its exit status is {status}" if limit is None else f"within {limit:g} seconds (global_timeout)"
        raise self.__no_answer(name, f"{python} gave no answer {ended}", stderr)

    def __no_answer(self, name: str, what: str, stderr: list[str]) -> FunctionError:
        host = _where(self.conn)
        self.logger.error(f'error calling "{name}"')
        what = f'{UNEXPECTED}: error calling "{name}" on {host}: {what}'
        return FunctionError(host, name, "", what, "\n".join(stderr), "\n".join([what, *stderr]))

    def __result(self, name: str, answer: str) -> Any:
        import json

        host = _where(self.conn)
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
        if "No module named" in message:
            text = f"{text.rstrip()} (include=[...] of import_module() sends modules along)"
        return ModuleMissing(host, name, exception, message, traceback, text)
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

    It is looked for once for each connection. A search that takes longer than ``connect_timeout``, or ``global_timeout`` where that
    is shorter, is ended.

    :raises ConnectError: also an OSError: there is none, or the search took too long.
    """
    # threads that come at the same time wait for the first
    with vars(conn).setdefault("_python_lock", threading.Lock()):
        known = vars(conn).get("_python_executable")
        if known is None:
            known = conn._python_executable = _find_python(conn)
    return str(known)


def _find_python(conn: Any) -> str:
    name, limit = _search_limit(conn)
    started = time.monotonic()
    command = ["/bin/sh", "-c", _FIND_PYTHON]
    try:
        stdout, _, status = backends.check(conn, command, timeout=limit, kill_on_timeout=True)
    except CommandTimeout:  # the connection has raise_on_timeout set
        stdout, status = [], NO_EXIT_CODE
    if status == 0 and stdout:
        return str(stdout[0].strip())
    # a command that SIGHUP has ended has the same status
    if status == NO_EXIT_CODE and limit is not None and limit <= time.monotonic() - started:
        reason, kind = f"no answer within {limit:g} seconds ({name}) to the question for a Python there", "timeout"
        advice = "python_executable= of import_module() names one, which spares the question."
    else:
        reason, kind = "there is no python3, python or python2.7 there, and functions need one", "interpreter"
        advice = "python_executable= of import_module() names another; commands need none in a container."
    error: ConnectError = getattr(conn, "connect_error", ConnectError)(
        reason, host=_where(conn), kind=kind, advice=advice
    )
    raise error


def _search_limit(conn: Any) -> tuple[str, float | None]:
    """The time limit of the search for a Python in seconds, and its name: the connection's shorter one; None for no limit."""
    limits = {name: getattr(conn, name, None) for name in ("global_timeout", "connect_timeout")}
    # a program's mock has anything in their place
    numbers = {name: limit for name, limit in limits.items() if isinstance(limit, (int, float)) and limit > 0}
    return min(numbers.items(), key=lambda item: item[1], default=("", None))


def _time_limit(conn: Any, started: float, status: int) -> float | None:
    """The connection's time limit in seconds, where it is what ended the wait for a command; else None."""
    limit = getattr(conn, "global_timeout", None)
    # a command that SIGHUP has ended has the same status
    if status == NO_EXIT_CODE and isinstance(limit, (int, float)) and 0 < limit <= time.monotonic() - started:
        return limit
    return None


def _name(module: Any) -> str:
    return str(getattr(module, "__name__", module))


def _host(gateway: Any) -> str:
    return str(getattr(gateway, "remoteaddress", gateway))


def _where(conn: Any) -> str:
    return str(conn.where()) if hasattr(type(conn), "where") else str(conn.hostname)
