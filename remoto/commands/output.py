"""The output of a command, and the time that a call may take."""

from __future__ import annotations

import time
from collections.abc import Iterable, MutableSequence
from typing import Any, Callable

import execnet

from .lines import Blocks, Lines

Handler = Callable[[Any], Any]


class TimedOut(execnet.TimeoutError):
    """The time limit of a call is over. A handler's or a signal's own TimeoutError is not this one."""


class TimeLimit:
    """The seconds that a call may wait: for its result, or for each silence.

    :param seconds: None for no limit.
    :param total: the time is for the result and begins now. Else each wait may take all of it; what handlers take of it
        does not count, since the remote side is not silent then.
    """

    def __init__(self, seconds: float | None, total: bool) -> None:
        self.seconds = seconds
        self.total = total
        self._deadline = None if seconds is None or not total else time.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds that the next wait may take; None for no limit.

        :raises TimedOut: there are none left.
        """
        if self._deadline is None:
            return self.seconds
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimedOut
        return left


NO_LIMIT = TimeLimit(None, total=False)


class Output:
    """One stream of a command: its lines or blocks are kept, and handed out as they come."""

    def __init__(
        self, parts: Lines | Blocks, kept: MutableSequence[Any], handlers: Iterable[Handler | None] = ()
    ) -> None:
        """
        :param kept: gets all of them; a deque of a maximum length keeps the last ones.
        :param handlers: called with each.
        """
        self.kept = kept
        self._parts = parts
        self._handlers = [handler for handler in handlers if handler is not None]

    def feed(self, data: bytes, limit: TimeLimit) -> None:
        """Hand out what this block completes.

        :raises TimedOut: the time is over before all of it was handed out.
        """
        self._hand_out(self._parts.feed(data), limit)

    def end(self) -> None:
        """Hand out the last line, if no newline ended it."""
        self._hand_out(self._parts.end(), NO_LIMIT)

    def _hand_out(self, parts: list[Any], limit: TimeLimit) -> None:
        self.kept.extend(parts)
        for part in parts if self._handlers else ():
            for handler in self._handlers:
                handler(part)
            try:
                limit.left()
            except TimedOut:
                # not the last line without those before it
                self._handlers = []
                raise
