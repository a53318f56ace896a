"""A round on a program's executor: each of its processes serves a share of the hosts over its own connections."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import NamedTuple

from ..exc import RemotoError
from ..gateways.interrupts import take
from . import members
from .logins import Logins
from .members import Maker, Member
from .result import Outcome
from .rounds import CLOSED, MembersRound, Round
from .schedule import SLICE, Plan, Progress, plan
from .work import Work

#: executors whose workers run on this machine. Only these guarantee that a cancelled future was not started
_LOCAL = (ProcessPoolExecutor, ThreadPoolExecutor)
#: seconds between a worker's checks that its caller is still running
_LOOK = 0.25
#: seconds to wait after Ctrl-C for the workers to stop
STOPPED = 1.5


class Caller(NamedTuple):
    """The process that waits for a share, on the same machine.

    :ivar file: a file that exists as long as it waits.
    """

    process: int
    file: str

    def waits(self) -> bool:
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is another user's
        try:
            os.stat(self.file)
        except FileNotFoundError:
            return False
        except OSError:
            pass  # the worker runs as another user
        return True


class Share(NamedTuple):
    """The data for a process of the executor: hosts, work and options."""

    hosts: dict[str, Maker]
    work: Work
    parallel: int
    logins: int
    connect_retries: int
    stop_after: int | None
    count_unreachable: bool
    #: random bytes, since dask returns the earlier result of an equal call without calling the function
    number: bytes
    #: stop when it does not wait any longer; None if the worker may run on another machine
    caller: Caller | None = None


class SharedRound(Round):
    """A round that divides the hosts among the workers of an executor: a share for each, but at most ``parallel``.

    :param logins: the number of logins at the same time, for all shares together. There are no more shares than this.
    :raises TypeError: the work, or a host's keywords, can't be pickled; nothing was started.
    """

    def __init__(
        self,
        plan: Plan,
        progress: Progress | None,
        work: Work,
        hosts: Mapping[str, Member],
        executor: Executor,
        logins: int,
        connect_retries: int,
    ) -> None:
        super().__init__(plan, progress)
        self._executor = executor
        self._number = min(workers_of(executor), plan.parallel, logins)
        self._hosts = {host: _maker(hosts[host]) for host in plan.hosts}
        self._share = Share(
            {}, work, plan.parallel, logins, connect_retries, plan.stop_after, plan.count_unreachable, b""
        )
        self._waiting: dict[Future[bytes], list[str]] = {}
        self._ended: queue.SimpleQueue[Future[bytes]] = queue.SimpleQueue()
        self._is_local = isinstance(executor, _LOCAL)
        # report an error now, not after some shares have begun
        self._pickled(plan.hosts, 0)

    def _pickled(self, hosts: Sequence[str], index: int) -> bytes:
        share = self._share._replace(
            hosts={host: self._hosts[host] for host in hosts},
            parallel=part_of(self._share.parallel, self._number, index),
            logins=part_of(self._share.logins, self._number, index),
            number=os.urandom(8),
        )
        try:
            return pickle.dumps(share)
        except Exception as error:
            raise TypeError(f"executor: the work, or a host's keywords, can't be pickled: {error}") from error

    def _serve_batch(self, batch: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        with self._waiting_here():
            try:
                self._submit_all(batch)
                while self._waiting:
                    try:
                        outcomes = self._take(SLICE)
                    except queue.Empty:
                        continue
                    if self._is_over():
                        self._cancel()
                    yield from outcomes.items()
            except BaseException:
                self._cancel()
                raise

    @contextlib.contextmanager
    def _waiting_here(self) -> Iterator[None]:
        """Let the workers stop at the end of the block."""
        if not self._is_local:
            yield
            return
        try:
            descriptor, path = tempfile.mkstemp(prefix="remoto-group-")
        except OSError:
            # no usable directory: the workers can't be stopped
            yield
            return
        try:
            os.close(descriptor)
            self._share = self._share._replace(caller=Caller(os.getpid(), path))
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _submit_all(self, batch: Sequence[str]) -> None:
        for index, hosts in enumerate(divide(batch, self._number)):
            future = self._submit(hosts, index)
            if future is None:
                break
            self._waiting[future] = hosts
            future.add_done_callback(self._ended.put)

    def _take(self, timeout: float) -> Mapping[str, Outcome]:
        """Store and return the outcomes of the next share that ends.

        :raises queue.Empty: none has ended in time.
        """
        future = take(self._ended, timeout)
        outcomes = _outcomes(future, self._waiting[future])
        for host, outcome in outcomes.items():
            self._store(host, outcome)
        del self._waiting[future]
        return outcomes

    def _submit(self, hosts: Sequence[str], index: int) -> Future[bytes] | None:
        """Start a share; return None if the executor has shut down since the round began, as after a crash."""
        try:
            return self._executor.submit(serve_share, self._pickled(hosts, index))
        except RuntimeError:  # BrokenExecutor, too
            if self._waiting or self.outcomes:
                return None
            raise

    def _cancel(self) -> None:
        if self._is_local:
            for future in list(self._waiting):
                future.cancel()

    def _running(self) -> list[str]:
        return [host for future, hosts in list(self._waiting.items()) if not future.cancelled() for host in hosts]

    def _close(self) -> None:
        """Wait a short time for the workers to stop; each closes its own connections. Others can't be stopped."""
        deadline = time.monotonic() + STOPPED
        while self._is_local and self._running() and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._take(min(SLICE, max(0.0, deadline - time.monotonic())))


