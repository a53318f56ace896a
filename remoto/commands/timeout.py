"""Limit the time of a command: ``timeout=``."""

from __future__ import annotations

import time

import execnet


class TimedOut(execnet.TimeoutError):
    """A call's time limit expired. Callbacks and signal handlers, which may raise TimeoutError, never raise this."""


class TimeLimit:
    """The time limit of a call.

    :param seconds: None means no limit.
    :param total: True limits the whole call, from now on. False limits each wait for output; time spent in callbacks
        does not count.
    """

    def __init__(self, seconds: float | None, total: bool) -> None:
        self.seconds = seconds
        self.total = total
        self._deadline = None if seconds is None or not total else time.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds left for the next wait; None means no limit.

        :raises TimedOut: no time is left.
        """
        if self._deadline is None:
            return self.seconds
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimedOut
        return left


NO_LIMIT = TimeLimit(None, total=False)
