"""Two threads for all connections of a program: one writes to processes and reads their stderr, the other logs it.

Logging has its own thread, since a handler may be slow, or may use a connection.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from typing import Callable

from ..lazy import importing
from .interrupts import Event

#: selectors.EVENT_READ and EVENT_WRITE
READ, WRITE = 1, 2


class Loop:
    """A thread that waits for file descriptors and calls functions.

    Call ``watch`` and ``unwatch`` in that thread only.
    """

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        with importing:
            import selectors  # only a program that connects needs it

        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        for fd in (self._wake_reader, self._wake_writer):
            os.set_blocking(fd, False)
        self.watch(self._wake_reader, READ, self._run_calls)
        try:
            self._thread = started("remoto-io", self._run)
        except BaseException:
            self.close_in_child()
            raise

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the loop's thread, without waiting for it. The function must not block."""
        self._calls.append(function)
        try:
            os.write(self._wake_writer, b"\0")
        except BlockingIOError:
            pass  # the pipe is full, so the thread will wake up

    def call_and_wait(self, function: Callable[[], object], timeout: float) -> bool:
        """Call a function in the loop's thread. Return False if the timeout, in seconds, expired first."""
        if threading.get_ident() == self._thread.ident:
            function()
            return True
        called = Event()
        self.call(function)
        self.call(called.set)
        return called.wait(timeout)

    def watch(self, fd: int, events: int, function: Callable[[], object]) -> None:
        """Call a function whenever a descriptor is ready."""
        self._selector.register(fd, events, function)

    def unwatch(self, fd: int) -> None:
        try:
            self._selector.unregister(fd)
        except KeyError:
            pass  # not watched

    def close_in_child(self) -> None:
        """In a child of fork(), close the descriptors. Do not change the epoll, which is shared with the parent."""
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                call(key.data)

    def _run_calls(self) -> None:
        try:
            os.read(self._wake_reader, 4096)
        except BlockingIOError:
            pass
        while self._calls:
            call(self._calls.popleft())


class LogThread:
    """A thread that calls functions, which log, one after the other."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._thread = started("remoto-log", self._run)

    def call(self, function: Callable[[], object]) -> None:
        self._calls.put(function)

    def flush(self, timeout: float) -> None:
        """Wait until all functions that were passed to :meth:`call` have been called."""
        if threading.get_ident() != self._thread.ident:
            called = Event()
            self.call(called.set)
            called.wait(timeout)

    def _run(self) -> None:
        while True:
            call(self._calls.get())


def started(name: str, function: Callable[[], object]) -> threading.Thread:
    """Start a daemon thread. Not for the main thread: an interrupt could leave a lock of the new thread locked."""
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread


def call(function: Callable[[], object]) -> None:
    """Call a function. Print its error as Python does for a thread, and go on."""
    try:
        function()
    except Exception:
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


_starting = threading.Lock()
_loop: Loop | None = None
_log_thread: LogThread | None = None


def loop() -> Loop:
    """Return this process's loop; start it on first use. Not for the main thread."""
    global _loop
    with _starting:
        if _loop is None:
            _loop = Loop()
        return _loop


def log_thread() -> LogThread:
    """Return this process's thread for logging; start it on first use. Not for the main thread."""
    global _log_thread
    with _starting:
        if _log_thread is None:
            _log_thread = LogThread()
        return _log_thread


def _reset_in_child() -> None:
    global _starting, _loop, _log_thread
    if _loop is not None:
        _loop.close_in_child()
    _starting, _loop, _log_thread = threading.Lock(), None, None


os.register_at_fork(after_in_child=_reset_in_child)
