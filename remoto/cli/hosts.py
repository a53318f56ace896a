"""Serve all hosts at a time, each in a thread."""

from __future__ import annotations

import argparse
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Callable

from .output import Output

TIMED_OUT = 124
NOT_STARTED = 126
NO_CONNECTION = 255
NOT_WRITTEN = 1
INTERRUPTED = 130
TERMINATED = 143
#: as a shell has it of a program that SIGPIPE ended
BROKEN_PIPE = 141
# seconds that a thread may take to end after its connection
STUCK = 1.0


def on_all_hosts(
    serve: Callable[[str], int], options: argparse.Namespace, output: Output, connections: list[Any]
) -> int:
    """The highest exit status. What stops one of the hosts' threads or this one stops them all.

    :param connections: those that ``serve`` has opened so far.
    """
    pool = ThreadPoolExecutor(options.parallel)
    statuses = [pool.submit(serve, host) for host in options.hosts]
    try:
        ended, _ = wait(statuses, return_when=FIRST_EXCEPTION)
        highest = max(status.result() for status in ended)
        pool.shutdown()
        return highest
    except BaseException as error:
        output.close()
        pool.shutdown(wait=False, cancel_futures=True)
        for conn in list(connections):
            end_command(conn)
            conn.exit()
        # a reader that is there and does not read holds a thread that writes, for ever
        error.is_stuck = bool(wait(statuses, timeout=STUCK).not_done)  # type: ignore[attr-defined]
        raise


def end_command(conn: Any) -> None:
    """Nobody waits for what runs there any more."""
    try:
        conn.channel.send("kill")
    except (AttributeError, OSError):
        pass  # it has not begun, or has ended
