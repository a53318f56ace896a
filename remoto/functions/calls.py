"""Call functions of a module that stays loaded in a gateway's Python; ``remote/functions.py`` serves the calls.

Its docstring describes the messages.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Callable, cast

import execnet

from ..exc import ConnectionLost, FunctionError
from ..gateways.execnet_internals import ExecnetGateway, packed, release, send_packed, set_window
from ..gateways.flow_control import ItemWindow
from ..gateways.interrupts import PerObject
from ..gateways.remote_calls import RemoteFunction, lost, raise_cause
from ..remote import values
from ..remote.answers import DEBUG, END, GENERATOR, ITEM, RAISE, RETURN, WARNING, WINDOW
from ..util import RemoteError
from .proxy import Arguments, Keywords, host_of, is_problem, raised, refuse, wrong_answer
from .shipping import Shipment

if TYPE_CHECKING:
    from ..log import AnyLogger
    from .proxy import Problem

_KEEP = RemoteFunction("modules", "keep")
_SERVE = RemoteFunction("functions", "serve")
_numbers = itertools.count()
#: items of a generator to receive before requesting more
REQUESTED = WINDOW // 2
#: answers and items that the remote side may send before they are received
AHEAD = 2 * WINDOW


class Calls:
    """Call functions of a module, from any number of threads.

    :ivar idle: channels without a running call; a remote thread serves each.
    """

    def __init__(self, gateway: ExecnetGateway, module: object, include: ModuleType | Iterable[ModuleType]) -> None:
        self.gateway = gateway
        self.idle: list[execnet.Channel] = []
        self._number = f"{os.getpid()}-{next(_numbers)}"
        self._shipment = Shipment.of(module, include)
        self._lock = threading.Lock()
        self._loading: execnet.Channel | None = None
        self._loading_is_logged = False

    def load(self) -> execnet.Channel:
        """Send the module, once; return the channel for its output. The first call, sent without waiting, loads it."""
        with self._lock:
            if self._loading is None:
                request = {
                    "number": self._number,
                    **self._shipment._asdict(),
                    "module": tuple(self._shipment.module),
                    "dropped": _dropped(self.gateway, self._number, self),
                }
                self._loading = self._start(_KEEP, request, f"importing {self._shipment.module.name}")
            return self._loading

    def call(self, name: str, args: Arguments, kwargs: Keywords, logger: AnyLogger) -> object:
        """Call a function; return its result.

        :param logger: logs the function's stdout and stderr.
        """
        data = call_data(name, args, kwargs)
        loading = self.load()
        channel = self._send(data, f"{name}()")
        try:
            if not self._loading_is_logged:
                self._log_loading(loading, name, logger)
            kind, value = self._answer(channel, name, (RETURN, RAISE, GENERATOR), logger)
        except EOFError:
            raise self._lost(f"{name}()") from None
        except BaseException:
            _close(channel)
            raise
        if kind == GENERATOR:
            return self._items(channel, name, logger)
        self.idle.append(channel)
        if kind == RAISE:
            raise self._raised(name, cast("Problem", value), logger)
        return value

    def _send(self, data: bytes, what: str) -> execnet.Channel:
        """Send a call; return its channel."""
        try:
            channel = self.idle.pop()
            send_packed(channel, data)
            return channel
        except IndexError:
            pass
        except OSError as error:
            raise_cause(error)
            # if the gateway is alive, only this channel has ended: open another
            if not self.gateway.hasreceiver():
                raise self._lost(what) from None
        channel = self._start(_SERVE, {"number": self._number}, what)
        try:
            send_packed(channel, data)
        except OSError as error:
            raise_cause(error)
            raise self._lost(what) from None
        return channel

    def _start(self, function: RemoteFunction, request: Mapping[str, object], what: str) -> execnet.Channel:
        try:
            channel = function.start(self.gateway, request)
            set_window(channel, ItemWindow(AHEAD, _is_not_a_line))
            return channel
        except OSError as error:
            raise_cause(error)
            raise self._lost(what) from None

    def _lost(self, what: str) -> ConnectionLost:
        return function_lost(self.gateway, what)

    def _log_loading(self, loading: execnet.Channel, name: str, logger: AnyLogger) -> None:
        """Log the output of loading the module, which is done before its first call runs."""
        while True:
            try:
                self._answer(loading, name, (), logger)
            except EOFError:
                self._loading_is_logged = True
                return

    def _answer(
        self, channel: execnet.Channel, name: str, expected: Iterable[str], logger: AnyLogger
    ) -> tuple[str, object]:
        """Log lines until the answer arrives; return its kind and value.

        :raises EOFError: the channel has ended.
        """
        while True:
            try:
                answer = channel.receive()
            except execnet.RemoteError as error:
                raise self._broken(name, str(error)) from None
            kind, value = _parsed(answer)
            if kind in _LINES:
                getattr(logger, kind)(value)
            elif kind in expected:
                release(channel)
                return kind, value
            else:
                raise wrong_answer(host_of(self.gateway), name, answer)

    def _broken(self, name: str, traceback: str) -> FunctionError:
        """Return the error for a failure of remoto's code on the remote side."""
        line = RemoteError(traceback).exception_line
        return FunctionError(host_of(self.gateway), name, "", line, traceback, line)

    def _raised(self, name: str, problem: Problem, logger: AnyLogger) -> FunctionError:
        return raised(host_of(self.gateway), name, problem, whole=False, logger=logger)

    def _items(self, channel: execnet.Channel, name: str, logger: AnyLogger) -> Iterator[object]:
        """Yield the items of a remote generator, which starts when the first item is requested."""
        received = 0
        try:
            while True:
                _request(channel, received)
                for _ in range(REQUESTED):
                    kind, value = self._answer(channel, name, (ITEM, END, RAISE), logger)
                    if kind == END:
                        return
                    if kind == RAISE:
                        raise self._raised(name, cast("Problem", value), logger)
                    yield value
                received = REQUESTED
        except EOFError:
            raise self._lost(f"{name}()") from None
        finally:
            # also ends the remote generator if the loop was left early
            _close(channel)


