"""The names of execnet that its documentation does not have: what remoto changes in its gateways and channels."""

from __future__ import annotations

import atexit
import copy
import functools
import itertools
import os
import queue
import struct
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import execnet
from execnet import gateway_base
from execnet.gateway import Gateway as ExecnetGateway
from execnet.gateway_base import Message

from .interrupts import Event
from .io_loop import call, started

#: messages that end a channel or a connection
CLOSING = (
    Message.CHANNEL_CLOSE,
    Message.CHANNEL_CLOSE_ERROR,
    Message.CHANNEL_LAST_MESSAGE,
    Message.GATEWAY_TERMINATE,
)
_HEADER = "!bii"


def is_header(data: bytes) -> bool:
    """Return True if this can be the header of a message."""
    code, _, length = struct.unpack(_HEADER, data)
    # a dictionary, in execnet 1.9 a list
    return bool(0 <= code < len(Message._types) and length >= 0)


class ExecModel:
    """execnet's threads, queues and events; those that the main thread waits for hold no lock in Python code."""

    class queue:
        Queue = queue.SimpleQueue
        Empty = queue.Empty

    Event = Event

    def __init__(self) -> None:
        self._model = gateway_base.get_execmodel("thread")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    # execnet 1.9 has it here
    def WorkerPool(self, hasprimary: bool = False) -> Any:
        model: Any = self
        return gateway_base.WorkerPool(model, hasprimary)


class Channel(gateway_base.Channel):
    """execnet's channel, of which a thread of its own sends the end when nobody has it any more: see :class:`_Reference`."""

    # KeyboardInterrupt vanishes in a method in Python here. This one is written in C, and does nothing
    __del__ = object.__init__

    def receive(self, timeout: float | None = None) -> Any:
        # what ends the items is taken and put back: an interrupt between the two would leave this waiting for ever
        if self._receiveclosed.is_set() and self._items is not None and self._items.empty():
            raise self._getremoteerror() or EOFError()  # type: ignore[no-untyped-call]
        return super().receive(timeout)


class _Reference(weakref.ref[Channel]):
    """To a channel that is open, or that has an error which nobody has received yet."""

    __slots__ = ("errors", "factory", "id")

    def __new__(cls, channel: Channel, factory: _ChannelFactory) -> _Reference:
        # the callback is a function in C: KeyboardInterrupt vanishes in one in Python
        return super().__new__(cls, channel, _abandoned.put)  # type: ignore[arg-type]

    def __init__(self, channel: Channel, factory: _ChannelFactory) -> None:
        super().__init__(channel, _abandoned.put)  # type: ignore[call-arg]
        self.id, self.factory, self.errors = channel.id, factory, channel._remoteerrors


class _Table:
    """The channels that are open, by their number; as a WeakValueDictionary."""

    def __init__(self, factory: _ChannelFactory) -> None:
        self._factory = factory
        self._references: dict[int, _Reference] = {}
        self._failed: dict[int, _Reference] = {}

    def get(self, number: int) -> Channel | None:
        reference = self._references.get(number)
        return None if reference is None else reference()

    def __getitem__(self, number: int) -> Channel:
        channel = self.get(number)
        if channel is None:
            raise KeyError(number)
        return channel

    def __setitem__(self, number: int, channel: Channel) -> None:
        self._references[number] = _Reference(channel, self._factory)

    def __delitem__(self, number: int) -> None:
        reference = self._references.pop(number)
        if reference.errors:
            self._failed[number] = reference

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._references))

    def __len__(self) -> int:
        return len(self._references)

    def values(self) -> list[Channel]:
        channels = [reference() for reference in list(self._references.values())]
        return [channel for channel in channels if channel is not None]

    def forget(self, reference: _Reference) -> bool:
        """Return True if its channel was open."""
        number = reference.id
        self._failed.pop(number, None)
        if self._references.get(number) is not reference:
            return False
        del self._references[number]
        return True


