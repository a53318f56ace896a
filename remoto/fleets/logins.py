"""Limit the logins at the same time, so that sshd refuses none.

sshd closes connections beyond its MaxStartups before authentication (sshd_config(5)). A jump host sees the logins of
all hosts behind it. So each jump host has its own limit, and direct logins share one.

sshd refuses a source with a penalty for failed logins in the same way, and ssh reports the same error. But a penalty
also applies to the only login in flight.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Callable

from ..backends import BaseConnection
from ..exc import ConnectError, HostError

#: kinds of errors that may be temporary
_TEMPORARY = ("timeout", "proxy")
# seconds before the first retry; doubled for each further one, up to the second number
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
# seconds before the retry if the only login in flight was refused: sshd's shortest penalty by default ("min" of
# PerSourcePenalties in sshd_config(5))
_PENALTY = 15.0
# seconds between checks whether a waiting connection was closed
_POLL_INTERVAL = 0.2


class LoginLimit:
    """A limit on the logins through one jump host, or directly from this machine.

    :param limit: the highest number of logins at the same time. A login refused by sshd halves the allowed number, a
        successful one raises it a little, as in TCP.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.allowed = float(limit)
        self._in_flight = 0
        # the number of times that ``allowed`` was halved
        self._refusals = 0
        self._free = threading.Condition()

    def acquire(self, given_up: Callable[[], bool]) -> int:
        """Wait until a login is allowed. Return a number for :meth:`release`.

        :param given_up: returns True to end the wait.
        """
        with self._free:
            while self._in_flight >= max(1, int(self.allowed)) and not given_up():
                self._free.wait(_POLL_INTERVAL)
            self._in_flight += 1
            return self._refusals

    def release(self, number: int, result: str) -> bool:
        """End a login.

        :param number: the number from :meth:`acquire`.
        :param result: ``open``, ``closed`` by sshd before authentication, or anything else.
        :returns: True if sshd refused the only login that was allowed.
        """
        with self._free:
            self._in_flight -= 1
            was_alone = False
            if result == "closed" and number == self._refusals:
                was_alone = self.allowed < 2
                # halve once for all logins that were in flight at the same time
                self._refusals += 1
                self.allowed = max(1.0, self.allowed / 2)
            elif result == "open":
                self.allowed = min(float(self._limit), self.allowed + 1 / self.allowed)
            # at most two may start: one login has ended, and the limit grows by at most one
            self._free.notify(2)
            return was_alone


class Logins:
    """Open connections, with a limit on the logins at the same time for each jump host.

    :param limit: the number of logins at the same time.
    :param retries: the number of retries after a timeout, or after a ProxyCommand failed. A connection that sshd closed
        before authentication is retried within its ``connect_timeout``. Nothing else is retried, since repeated
        failures may lock the user out.
    """

    def __init__(
        self,
        limit: int = 8,
        retries: int = 2,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[BaseConnection, float], None] | None = None,
    ) -> None:
        self._limit = limit
        self._retries = retries
        self._clock = clock
        self._pause = pause or _wait
        self._limits: dict[str, LoginLimit] = {}
        self._lock = threading.Lock()

    def limit_for(self, first_hop: str) -> LoginLimit:
        with self._lock:
            return self._limits.setdefault(first_hop, LoginLimit(self._limit))

    def connect(self, conn: BaseConnection) -> None:
        """Open a connection. Log only the failure of the last try.

        :raises ConnectError: the error of the last try.
        :raises ConnectionLost: the connection was closed meanwhile.
        """
        first_hop = conn.first_hop()
        if first_hop is None:
            conn.connect()
            return
        try:
            self._try(conn, self.limit_for(first_hop))
        except ConnectError as error:
            conn.report_failure(error)
            raise

    def _try(self, conn: BaseConnection, limit: LoginLimit) -> None:
        tries, closed, left = 0, 0, conn.connect_timeout or float("inf")
        while True:
            number, result = limit.acquire(lambda: conn.is_closed), "open"
            began = self._clock()
            try:
                conn.connect(report=False)
                return
            except HostError as error:
                result = error.kind
                if result == "closed":
                    closed += 1
                    # without the wait for the limit, which is long with many hosts
                    left -= self._clock() - began
                    if left <= 0:
                        raise
                else:
                    tries += 1
                    if result not in _TEMPORARY or tries > self._retries:
                        raise
            except BaseException:
                result = "failed"
                raise
            finally:
                was_alone = limit.release(number, result)
            longest = _PENALTY if was_alone else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tries + closed - 1))
            # so that hosts that were refused at the same time do not retry at the same time
            pause = random.uniform(longest / 2, longest)
            if result == "closed":
                pause = min(pause, left)
                left -= pause
            self._pause(conn, pause)


def _wait(conn: BaseConnection, seconds: float) -> None:
    """Wait; end early if the connection was closed."""
    deadline = time.monotonic() + seconds
    while not conn.is_closed and time.monotonic() < deadline:
        time.sleep(min(_POLL_INTERVAL, max(0.0, deadline - time.monotonic())))
