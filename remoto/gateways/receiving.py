"""Limits on what a remote side may send before earlier messages have been dealt with: nothing is queued without limit."""

from __future__ import annotations

from typing import Callable

# bytes that count of each message besides its payload: about what is needed to keep it
_KEEPING = 48
# bytes around the data in a payload, at most
_WRAPPING = 16
#: bytes: twice the window that remote sides keep, which they may exceed by what they have just read
MOST = 16 * 1024 * 1024


class Window:
    """The bytes that a remote side may send by a channel. A message counts as soon as its header has come."""

    def __init__(self, most: int = MOST) -> None:
        # the receiver's thread alone changes the one, those who receive the other
        self._received, self._allowed = 0, most

    def announce(self, size: int) -> bool:
        """Count a payload that is to come. Return False if it is too much."""
        self._received += size + _KEEPING
        return self._received <= self._allowed

    def receive(self, item: object) -> bool:
        """Count an item that has come. Return False if it is too much."""
        return True

    def deal_with(self, size: int) -> None:
        """A message with so many bytes of data has been dealt with."""
        self._allowed += size + _WRAPPING + _KEEPING


class ItemWindow(Window):
    """The number of items that a remote side may send by a channel, whatever their size.

    :param counts: whether an item does.
    """

    def __init__(self, most: int, counts: Callable[[object], bool]) -> None:
        super().__init__(most)
        self._counts = counts

    def announce(self, size: int) -> bool:
        return True

    def receive(self, item: object) -> bool:
        self._received += self._counts(item)
        return self._received <= self._allowed

    def deal_with(self, size: int) -> None:
        self._allowed += 1
