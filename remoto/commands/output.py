"""Deliver a command's output, within the call's time limit."""

from __future__ import annotations

import time
from collections.abc import Iterable, MutableSequence
from typing import Any, Callable, Union

import execnet

from .lines import Blocks, Lines

# a line as str, or a block as bytes: which of them, the keyword text= decides
Handler = Callable[[Any], object]
Part = Union[str, bytes]


class TimedOut(execnet.TimeoutError):
    """A call's time limit has expired. TimeoutErrors of callbacks and signal handlers are other classes."""


class TimeLimit:
    """The time limit of a call: for the whole call, or for each silence.

    :param seconds: None for no limit.
    :param total: the limit is for the whole call and starts now. Otherwise it applies to each wait; time spent in
        callbacks does not count, since the remote side is not silent meanwhile.
    """

    def __init__(self, seconds: float | None, total: bool) -> None:
        self.seconds = seconds
        self.total = total
        self._deadline = None if seconds is None or not total else time.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds left for the next wait; None for no limit.

        :raises TimedOut: no time is left.
        """
        if self._deadline is None:
            return self.seconds
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimedOut
        return left


NO_LIMIT = TimeLimit(None, total=False)


class Output:
    """One stream of a command's output: keeps its lines or blocks, and passes each to the callbacks."""

    def __init__(
        self, parts: Lines | Blocks, kept: MutableSequence[Part], handlers: Iterable[Handler | None] = ()
    ) -> None:
        """
        :param kept: collects them; a deque with ``maxlen`` keeps the last ones.
        :param handlers: called with each line or block.
        """
        self.kept = kept
        self._parts = parts
        self._handlers = [handler for handler in handlers if handler is not None]

    def feed(self, data: bytes, limit: TimeLimit) -> None:
        """Deliver the lines that this block completes.

        :raises TimedOut: the time limit expired before all were delivered.
        """
        self._deliver(self._parts.feed(data), limit)

    def end(self) -> None:
        """Deliver the last line, if no newline ended it."""
        self._deliver(self._parts.end(), NO_LIMIT)

    def _deliver(self, parts: Iterable[Part], limit: TimeLimit) -> None:
        self.kept.extend(parts)
        for part in parts if self._handlers else ():
            for handler in self._handlers:
                handler(part)
            try:
                limit.left()
            except TimedOut:
                # so that end() does not deliver the last line after others were dropped
                self._handlers = []
                raise
