"""Open and close a connection's gateway, safely with several threads, fork(), and Ctrl-C at any time."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from ..commands.target import Target
from ..exc import ConnectError, ConnectionLost
from ..gateways import bootstrap, closing
from ..gateways.gateway_io import CLOSE_TIMEOUT
from ..gateways.interrupts import uninterrupted
from ..gateways.remote_calls import lost

if TYPE_CHECKING:
    import execnet
    from typing_extensions import Self


class Lifecycle(Target):
    """A connection that opens one gateway, checks it before each use, and closes it."""

    #: False for a connection that answers from a script
    needs_descriptors = True

    def __init__(self) -> None:
        self.gateway = None
        self.group = bootstrap.new_group()
        self._connecting = threading.Lock()
        self._opening: set[bootstrap.Opening] = set()
        self._closed = False
        self._owner = os.getpid()

    def _open_gateway(self) -> None:
        """Set ``gateway``.

        :raises ConnectError: it could not be opened.
        """
        raise NotImplementedError

    def report_failure(self, error: ConnectError) -> None:
        """Log why the connection could not be opened."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.exit()

    def connect(self, *, report: bool = True) -> None:
        """Open the connection, if it was made with ``eager=False``, instead of on first use.

        Do nothing if it is open. If another thread is opening it, wait for that thread.

        :param report: log a failure, with ssh's stderr at WARNING. After ``report=False``, the caller may log it with
            ``report_failure``.
        :raises ConnectError: it could not be opened: a HostError or a StartError. Another call tries again.
        :raises ConnectionLost: it was closed or lost; a connection cannot be reopened.

        >>> import remoto
        >>> with remoto.Connection('localhost', eager=False) as conn:
        ...     conn.connect()
        ...     conn.has_connection()
        True
        """
        self._live_gateway(report)

    @property
    def is_closed(self) -> bool:
        """True after :meth:`exit` was called."""
        return self._closed

    def has_connection(self) -> bool:
        """Return True if the connection is open, and not known to be lost.

        Return False before the first use with ``eager=False``.
        """
        if self._owner != os.getpid():
            return False
        gateway: execnet.Gateway = self.gateway
        return gateway is not None and bool(self.gateway.hasreceiver())

    def exit(self) -> None:
        """Close the connection; wait at most five seconds for its processes on this machine to exit.

        Calling it again has no effect. If another thread is opening the connection, that is cancelled. In a child of
        ``fork()``, the parent's connection stays open.
        """
        self._closed = True
        if self._owner == os.getpid():
            uninterrupted(self._close)
        elif self.gateway is not None:
            closing.close(self.gateway)

    def end_ssh(self) -> None:
        """End ssh after an interrupt, even if the host does not answer. Call :meth:`exit` next."""
        if self._owner == os.getpid():
            closing.end_ssh(self._gateways())

    def _gateways(self) -> list[execnet.Gateway]:
        """Return the gateways that are open."""
        return [] if self.gateway is None else [self.gateway]

    def _connect(self, report: bool = True) -> None:
        try:
            self._open_gateway()
        except ConnectError as error:
            if self._closed:
                raise self._is_closed() from None
            if report:
                self.report_failure(error)
            raise
        except BaseException:
            # an interrupt may come after the gateway was opened
            closing.close_group(self.group)
            self.gateway = None
            raise

    def _live_gateway(self, report: bool = True) -> execnet.Gateway:
        """Return the gateway; connect first if needed.

        :raises ConnectError: it could not be opened.
        :raises ConnectionLost: the connection is closed or lost.
        """
        if self.gateway is None:
            if self._owner != os.getpid():
                # in a child of fork(), a lock that a thread of the parent held is never released
                self._connecting, self._opening, self._owner = threading.Lock(), set(), os.getpid()
            with self._connecting:
                if self.gateway is None and not self._closed:
                    self._connect(report)
        if not self.has_connection():
            raise self._is_closed()
        gateway: execnet.Gateway = self.gateway
        return gateway

    def _is_closed(self) -> ConnectionLost:
        """Return the error for the use of a connection that is not open."""
        closing.wait_if_program_ends()
        what, stderr = "the connection is closed", ""
        if self._owner != os.getpid():
            what = "the connection was opened by another process, before a fork()"
        elif self.gateway is not None and not self._closed:
            what, stderr = "the connection was lost", lost(self.gateway, self.hostname, "").stderr
        return ConnectionLost(self.hostname, "nothing can be run", what, stderr)

    def _close(self) -> None:
        """Close everything. :meth:`exit` calls this where no signal handler can interrupt it."""
        self._give_up_opening(self._connecting)
        if self.gateway is not None:
            closing.close(self.gateway)

    def _give_up_opening(self, lock: threading.Lock) -> None:
        """Cancel openings in progress, and wait until the lock that they hold is released.

        The wait has a limit: if a signal handler calls :meth:`exit`, the interrupted thread may hold the lock.
        """
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not lock.acquire(timeout=0.05):
            # repeated: an opening may have begun since the last round
            for opening in list(self._opening):
                opening.give_up()
            if time.monotonic() > deadline:
                return
        lock.release()
