"""Serve all hosts, each in a thread."""

from __future__ import annotations

import argparse
import re
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Callable, NamedTuple

from ..backends import BaseConnection
from ..exc import ConnectError, ConnectionLost, FileTransferError
from ..fleets.logins import Logins
from ..fleets.members import close
from ..fleets.schedule import batches
from .choosing import NO_CONNECTION, Host
from .output import Output

TIMED_OUT = 124
NOT_STARTED = 126
NOT_WRITTEN = 1
WRONG_USAGE = 2
INTERRUPTED = 130
TERMINATED = 143
#: 128 + SIGPIPE, as a shell has it
BROKEN_PIPE = 141
# seconds to wait for a thread to end once its connection is closed
STUCK = 1.0
# keyword arguments that the library's advice names
_KEYWORD = re.compile(r"\b(connect_timeout|interpreter|ssh_options)\b=?")


class Outcome(NamedTuple):
    """The result of one host."""

    #: the exit status of this program for the host
    status: int
    #: why it failed; empty if only the exit status is known
    reason: str = ""
    #: as in a GroupResult: ``ok``, ``failed``, ``unreachable`` or ``timed_out``
    kind: str = "ok"
    #: the command's exit status, None if it has none
    exit_status: int | None = None
    #: the kind of the error, such as ``refused``
    error: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    seconds: float = 0.0


class Hosts:
    """Serves all hosts, each in a thread: ``parallel`` at the same time, in batches, until too many have failed.

    :param serve: returns a host's outcome.
    :param connections: the connections that ``serve`` has opened so far.
    :ivar done: the outcomes of the hosts that are done, by name.
    """

    def __init__(
        self,
        serve: Callable[[Host], Outcome],
        options: argparse.Namespace,
        output: Output,
        connections: list[BaseConnection],
    ) -> None:
        self._serve = serve
        self._options = options
        self._output = output
        self._connections = connections
        self.done: dict[str, Outcome] = {}
        self._failures = 0
        self._lock = threading.Lock()

    def outcomes(self) -> list[Outcome | None]:
        """Return the outcomes in the order of the hosts, None for hosts that were not started.

        An exception in any thread ends all of them.
        """
        hosts = self._options.chosen
        names = [host.name for host in hosts]
        by_name = dict(zip(names, hosts))
        outcomes: list[Outcome | None] = []
        try:
            for batch in batches(names, self._options.batch):
                outcomes += self._of_batch([by_name[name] for name in batch])
        finally:
            close({host.relay for host in hosts if host.relay is not None}, STUCK)
        return outcomes

    def _of_batch(self, hosts: list[Host]) -> list[Outcome | None]:
        pool = ThreadPoolExecutor(self._options.parallel)
        futures = [pool.submit(self._unless_over, host) for host in hosts]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            ended = [future.result() for future in futures if future.done()]
            pool.shutdown()
            return ended
        except BaseException as error:
            self._output.close()
            pool.shutdown(wait=False, cancel_futures=True)
            for conn in list(self._connections):
                end_command(conn)
                conn.exit()
            # a thread that writes output may wait forever for its reader
            error.is_stuck = bool(wait(futures, timeout=STUCK).not_done)  # type: ignore[attr-defined]
            raise

    def _unless_over(self, host: Host) -> Outcome | None:
        limit = self._options.stop_after
        with self._lock:
            if limit is not None and self._failures >= limit:
                return None
        outcome = self.done[host.name] = self._serve(host)
        if outcome.status:
            with self._lock:
                self._failures += 1
        return outcome


def login(options: argparse.Namespace) -> Callable[[BaseConnection], None]:
    """Return the function that opens connections: at a pace, if there are several."""
    return Logins(options.logins).connect if len(options.chosen) > 1 else BaseConnection.connect


def message(error: Exception) -> str:
    """Return the text of an error, whose advice names options instead of keyword arguments."""
    if isinstance(error, ConnectError):
        error.advice = _KEYWORD.sub(lambda found: "--" + found[1].replace("_", "-"), error.advice)
    return str(error)


def reason(error: Exception) -> str:
    """Return the reason of an error, without stderr and advice."""
    if isinstance(error, ConnectionLost):
        return error.what
    if isinstance(error, FileTransferError):
        return str(error).removeprefix(f"{error.host}: ").removeprefix(f"{error.what}: ")
    return error.reason if isinstance(error, ConnectError) else str(error)


def no_connection(error: Exception) -> Outcome:
    """Return the outcome of a host that can't be connected to, or whose connection was lost."""
    kind = "failed" if isinstance(error, ConnectionLost) else "unreachable"
    return Outcome(NO_CONNECTION, reason(error), kind, error=getattr(error, "kind", "lost"))


def end_command(conn: BaseConnection) -> None:
    """End the command that a connection runs."""
    try:
        conn.channel.send("kill")
    except (AttributeError, OSError):
        pass  # it has not started, or has ended
