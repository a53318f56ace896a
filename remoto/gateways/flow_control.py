"""Limit the unprocessed data from a remote side, so that no queue grows without limit."""

from __future__ import annotations

from typing import Callable

from ..remote.wire import WINDOW

# bytes to count for each message besides its payload, about its overhead in memory
_PER_MESSAGE = 48
# the most bytes that a payload has besides its data
_PER_DATA = 16
#: bytes; twice the window that remote sides observe, which they may exceed by a block that they have just read
LIMIT = 2 * WINDOW


class Window:
    """The bytes that a remote side may send on a channel. A message counts when its header is received."""

    def __init__(self, limit: int = LIMIT) -> None:
        # only the receiver thread changes the first, only the threads that receive items change the second
        self._received, self._allowed = 0, limit

    def announce(self, size: int) -> bool:
        """Count a payload before it is received. Return False if the limit is exceeded."""
        self._received += size + _PER_MESSAGE
        return self._received <= self._allowed

    def receive(self, item: object) -> bool:
        """Count a received item. Return False if the limit is exceeded."""
        return True

    def release(self, size: int) -> None:
        """Count a message as processed, so that as much again may be received.

        :param size: the bytes of data in the message.
        """
        self._allowed += size + _PER_DATA + _PER_MESSAGE


class ItemWindow(Window):
    """The number of items that a remote side may send on a channel, of any size.

    :param counts: returns True for items to count.
    """

    def __init__(self, limit: int, counts: Callable[[object], bool]) -> None:
        super().__init__(limit)
        self._counts = counts

    def announce(self, size: int) -> bool:
        return True

    def receive(self, item: object) -> bool:
        self._received += self._counts(item)
        return self._received <= self._allowed

    def release(self, size: int) -> None:
        self._allowed += 1