def function_lost(gateway: execnet.Gateway, what: str) -> ConnectionLost:
    """Return the error for a connection that was lost during a call. Wait up to a second for the reason."""
    error = lost(gateway, host_of(gateway), what)
    return ConnectionLost(error.host, what, "the connection ended before the function did", error.stderr)


_LINES = (DEBUG, WARNING)
# a check for the value of each kind of answer
_VALUES: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(_LINES, lambda value: isinstance(value, str)),
    **dict.fromkeys((RETURN, ITEM), lambda value: True),
    **dict.fromkeys((GENERATOR, END), lambda value: value is None),
    RAISE: is_problem,
}


def _parsed(answer: object) -> tuple[str, object]:
    """Return the kind and value of an answer; an empty kind if it is invalid."""
    try:
        if isinstance(answer, tuple):
            if len(answer) == 3 and answer[2] is True:
                answer = (answer[0], values.unpack(answer[1]))
            kind, value = answer
            if _VALUES[kind](value):
                return kind, value
    except Exception:  # a value of a wrong type may raise anything
        pass
    return "", None


def _is_not_a_line(answer: object) -> bool:
    return not (isinstance(answer, tuple) and answer and answer[0] in _LINES)


def call_data(name: str, args: Arguments, kwargs: Keywords) -> bytes:
    """Return a call in execnet's serialisation.

    :raises TypeError: an argument can't be sent.
    """
    call = (name, args, kwargs)
    try:
        return packed(values.sendable(call))
    except Exception:  # execnet.DumpError, struct.error, RecursionError, ...
        pass
    try:
        return packed((values.pack(call), (), {}, True))
    except Exception:
        refuse(name, args, kwargs, lambda value: packed(values.pack(value)))
        raise


def _request(channel: execnet.Channel, received: int) -> None:
    """Request more items.

    :param received: the number of items received since the last request.
    """
    try:
        channel.send(received)
    except OSError as error:
        raise_cause(error)
        # the connection is lost: the next receive() reports it


def _close(channel: execnet.Channel) -> None:
    try:
        channel.close()
    except OSError:
        pass


class _Reference(weakref.ref[Calls]):
    __slots__ = ("number",)
    number: str


class _SentModules:
    """The modules that a gateway's Python keeps loaded."""

    def __init__(self) -> None:
        self._references: dict[str, _Reference] = {}
        self._dropped: list[_Reference] = []

    def add(self, number: str, calls: Calls) -> None:
        # the callback must be written in C, like list.append: in a Python callback, such as weakref.finalize's,
        # KeyboardInterrupt is lost
        reference = _Reference(calls, self._dropped.append)
        reference.number = number
        self._references[number] = reference

    def dropped(self) -> list[str]:
        numbers = [self._dropped.pop().number for _ in range(len(self._dropped))]
        for number in numbers:
            del self._references[number]
        return numbers


_sent_modules: PerObject[ExecnetGateway, _SentModules] = PerObject()


def _dropped(gateway: execnet.Gateway, number: str, calls: Calls) -> list[str]:
    """Return the numbers of the gateway's unused modules. Once ``calls`` is garbage, its number is one of them.

    The numbers are sent with the next module, since nothing may be sent during a garbage collection.
    """
    sent = _sent_modules.setdefault(gateway, _SentModules())
    sent.add(number, calls)
    return sent.dropped()
