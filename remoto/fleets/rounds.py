"""Run one verb on the hosts of a group, until the last host or an interrupt."""

from __future__ import annotations

import abc
import contextlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Callable

from ..backends import BaseConnection
from ..exc import ConnectError, ConnectionLost
from . import members
from .members import Member
from .result import GroupResult, Outcome
from .schedule import Plan, Progress, Workers
from .work import Work, attempt

#: seconds to wait for abandoned hosts to end
ABANDONED = 0.7
#: seconds to wait after Ctrl-C for the other connections to close, and then for their relays; together less than two
#: seconds. Each is longer than the ssh of a silent host needs to exit
CLOSED = 0.5


class Round(abc.ABC):
    """One verb on all hosts of a plan. Call :meth:`run` or :meth:`values`, once.

    :param progress: see :class:`remoto.group.Group`.
    """

    def __init__(self, plan: Plan, progress: Progress | None) -> None:
        self.plan = plan
        self._progress = progress
        #: stored by the worker threads, so that an interrupt loses none
        self.outcomes: dict[str, Outcome] = {}
        # hosts that count for stop_after
        self._counted: list[str] = []

    def run(self) -> GroupResult[object]:
        """Serve all hosts."""
        try:
            with contextlib.closing(self._reported()) as reported:
                for _ in reported:
                    pass
            return self.result()
        except KeyboardInterrupt as error:
            raise self._interrupted(error) from None

    def values(self) -> Iterator[tuple[str, object]]:
        """Serve all hosts; yield pairs of a host and its value or error, as soon as each host is done."""
        try:
            with contextlib.closing(self._reported()) as reported:
                for host, outcome in reported:
                    yield host, outcome.value
        except KeyboardInterrupt as error:
            raise self._interrupted(error) from None

    def result(self) -> GroupResult[object]:
        """Return the outcomes so far."""
        return GroupResult(self.plan.hosts, self.known())

    def known(self) -> dict[str, Outcome]:
        """Return the outcomes so far, by host. A host that is still being served has failed."""
        # in this order, so that a host that finishes in between has its outcome
        running = self._running()
        known = dict(self.outcomes)
        for host in running:
            known.setdefault(host, Outcome("failed", ConnectionLost(host, "it may still be running", "interrupted")))
        return known

    def _reported(self) -> Generator[tuple[str, Outcome], None, None]:
        total = len(self.plan.hosts)
        with contextlib.closing(self._served()) as served:
            for done, (host, outcome) in enumerate(served, 1):
                if self._progress is not None:
                    self._progress(done, total, host)
                yield host, outcome

    def _served(self) -> Generator[tuple[str, Outcome], None, None]:
        for batch in self.plan.batches:
            if not self._is_over():
                yield from self._serve_batch(batch)

    def _store(self, host: str, outcome: Outcome) -> None:
        self.outcomes[host] = outcome
        if self.plan.counts(outcome):
            self._counted.append(host)

    def _is_over(self) -> bool:
        return self.plan.stop_after is not None and len(self._counted) >= self.plan.stop_after

    def _interrupted(self, error: KeyboardInterrupt) -> KeyboardInterrupt:
        """Close everything; return the error to raise, with the result. Another Ctrl-C ends the wait."""
        try:
            self._close()
        except KeyboardInterrupt as again:
            error = again
        error.result = self.result()  # type: ignore[attr-defined]
        return error

    @abc.abstractmethod
    def _serve_batch(self, batch: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Serve hosts; store and yield their outcomes.

        If the generator is closed early, abandon running hosts.
        """

    @abc.abstractmethod
    def _running(self) -> list[str]:
        """Return the hosts that are being served."""

    @abc.abstractmethod
    def _close(self) -> None:
        """Close all connections, within a short time limit."""


class ThreadedRound(Round):
    """A round in this program: a thread for each host, at most ``parallel`` at the same time."""

    def __init__(self, plan: Plan, progress: Progress | None) -> None:
        super().__init__(plan, progress)
        self.is_abandoned = False
        self._workers: Workers[str, Outcome | None] = Workers([], self._serve, 1)
        #: closes the connections of abandoned hosts
        self._closing: Workers[Member, None] | None = None

    def _serve_batch(self, batch: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        self._workers = Workers(batch, self._serve, self.plan.parallel)
        try:
            for host, outcome in self._workers:
                if outcome is not None:
                    yield host, outcome
        except BaseException:
            self.abandon()
            deadline = time.monotonic() + ABANDONED
            self._workers.finish(ABANDONED)
            # so that no connection is closed while the next verb uses it
            if self._closing is not None:
                self._closing.finish(deadline - time.monotonic())
            raise

    def abandon(self) -> None:
        """End the work on all hosts, soon. Another thread may call this, too."""
        self.is_abandoned = True
        self._workers.stop()
        self._abandon(self._running())
        self._workers.limit(ABANDONED)

    def _serve(self, host: str) -> Outcome | None:
        """Serve a host in a worker thread; return None if nothing was started on it."""
        outcome = self._outcome(host)
        if outcome is not None:
            self._store(host, outcome)
        # decide here, since a fast thread would start the next host before the main thread can stop it
        if self._is_over():
            self._workers.stop()
        return outcome

    def _running(self) -> list[str]:
        return list(self._workers.running)

    @abc.abstractmethod
    def _outcome(self, host: str) -> Outcome | None:
        """Serve a host, and raise nothing; None if nothing was started there."""

    @abc.abstractmethod
    def _abandon(self, hosts: Sequence[str]) -> None:
        """End the work on hosts, soon."""


class MembersRound(ThreadedRound):
    """A round on the members of a group.

    :param connect: opens a connection.
    """

    def __init__(
        self,
        plan: Plan,
        progress: Progress | None,
        work: Work,
        hosts: Mapping[str, Member],
        connect: Callable[[BaseConnection], None],
    ) -> None:
        super().__init__(plan, progress)
        self._work = work
        self._members = {host: hosts[host] for host in plan.hosts}
        self._connect = connect

    def _outcome(self, host: str) -> Outcome | None:
        member = self._members[host]
        try:
            conn = member.connect(self._open)
        except BaseException as error:
            return None if self.is_abandoned else Outcome("unreachable", error)
        if self.is_abandoned:
            return None
        with member.at_work():
            outcome = attempt(self._work, member.name, conn)
        if isinstance(outcome.value, ConnectError) and outcome.kind == "unreachable":
            member.remember(outcome.value)
        return outcome

    def _open(self, conn: BaseConnection) -> None:
        # the member may have created this connection after the old one was closed to abandon the host
        if self.is_abandoned:
            raise ConnectionLost(conn.where(), "nothing was started", "interrupted")
        self._connect(conn)

    def _abandon(self, hosts: Sequence[str]) -> None:
        self._closing = members.abandon([self._members[host] for host in hosts])

    def _close(self) -> None:
        members.close_all(self._members.values(), CLOSED)