class _ChannelFactory(gateway_base.ChannelFactory):
    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self._channels: Any = _Table(self)
        self._numbers = itertools.count(1, 2)

    def new(self, id: int | None = None) -> Channel:
        # without execnet's lock: a signal's handler that waits for an answer would keep it from the receiver
        number = next(self._numbers) if id is None else id
        channel: Channel | None = self._channels.get(number)
        if channel is None:
            channel = self._channels[number] = Channel(self.gateway, number)
        if self.finished:
            self._no_longer_opened(number)
            raise OSError(f"connection already closed: {self.gateway}")
        return channel

    def close_abandoned(self, reference: _Reference) -> None:
        """What execnet does in ``Channel.__del__``."""
        if self._channels.forget(reference):
            has_callback = reference.id in self._callbacks
            try:
                self.gateway._send(
                    Message.CHANNEL_LAST_MESSAGE if has_callback else Message.CHANNEL_CLOSE, reference.id
                )
            except OSError:
                pass  # the connection has ended as well
        for error in reference.errors:
            error.warn()


_abandoned: queue.SimpleQueue[_Reference] = queue.SimpleQueue()


def _close_abandoned_channels(abandoned: queue.SimpleQueue[_Reference]) -> None:
    while True:
        reference = abandoned.get()
        call(partial(reference.factory.close_abandoned, reference))
        del reference  # it holds the gateway


class Gateway(ExecnetGateway):
    """execnet's gateway over a :class:`remoto.pipes.ProcessIO`. Not to be made in the main thread."""

    @classmethod
    def over(cls, io: Any, name: str) -> Gateway:
        return cls(io, execnet.XSpec(f"popen//id={name}"))

    def _initreceive(self) -> None:
        _start_closing_abandoned_channels()
        self._channelfactory = _ChannelFactory(self)
        super()._initreceive()

    def join(self, timeout: float | None = None) -> None:
        # execnet 1.9's own has no time limit
        self._receivepool.waitall(timeout)

    def _send(self, msgcode: int, channelid: int = 0, data: bytes = b"") -> None:
        # execnet would put an error of its own in the place of every OSError and ValueError, a signal handler's, too
        self._io.write(struct.pack(_HEADER, msgcode, channelid, len(data)) + data)


_starting = threading.Lock()
_closer: threading.Thread | None = None


def _start_closing_abandoned_channels() -> None:
    global _closer
    with _starting:
        if _closer is None:
            _closer = started("remoto-channels", partial(_close_abandoned_channels, _abandoned))


def _forget_parents() -> None:
    global _starting, _closer, _abandoned
    _starting, _closer, _abandoned = threading.Lock(), None, queue.SimpleQueue()


os.register_at_fork(after_in_child=_forget_parents)


def new_group() -> execnet.Group:
    """An execnet group that registers no handler for the interpreter's end: remoto has one for all its gateways."""
    group = copy.copy(_group_template())
    group._gateways = []
    group._gateways_to_join = []
    return group


@functools.cache
def _group_template() -> execnet.Group:
    # atexit keeps a place for each handler that was ever registered, also for one that was taken back
    group = execnet.Group()
    atexit.unregister(group._cleanup_atexit)
    return group


def register(gateway: execnet.Gateway, group: execnet.Group) -> None:
    group._register(gateway)


def end(gateway: Gateway) -> None:
    """Ask the far side to end, and close the pipe to it. As the gateway's exit(), which does nothing when it is called again."""
    group = gateway._group
    if gateway in group:
        group._unregister(gateway)
    group._gateways_to_join.clear()
    try:
        gateway._send(Message.GATEWAY_TERMINATE)
    except OSError:
        pass  # it is closed, or has ended
    gateway._io.close_write()


def start_task(gateway: execnet.Gateway, source: str, function: str, arguments: dict[str, Any]) -> Any:
    """Have the far side run source, and call a function of it. As remote_exec(), which would parse the source here first."""
    channel = gateway.newchannel()
    task = gateway_base.dumps_internal((source, None, function, arguments))
    gateway._send(Message.CHANNEL_EXEC, channel.id, task)
    return channel
