"""Read the stderr of a connection's process, such as ssh: keep the last lines for errors, and log it once connected."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from functools import partial
from typing import IO

from .interrupts import Event
from .io_loop import READ, Loop, log_thread

#: lines to keep
KEPT = 200
#: bytes; a longer line is split
LONGEST_LINE = 64 * 1024
# lines that may wait to be logged; then reading pauses
BACKLOG = 200
# bytes to read after the process has exited: another process may have its stderr open, and write to it forever
LAST_BYTES = 1024 * 1024


class Stderr(ABC):
    """The lines of a process's stderr, read in the loop's thread.

    :param logger: logs each line at WARNING, after :meth:`connected` was called.
    """

    def __init__(self, logger: logging.Logger, loop: Loop) -> None:
        self._logger = logger
        self._loop = loop
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._is_logged = False
        # only the loop's thread changes the first, only the log thread the second
        self._to_log = self._logged = 0
        self._paused = False
        self._ended = Event()

    def connected(self) -> list[str]:
        """Return the lines so far. Log all later ones."""
        lines: list[str] = []
        self._loop.call_and_wait(lambda: self._log_from_now_on(lines), 1.0)
        return lines

    def _log_from_now_on(self, lines: list[str]) -> None:
        lines += self._lines
        self._lines.clear()
        self._is_logged = True

    def text(self) -> str:
        """Return the last lines."""
        return "\n".join(list(self._lines))

    def wait_for_end(self, timeout: float) -> None:
        """Wait for the end of stderr, which a background ssh master may keep open forever."""
        self._ended.wait(timeout)

    @abstractmethod
    def finish(self) -> None:
        """Read the rest after the process has exited, and close. Called in the loop's thread, perhaps twice."""

    @abstractmethod
    def _close(self) -> None:
        """Stop reading."""

    @abstractmethod
    def _stop_reading(self) -> None:
        """Stop reading until :meth:`_start_reading` is called."""

    @abstractmethod
    def _start_reading(self) -> None:
        """Resume reading."""

    def flush(self, timeout: float) -> None:
        """Wait until all lines that were read are logged."""
        if self._to_log != self._logged:
            log_thread().flush(timeout)

    def _end(self) -> None:
        if not self._ended.is_set():
            self._add_line(b"".join(self._rest))
            self._rest = []
            self._close()
            self._ended.set()

    def _feed(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._add_line(b"".join([*self._rest, line]))
            self._rest, self._rest_size = [], 0
        self._rest.append(rest)
        self._rest_size += len(rest)
        if self._rest_size >= LONGEST_LINE:
            self._add_line(b"".join(self._rest))
            self._rest, self._rest_size = [], 0

    def _add_line(self, line: bytes) -> None:
        text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
        if not text:
            return
        self._lines.append(text)
        if self._is_logged:
            self._to_log += 1
            log_thread().call(partial(self._log, text))
            if self._to_log - self._logged >= BACKLOG and not self._paused:
                self._paused = True
                self._stop_reading()

    def _log(self, text: str) -> None:
        try:
            self._logger.warning(text)
        finally:
            self._logged += 1
            if self._paused and self._to_log - self._logged < BACKLOG // 2:
                self._loop.call(self._resume)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._start_reading()


class PipeStderr(Stderr):
    """The stderr of a process on this machine.

    :param pipe: the process's stderr; it is closed here.
    """

    def __init__(self, pipe: IO[bytes], logger: logging.Logger, loop: Loop) -> None:
        super().__init__(logger, loop)
        self._pipe = pipe
        self._fd = pipe.fileno()
        os.set_blocking(self._fd, False)
        loop.call(self._start_reading)

    def finish(self) -> None:
        size = 0
        while not self._ended.is_set() and size < LAST_BYTES:
            data = self._read()
            if not data:
                break
            size += len(data)
        self._end()

    def _start_reading(self) -> None:
        if not self._ended.is_set():
            self._loop.watch(self._fd, READ, self._read)

    def _stop_reading(self) -> None:
        self._loop.unwatch(self._fd)

    def _close(self) -> None:
        self._loop.unwatch(self._fd)
        self._pipe.close()

    def _read(self) -> bytes:
        """Read a block, process it, and return it; empty if nothing can be read now."""
        if self._ended.is_set():
            return b""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return b""
        if data:
            self._feed(data)
        else:
            self._end()
        return data