def _maker(member: Member) -> Maker:
    if member.make is None:
        raise TypeError(f"executor: the connection {member.name} can't be passed to another process: pass its hostname")
    return member.make


def _outcomes(future: Future[bytes], hosts: Sequence[str]) -> dict[str, Outcome]:
    """Return the outcomes of a share. If its worker has died, its hosts have failed."""
    if future.cancelled():
        return {}
    error = future.exception()
    if error is not None:
        return {host: Outcome("failed", error) for host in hosts}
    outcomes: dict[str, Outcome] = pickle.loads(future.result())
    return outcomes


def divide(hosts: Sequence[str], number: int) -> list[list[str]]:
    """Divide hosts into at most ``number`` shares, none of them empty.

    >>> divide(['a', 'b', 'c'], 2)
    [['a', 'c'], ['b']]
    """
    return [list(hosts[start::number]) for start in range(min(number, len(hosts)))]


def part_of(total: int, number: int, index: int) -> int:
    """Divide a total into a number of parts that differ by one at most; return one of them.

    >>> [part_of(8, 3, index) for index in range(3)]
    [3, 3, 2]
    """
    return (total + number - 1 - index) // number


def workers_of(executor: object) -> int:
    """Return the number of shares that an executor can serve at the same time."""
    number = getattr(executor, "_max_workers", None)
    if isinstance(number, int):
        return number
    # dask: the processes of its cluster
    client = getattr(executor, "_client", None)
    return max(1, len(client.nthreads())) if client is not None else os.cpu_count() or 1


class ShareRound(MembersRound):
    """A round in a worker. Each connection is closed as soon as its host is done."""

    def _outcome(self, host: str) -> Outcome | None:
        try:
            return super()._outcome(host)
        finally:
            self._members[host].close()


def serve_share(data: bytes) -> bytes:
    """Serve the hosts of a share, in a process of the executor; return their outcomes.

    :raises OSError: EMFILE: the limit of file descriptors is too low for a single connection.
    """
    share: Share = pickle.loads(data)
    hosts = {host: Member(host, make(), make) for host, make in share.hosts.items()}
    parallel = members.affordable(share.parallel, hosts.values())
    chosen = plan(list(hosts), parallel, None, share.stop_after, share.count_unreachable)
    logins = Logins(share.logins, share.connect_retries)
    served = ShareRound(chosen, None, share.work, hosts, logins.connect)
    try:
        with _stopped_with(share.caller, served):
            served.run()
    except KeyboardInterrupt:
        pass  # at a terminal, Ctrl-C reaches the workers, too: return the outcomes so far
    finally:
        members.close_all(hosts.values(), CLOSED if served.is_abandoned else None)
    return pickle.dumps({host: _sendable(outcome) for host, outcome in served.known().items()})


@contextlib.contextmanager
def _stopped_with(caller: Caller | None, served: ShareRound) -> Iterator[None]:
    """Abandon the round if its caller does not wait any longer."""
    if caller is None:
        yield
        return
    if not caller.waits():
        served.abandon()
    is_done = threading.Event()

    def watch() -> None:
        while not is_done.wait(_LOOK):
            if not caller.waits():
                served.abandon()
                return

    threading.Thread(target=watch, name="remoto-caller", daemon=True).start()
    try:
        yield
    finally:
        is_done.set()


def _sendable(outcome: Outcome) -> Outcome:
    """Return an outcome that can be pickled and unpickled."""
    try:
        pickle.loads(pickle.dumps(outcome))
        return outcome
    except Exception as error:
        if isinstance(outcome.value, BaseException):
            return Outcome(outcome.kind, RemotoError(f"{type(outcome.value).__name__}: {outcome.value}"))
        text = f"the result, of the type {type(outcome.value).__name__}, can't be pickled: {error}"
        return Outcome("failed", TypeError(text))
