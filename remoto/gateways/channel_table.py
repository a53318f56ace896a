"""The open channels of a gateway, and the thread that closes those that are no longer referenced."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from .io_loop import call, started

if TYPE_CHECKING:
    from typing_extensions import Self

    from .execnet_internals import Channel, ChannelFactory


class Reference(weakref.ref["Channel"]):
    """A weak reference to a channel that is open, or has an error that was not received."""

    __slots__ = ("errors", "factory", "id")

    def __new__(cls, channel: Channel, factory: ChannelFactory) -> Self:
        # the callback must be written in C: a KeyboardInterrupt in Python code of a callback is lost
        return super().__new__(cls, channel, _abandoned.put)  # type: ignore[arg-type]

    def __init__(self, channel: Channel, factory: ChannelFactory) -> None:
        super().__init__(channel, _abandoned.put)  # type: ignore[call-arg]
        self.id, self.factory, self.errors = channel.id, factory, channel.errors


class ChannelTable:
    """The open channels by number, like a WeakValueDictionary."""

    def __init__(self, factory: ChannelFactory) -> None:
        self._factory = factory
        self._references: dict[int, Reference] = {}
        self._failed: dict[int, Reference] = {}

    def get(self, number: int) -> Channel | None:
        reference = self._references.get(number)
        return None if reference is None else reference()

    def __getitem__(self, number: int) -> Channel:
        channel = self.get(number)
        if channel is None:
            raise KeyError(number)
        return channel

    def __setitem__(self, number: int, channel: Channel) -> None:
        self._references[number] = Reference(channel, self._factory)

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

    def forget(self, reference: Reference) -> bool:
        """Remove a channel. Return True if it was open."""
        number = reference.id
        self._failed.pop(number, None)
        if self._references.get(number) is not reference:
            return False
        del self._references[number]
        return True


_abandoned: queue.SimpleQueue[Reference] = queue.SimpleQueue()


def _close_abandoned_channels(abandoned: queue.SimpleQueue[Reference]) -> None:
    while True:
        reference = abandoned.get()
        call(partial(reference.factory.close_abandoned, reference))
        del reference  # it keeps the gateway alive


_starting = threading.Lock()
_closer: threading.Thread | None = None


def start_closing() -> None:
    """Start the thread, on first use."""
    global _closer
    with _starting:
        if _closer is None:
            _closer = started("remoto-channels", partial(_close_abandoned_channels, _abandoned))


def _reset_in_child() -> None:
    global _starting, _closer, _abandoned
    _starting, _closer, _abandoned = threading.Lock(), None, queue.SimpleQueue()


os.register_at_fork(after_in_child=_reset_in_child)
