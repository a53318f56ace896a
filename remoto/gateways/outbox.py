"""Send whole messages through a pipe, in their order, whatever a signal's handler raises meanwhile.

The loop's thread writes. A sender adds a message to a queue, which is one step, and waits until it has been written. Where
nothing is queued it writes itself what it can: that saves two changes of threads, a third of the time of a remote function.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextvars import ContextVar, copy_context
from typing import Any, Callable, TypeVar

from .interrupts import interruptible
from .io_loop import WRITE, Loop

Result = TypeVar("Result")

# bytes of a message that a pipe takes whole or not at all
SMALL = select.PIPE_BUF
# CPython runs signal handlers after calls and jumps. "with" and the end of its block are safe from them since 3.10
# (https://bugs.python.org/issue29988); of these versions it is known that an assignment is, too
_STEPS_ARE_KNOWN = sys.implementation.name == "cpython" and (3, 10) <= sys.version_info < (3, 14)
# bytes of one connection before the others get their turn
TURN = 1024 * 1024

_deadline: ContextVar[float | None] = ContextVar("_deadline", default=None)


class NotTaken(TimeoutError):
    """The other side does not take what is sent, and the time for it is over."""


def sending_within(seconds: float | None, function: Callable[..., Result], *args: Any, **kw: Any) -> Result:
    """Call a function; what it sends and is not taken within so many seconds is a :class:`NotTaken`.

    It is sent all the same, before whatever is sent next, so that the connection stays usable.
    """
    # a context ends with its call, whatever a signal's handler raises; a context manager in Python may not
    return copy_context().run(_with_deadline, seconds, function, args, kw)


def _with_deadline(seconds: float | None, function: Callable[..., Result], args: Any, kw: Any) -> Result:
    _deadline.set(None if seconds is None else time.monotonic() + seconds)
    return function(*args, **kw)


class _Message:
    def __init__(self, data: bytes) -> None:
        self.left = memoryview(data)
        self.error: OSError | None = None
        self.finished = threading.Lock()
        self.finished.acquire()

    def finish(self, error: OSError | None = None) -> None:
        self.error = error
        self.finished.release()


class Outbox(ABC):
    """The messages for a process's stdin.

    :param host: for errors.
    """

    def __init__(self, host: str, loop: Loop) -> None:
        self._host = host
        self._loop = loop
        self._queue: deque[_Message] = deque()
        self._writing = threading.RLock()
        self._last = False
        self._error: OSError | None = None

    def send(self, data: bytes, wait: bool = True) -> None:
        """Send a message.

        :param wait: until it has been written.
        :raises NotTaken: it has not been taken in time, see :func:`sending_within`; it goes out later.
        :raises OSError: the connection is closed, or has ended.
        """
        if self._last or self._error is not None:
            raise self._closed()
        # one that the loop is about to write, and that the pipe takes whole, is as good as written
        wait = wait and (len(data) > SMALL or bool(self._queue))
        message = _Message(data)
        if not interruptible():
            written = self._write_at_once(message)
        elif not (written := self._write_in_one_step(message)):
            self._queue.append(message)
        if not written:
            self._loop.call(self._write_queue)
            if wait:
                self._wait(message)

    def close(self) -> None:
        """Close the pipe behind the last message. Twice is fine."""
        self._last = True
        self._loop.call(self._write_queue)

    def abort(self) -> None:
        """Close the pipe at once; in the loop's thread."""
        self._last = True
        self._error = self._error or self._closed()
        self._write_queue()

    def _wait(self, message: _Message) -> None:
        deadline = _deadline.get()
        seconds = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        if not message.finished.acquire(timeout=seconds):
            raise NotTaken(f"{self._host} does not take what is sent")
        if message.error is not None:
            raise message.error

    def _write_in_one_step(self, message: _Message) -> bool:
        """Write a small message where nothing is queued; False if it has to queue. For the main thread."""
        return False

    @abstractmethod
    def _write_some(self, data: memoryview) -> int:
        """Write what is taken now; return the number of bytes.

        :raises BlockingIOError: nothing is taken now.
        """

    @abstractmethod
    def _watch(self, wanted: bool) -> None:
        """Have :meth:`_write_queue` called when more is taken. In the loop's thread."""

    @abstractmethod
    def _close(self) -> None:
        """Close stdin. In the loop's thread; twice is fine."""

    def _write_at_once(self, message: _Message) -> bool:
        """Queue a message, and write it if it is the only one; False if some of it is left. Not for the main thread."""
        with self._writing:
            self._queue.append(message)
            if self._queue[0] is message:
                self._write()
        return not message.left

    def _write_queue(self) -> None:
        """Write what can be written; in the loop's thread, which alone watches and closes the pipe."""
        with self._writing:
            self._write()
            ended = self._error is not None or (self._last and not self._queue)
            self._watch(bool(self._queue) and not ended)
            if ended:
                self._error = self._error or self._closed()
                self._close()

    def _write(self) -> None:
        """Write what the pipe takes now, but no more than a turn."""
        turn = TURN
        try:
            while self._queue and self._error is None and turn > 0:
                message = self._queue[0]
                written = self._write_some(message.left)
                turn -= written
                message.left = message.left[written:]
                if not message.left:
                    self._queue.popleft().finish()
        except BlockingIOError:
            pass
        except OSError as error:
            self._error = error
        while self._error is not None and self._queue:
            self._queue.popleft().finish(self._error)

    def _closed(self) -> OSError:
        return OSError(f"the connection to {self._host} is closed")


class PipeOutbox(Outbox):
    """The messages for a process of this machine.

    :param pipe: a file, which is closed here.
    """

    def __init__(self, pipe: Any, host: str, loop: Loop) -> None:
        super().__init__(host, loop)
        self._pipe = pipe
        self._fd = pipe.fileno()
        self._watched = False
        os.set_blocking(self._fd, False)

    def _write_in_one_step(self, message: _Message) -> bool:
        if not _STEPS_ARE_KNOWN or len(message.left) > SMALL:
            return False
        step = map(self._pipe.write, (message.left,))
        with self._writing:
            # without a call: after one a signal's handler may come, and wait for this lock where it sends something itself
            if self._queue or self._error is not None:
                return False
            [written] = step
        return written is not None

    def _write_some(self, data: memoryview) -> int:
        return os.write(self._fd, data)

    def _watch(self, wanted: bool) -> None:
        if wanted and not self._watched:
            self._loop.watch(self._fd, WRITE, self._write_queue)
        elif self._watched and not wanted:
            self._loop.unwatch(self._fd)
        self._watched = wanted

    def _close(self) -> None:
        self._pipe.close()
