"""Show on a terminal, below the output, how many hosts are done and which ones are still running."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Callable

from ..fleets.hosts import fold
from ..util import escape_controls
from .output import Output

#: seconds until the line is first shown, and between two updates, so that a quick command shows none
_UPDATE = 1.0


@contextlib.contextmanager
def shown(
    output: Output,
    total: int,
    done: Callable[[], int],
    running: Callable[[], Sequence[str]],
    is_logging_in: Callable[[], bool],
) -> Iterator[None]:
    """Show the line inside the block.

    :param done: returns the number of hosts that are done.
    :param running: returns the hosts that are running.
    :param is_logging_in: returns True if an ssh may ask for a password, or about a host key, on that line.
    """
    started, is_over = time.monotonic(), threading.Event()

    def update() -> None:
        while not is_over.wait(_UPDATE):
            if is_logging_in() or not _is_in_foreground():
                continue
            line = f"{done()} of {total} hosts done after {time.monotonic() - started:.0f} s"
            names = running()
            waiting = f"{line}; running: {fold(names)}" if names else line
            output.show_status(escape_controls(waiting)[: _width() - 1], is_over)

    try:
        # RuntimeError: no thread can be started; the hosts are served all the same
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=update, name="remoto-status", daemon=True).start()
        yield
    finally:
        is_over.set()
        output.erase_status()


def is_possible() -> bool:
    """Return True if stderr is a terminal on which a line can be erased."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _is_in_foreground() -> bool:
    """Return False if a shell runs this program with ``&``, and other programs use the terminal."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:
        return True  # it is not the terminal of this session


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
