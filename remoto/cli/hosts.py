"""Serve all hosts at the same time, each in a thread, and report those that failed."""

from __future__ import annotations

import argparse
import re
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Callable, NamedTuple

from ..backends import BaseConnection
from ..exc import ConnectError, ConnectionLost, FileTransferError
from .output import Output

TIMED_OUT = 124
NOT_STARTED = 126
NO_CONNECTION = 255
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

    status: int
    #: why it failed; empty if only the exit status is known
    reason: str = ""


def on_all_hosts(
    serve: Callable[[str], Outcome], options: argparse.Namespace, output: Output, connections: list[BaseConnection]
) -> list[Outcome]:
    """Call ``serve`` for each host, each in a thread; return the outcomes. An exception in any thread ends all of them.

    :param connections: the connections that ``serve`` has opened so far.
    """
    pool = ThreadPoolExecutor(options.parallel)
    outcomes = [pool.submit(serve, host) for host in options.hosts]
    try:
        wait(outcomes, return_when=FIRST_EXCEPTION)
        ended = [outcome.result() for outcome in outcomes if outcome.done()]
        pool.shutdown()
        return ended
    except BaseException as error:
        output.close()
        pool.shutdown(wait=False, cancel_futures=True)
        for conn in list(connections):
            end_command(conn)
            conn.exit()
        # a thread that writes output may wait forever for its reader
        error.is_stuck = bool(wait(outcomes, timeout=STUCK).not_done)  # type: ignore[attr-defined]
        raise


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


def summarise(hosts: list[str], outcomes: list[Outcome], output: Output) -> int:
    """Report the hosts that failed, if there are several hosts; return the highest exit status."""
    failed = [(host, outcome) for host, outcome in zip(hosts, outcomes) if outcome.status]
    if failed and len(hosts) > 1:
        for host, outcome in failed:
            output.problem(host, outcome.reason or f"exit status {outcome.status}")
        output.write_error(f"remoto: {len(failed)} of {len(hosts)} hosts failed")
    return max(outcome.status for outcome in outcomes)


def end_command(conn: BaseConnection) -> None:
    """End the command that a connection runs."""
    try:
        conn.channel.send("kill")
    except (AttributeError, OSError):
        pass  # it has not started, or has ended
