"""Limit what a remote side may send before earlier messages are processed, so that no queue grows without limit."""

from __future__ import annotations

from typing import Callable

# bytes to count for each message besides its payload: about what keeping it in memory takes
_PER_MESSAGE = 48
# the most bytes around the data in a payload
_PER_DATA = 16
#: bytes: twice the window that remote sides keep, which they may exceed by a block that they have just read
LIMIT = 16 * 1024 * 1024


class Window:
    """The bytes that a remote side may send on a channel. A message counts as soon as its header is received."""

    def __init__(self, limit: int = LIMIT) -> None:
        # the receiver's thread alone changes the first, the threads that receive items the second
        self._received, self._allowed = 0, limit

    def announce(self, size: int) -> bool:
        """Count a payload that is about to be received. Return False if the limit is exceeded."""
        self._received += size + _PER_MESSAGE
        return self._received <= self._allowed

    def receive(self, item: object) -> bool:
        """Count an item that was received. Return False if the limit is exceeded."""
        return True

    def release(self, size: int) -> None:
        """Allow as much again as a message takes that was processed.

        :param size: the bytes of data in it.
        """
        self._allowed += size + _PER_DATA + _PER_MESSAGE


class ItemWindow(Window):
    """The number of items that a remote side may send on a channel, whatever their size.

    :param counts: returns True for an item that counts.
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
