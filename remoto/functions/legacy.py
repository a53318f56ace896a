"""Functions of a module that stays loaded in the Python of a gateway: a call is one round trip, and globals live on."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Callable

import execnet
from execnet import gateway_base
from execnet.gateway import Gateway

from ..exc import ConnectionLost, FunctionError
from ..gateway import RemoteFunction, lost, raise_cause
from ..log import basic_remote_logger
from ..remote import module as far_module
from ..util import RemoteError
from .facade import ModuleExecute, host_of, is_problem, name_of, raised, refuse, wrong_answer
from .shipping import Shipment

_HOLD = RemoteFunction("module", "hold")
_SERVE = RemoteFunction("module", "serve")
_numbers = itertools.count()
# plainly, pack and unpack: what execnet can't carry
far_values: Any = far_module
#: items of a generator after which the far side is told that they have been taken; less than its window
TAKEN = 16


class LegacyModuleExecute(ModuleExecute):
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
        self.logger = logger or basic_remote_logger(host_of(gateway))
        self.__lock = threading.Lock()
        self.__replacement: Any = None
        self.__loading: Any = None
        self.__loading_logged = False
        self.__idle: list[Any] = []  # channels, each served by a thread of the far side, that no call uses now
        if isinstance(gateway, Gateway):
            self.__number = f"{os.getpid()}-{next(_numbers)}"
            self.__shipment = Shipment.of(module, include)
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
        return host_of(self.gateway)

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
                self.__loading = self.__start(_HOLD, request, f"importing {name_of(self.module)}")
            return self.__loading

    def _remoto_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.__replacement is not None:
            return self.__call_by_text(name, args, kwargs)
        data = call_data(name, args, kwargs)
        self.__load()
        channel = self.__send(data, f"{name}()")
        try:
            if not self.__loading_logged:
                self.__log_loading(name)
            kind, value = self.__answer(channel, name, ("return", "raise", "generator"))
        except EOFError:
            raise self.__lost(f"{name}()") from None
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
        error = lost(self.gateway, host_of(self.gateway), what)
        return ConnectionLost(error.host, what, "the connection ended before the function did", error.stderr)

    def __log_loading(self, name: str) -> None:
        """Log what the module printed when it was loaded, which is over before its first call."""
        while True:
            try:
                self.__answer(self.__loading, name, ())
            except EOFError:
                self.__loading_logged = True
                return

    def __answer(self, channel: Any, name: str, expected: Iterable[str]) -> tuple[str, Any]:
        """Log the lines that come, and return the answer behind them: its kind and its value.

        :raises EOFError: the channel has ended.
        """
        while True:
            try:
                answer = channel.receive()
            except execnet.RemoteError as error:
                raise self.__error(name, str(error)) from None
            kind, value = _parsed(answer)
            if kind in _LINES:
                getattr(self.logger, kind)(value)
            elif kind in expected:
                return kind, value
            else:
                raise wrong_answer(host_of(self.gateway), name, answer)

    def __error(self, name: str, traceback: str) -> FunctionError:
        line = RemoteError(traceback).exception_line
        return FunctionError(host_of(self.gateway), name, "", line, traceback, line)

    def __raised(self, name: str, problem: Mapping[str, Any]) -> FunctionError:
        return raised(host_of(self.gateway), name, problem, whole=False, logger=self.logger)

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
        except EOFError:
            raise self.__lost(f"{name}()") from None
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
                host_of(self.gateway), name, problem.exception_name, line.partition(": ")[2], str(error), line
            ) from error

    def _convert_args(self, args: Iterable[Any]) -> str:
        """
        >>> LegacyModuleExecute._convert_args(None, ['foo', ('bar',), 1])
        "'foo', ('bar',), 1"
        """
        return ", ".join(map(repr, args))


_LINES = ("debug", "warning")
# the values of each kind of answer
_VALUES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_LINES, lambda value: isinstance(value, str)),
    **dict.fromkeys(("return", "item"), lambda value: True),
    **dict.fromkeys(("generator", "end"), lambda value: value is None),
    "raise": is_problem,
}


def _parsed(answer: Any) -> tuple[str, Any]:
    """Return the kind and the value of an answer, see ``remote/module.py``; no kind if it is not an answer."""
    try:
        kind, value, *packed = answer
        if packed == [True]:
            value = far_values.unpack(value)
        if isinstance(answer, tuple) and packed in ([], [True]) and _VALUES[kind](value):
            return kind, value
    except Exception:  # whatever wrong types lead to
        pass
    return "", None


def call_data(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
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
        refuse(name, args, kwargs, lambda value: gateway_base.dumps_internal(far_values.pack(value)))
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
