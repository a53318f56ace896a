"""Serve all hosts, each in a thread."""

from __future__ import annotations

import abc
import argparse
import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..backends import BaseConnection
from ..exc import ConnectionLost
from ..fleets import result
from ..fleets.logins import Logins
from ..fleets.members import close
from ..fleets.rounds import CLOSED, ThreadedRound
from ..fleets.schedule import Workers, plan
from ..remote.wire import KILL
from .output import Output
from .selection import NO_CONNECTION, Host, member

TIMED_OUT = 124
NOT_STARTED = 126
NOT_WRITTEN = 1
WRONG_USAGE = 2
INTERRUPTED = 130
TERMINATED = 143
#: 128 + SIGPIPE, as in a shell
BROKEN_PIPE = 141


class Outcome(NamedTuple):
    """The result of one host."""

    #: the exit status of this program for the host
    status: int
    #: why it failed; empty if only the exit status is known
    reason: str = ""
    kind: result.Kind = "ok"
    #: the command's exit status, None if it has none
    exit_status: int | None = None
    #: the kind of the error, such as ``refused``
    error: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    seconds: float = 0.0


class Hosts(ThreadedRound):
    """Serve all hosts, each over its own connection, which is closed when the host is done.

    :ivar done: the outcomes of the hosts that are done, by name.
    """

    def __init__(self, options: argparse.Namespace, output: Output) -> None:
        self._options = options
        self._output = output
        self._hosts: dict[str, Host] = {host.name: host for host in options.chosen}
        super().__init__(plan(list(self._hosts), options.parallel, options.batch, options.stop_after), None)
        # a single host needs no limit on logins
        self._log_in = Logins(options.logins).connect if len(self._hosts) > 1 else BaseConnection.connect
        self._connections: dict[str, BaseConnection] = {}
        self._logging_in: set[str] = set()
        self.done: dict[str, Outcome] = {}

    @abc.abstractmethod
    def _work_on(self, host: Host) -> Outcome:
        """Return a host's outcome. An exception ends the work on all hosts."""

    def serve(self) -> list[Outcome | None]:
        """Return the outcomes in the order of the hosts, None for hosts that were not started."""
        try:
            with contextlib.closing(self._reported()) as reported:
                for _, outcome in reported:
                    if isinstance(outcome.value, BaseException):
                        raise outcome.value
        except BaseException as error:
            # a thread that writes output may wait forever for the reader of a pipe
            error.is_stuck = bool(self._running())  # type: ignore[attr-defined]
            raise
        finally:
            self._close()
        return [self.done.get(name) for name in self._hosts]

    @contextlib.contextmanager
    def _connected(self, host: Host) -> Iterator[BaseConnection]:
        """Yield the open connection of a host, and close it at the end."""
        chosen = member(host, self._options)
        with chosen.conn as conn:
            self._connections[host.name] = conn
            if self.is_abandoned:
                raise ConnectionLost(host.name, "nothing was started", "interrupted")
            self._logging_in.add(host.name)
            try:
                chosen.connect(self._log_in)
            finally:
                self._logging_in.discard(host.name)
            yield conn

    def is_logging_in(self) -> bool:
        return bool(self._logging_in)

    def _outcome(self, host: str) -> result.Outcome:
        try:
            outcome = self.done[host] = self._work_on(self._hosts[host])
        except BaseException as error:
            return result.Outcome("failed", error)
        return result.Outcome(outcome.kind, None)

    def _abandon(self, hosts: Sequence[str]) -> None:
        self._output.close()
        connections = [self._connections[host] for host in hosts if host in self._connections]
        # an ssh needs at most half a second; a process on this machine that has to kill its command, a few seconds
        for _ in Workers(connections, _end, len(connections)):
            pass

    def _close(self) -> None:
        close({host.relay for host in self._hosts.values() if host.relay is not None}, CLOSED)


def _end(conn: BaseConnection) -> None:
    """Kill the command of a connection, and close it, even if the host does not answer."""
    kill_command(conn)
    conn.end_ssh()
    conn.exit()


def no_connection(error: Exception) -> Outcome:
    """Return the outcome of an unreachable host, or of one whose connection was lost."""
    kind: result.Kind = "failed" if isinstance(error, ConnectionLost) else "unreachable"
    return Outcome(NO_CONNECTION, result.reason_of_error(error), kind, error=getattr(error, "kind", "lost"))


def kill_command(conn: BaseConnection) -> None:
    """Kill the running command of a connection."""
    try:
        conn.channel.send(KILL)
    except (AttributeError, OSError):
        pass  # no command is running
