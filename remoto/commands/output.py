"""Deliver a command's output, within the call's time limit."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from typing import Callable, Union, cast

from .lines import Blocks, Lines
from .timeout import NO_LIMIT, TimedOut, TimeLimit

OfLine = Callable[[str], object]
OfBlock = Callable[[bytes], object]
#: called with lines, or, with text=False, with blocks
Handler = Union[OfLine, OfBlock]
Part = Union[str, bytes]


class Output:
    """One stream of a command's output: keeps its lines or blocks, and passes each to the callbacks."""

    def __init__(
        self, parts: Lines | Blocks, kept: MutableSequence[Part], handlers: Iterable[Handler | None] = ()
    ) -> None:
        """Keep and deliver nothing yet.

        :param kept: a list that collects the lines or blocks; a deque with ``maxlen`` keeps the last ones.
        :param handlers: called with each line or block.
        """
        self.kept = kept
        self._parts = parts
        # text= has chosen the parts: the handlers are for these
        self._handlers = [cast("Callable[[Part], object]", handler) for handler in handlers if handler is not None]

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
                # after lines were dropped, end() must not deliver the last one
                self._handlers = []
                raise
