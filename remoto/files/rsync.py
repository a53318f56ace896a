"""rsync with execnet's interface, and to many hosts in parallel."""

from __future__ import annotations

import functools
import os
import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable

import execnet

from ..gateways.interrupts import take
from . import transfer
from .arguments import Path, Progress, local_path, name_in_directory, remote_path
from .errors import shown
from .listing import Listing

if TYPE_CHECKING:
    from ..backends import BaseConnection
    from ..log import AnyLogger
    from ..untyped import AnyFunction

#: hosts to serve at the same time
PARALLEL = 32


class RSync(execnet.RSync):
    """execnet's RSync, with its methods, over the protocol of :func:`put`.

    execnet's own silently skips unreadable files, refuses names that are not UTF-8, holds whole files in memory,
    overwrites files in place, and (version 2.1) makes each file executable whose mode has changed.
    """

    #: programs patch this class; their own may not read the source
    reads_source = True

    def __init__(
        self,
        sourcedir: Path,
        callback: AnyFunction[object] | None = None,
        verbose: bool = True,
        logger: AnyLogger | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(os.fsdecode(sourcedir), callback, verbose)
        self.logger = logger
        self.timeout: float | None = None
        #: the list of the source, if other transfers use it as well
        self.listing: Listing | None = None
        self._progress = progress
        self._targets: list[tuple[execnet.Gateway, Path, Callable[[], object] | None, bool]] = []

    def add_target(  # type: ignore[override]  # execnet's destination is a str
        self,
        gateway: execnet.Gateway,
        destdir: Path,
        finishedcallback: Callable[[], object] | None = None,
        **options: bool,
    ) -> None:
        self._targets.append((gateway, destdir, finishedcallback, options.get("delete", False)))

    def send(self, raises: bool = True) -> None:
        if raises and not self._targets:
            raise OSError("no targets: add_target has not been called since the last send")
        path = local_path("sourcedir", self._sourcedir)
        listing = self._listing()
        while self._targets:
            gateway, destination, finished, delete = self._targets.pop(0)
            transfer.put(
                gateway,
                f"rsync {shown(path)}",
                path,
                remote_path("destdir", destination),
                b"" if os.path.isdir(path) else name_in_directory(path),
                delete=delete,
                report=functools.partial(self._report, gateway),
                progress=self._progress,
                timeout=self.timeout,
                listing=listing,
            )
            if finished is not None:
                finished()

    def _listing(self) -> Listing:
        if getattr(self.filter, "__func__", None) is execnet.RSync.filter:
            return self.listing or Listing(self._sourcedir)
        # a program's own filter: the list is not for other transfers
        return Listing(self._sourcedir, lambda below: bool(self.filter(os.fsdecode(below))))

    def _report(self, gateway: execnet.Gateway, path: bytes) -> None:
        # execnet's name, which programs override
        self._report_send_file(gateway, shown(path))

    def _report_send_file(self, gateway: object, modified_rel_path: str) -> None:
        if self._verbose and self.logger is not None:
            self.logger.info("syncing file: %s", modified_rel_path)


class Shares:
    """Report the sum of the progress of several hosts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._numbers: dict[str, tuple[int, int | None]] = {}

    def of(self, host: str) -> Progress:
        def report(sent: int, total: int | None) -> None:
            with self._lock:
                self._numbers[host] = (sent, total)
                totals = [total for _, total in self._numbers.values() if total is not None]
                has_total = len(totals) == len(self._numbers)
                self._progress(sum(sent for sent, _ in self._numbers.values()), sum(totals) if has_total else None)

        return report


def to_hosts(
    hosts: Sequence[str], connect: Callable[[str], BaseConnection], sync: Callable[[BaseConnection, str], None]
) -> dict[str, Exception]:
    """Call ``sync`` with a connection to each host, in parallel, and close the connections.

    :returns: the error of each failed host, in the order of ``hosts``.
    """
    connections: list[BaseConnection] = []
    stopped = threading.Event()
    failures: dict[str, Exception] = {}

    def serve(host: str) -> None:
        if stopped.is_set():
            return
        try:
            conn = connect(host)
            # before it is opened, so that an interrupt can close it
            connections.append(conn)
            try:
                if not stopped.is_set():
                    sync(conn, host)
            finally:
                conn.exit()
        except Exception as error:
            failures[host] = error

    def stop() -> None:
        stopped.set()
        # so that the other threads stop waiting
        for conn in list(connections):  # noqa: PERF101  # other threads add to it
            conn.exit()

    _in_threads(serve, hosts, stop)
    return {host: failures[host] for host in hosts if host in failures}


def _in_threads(serve: Callable[[str], None], hosts: Sequence[str], stop: Callable[[], None]) -> None:
    """Call a function for each host, in threads. On an error or Ctrl-C, call ``stop`` and wait for the threads.

    A ThreadPoolExecutor refuses work once the main thread has ended, even in a thread that keeps the program alive.
    """
    waiting = iter(hosts)
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        error = None
        try:
            for host in waiting:
                serve(host)
        except BaseException as problem:
            error = problem
        ended.put(error)

    threads: list[threading.Thread] = []
    try:
        for _ in range(min(PARALLEL, len(hosts))):
            thread = threading.Thread(target=work, name="remoto-rsync")
            try:
                thread.start()
            except RuntimeError:  # can't start more threads: continue with fewer
                break
            threads.append(thread)
        if not threads:
            work()
        for _ in range(max(1, len(threads))):
            _raise(_next(ended))
    except BaseException:
        stop()
        for thread in threads:
            thread.join()
        raise


def _next(ended: queue.SimpleQueue[BaseException | None]) -> BaseException | None:
    while True:
        try:
            # not without limit: Ctrl-C just before a wait begins does not interrupt it (signal(7))
            return take(ended, 0.25)
        except queue.Empty:
            pass


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error
