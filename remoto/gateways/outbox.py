"""Send whole messages through a pipe, in order, even if a signal handler raises meanwhile.

The loop's thread writes. A sender appends a message to a queue, which is one step, and waits until it is written. If
the queue is empty, the sender writes as much as it can itself, which saves two thread switches, a third of the time of
a call of a remote function.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar, copy_context
from functools import partial
from typing import IO, TYPE_CHECKING, Callable, TypeVar, Union

from .interrupts import interruptible
from .io_loop import WRITE, Loop

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")

Result = TypeVar("Result")
Data = Union[bytes, memoryview]

# bytes of the longest message that a pipe accepts either whole or not at all (pipe(7))
SMALL = select.PIPE_BUF
# CPython runs signal handlers after calls and jumps. Since 3.10, it runs none between "with" and its block, nor at the
# end of the block (https://bugs.python.org/issue29988), and in these versions, none after an assignment
_STEPS_ARE_KNOWN = sys.implementation.name == "cpython" and (3, 10) <= sys.version_info < (3, 14)
# bytes to write for one connection before other connections get their turn
TURN = 1024 * 1024
# bytes of an average part, below which parts are joined
JOINED = 16 * 1024
# parts to write at once: IOV_MAX of writev(2)
MOST_PARTS = 1024

_deadline: ContextVar[float | None] = ContextVar("_deadline", default=None)


class SendTimeout(TimeoutError):
    """The peer did not accept a message in time."""


def sending_within(seconds: float | None, function: Callable[P, Result], *args: P.args, **kw: P.kwargs) -> Result:
    """Call a function, with a timeout for the messages that it sends.

    A message that times out is sent later, before the next one, so that the connection stays usable.

    :param seconds: None means no limit.
    :raises SendTimeout: a message was not accepted in time.
    """
    # run() always restores the context, even if a signal handler raises; a context manager in Python may not
    return copy_context().run(_with_deadline, seconds, partial(function, *args, **kw))


def _with_deadline(seconds: float | None, function: Callable[[], Result]) -> Result:
    _deadline.set(None if seconds is None else time.monotonic() + seconds)
    return function()


class _Message:
    def __init__(self, parts: Sequence[Data]) -> None:
        self.left: list[memoryview] = [memoryview(part) for part in parts]
        self.error: OSError | None = None
        self.finished = threading.Lock()
        self.finished.acquire()

    def remove(self, size: int) -> None:
        """Remove bytes that were written."""
        while self.left and size >= len(self.left[0]):
            size -= len(self.left.pop(0))
        if size:
            self.left[0] = self.left[0][size:]

    def finish(self, error: OSError | None = None) -> None:
        self.error = error
        self.finished.release()


def _is_written() -> None:
    """Return at once: a message was written when it was sent."""


class Outbox(ABC):
    """The messages for a process's stdin.

    :param host: the host's name, for errors.
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

        :param wait: wait until it is written, unless it is small.
        :raises SendTimeout: it was not accepted in time, see :func:`sending_within`. It is sent later.
        :raises OSError: the connection is closed, or was lost.
        """
        # do not wait for a small message at the head of the queue: the loop is about to write it whole
        wait = wait and (len(data) > SMALL or bool(self._queue))
        message = self._send([data])
        if message and wait:
            self._wait(message)

    def send_parts(self, parts: Sequence[Data]) -> Callable[[], None]:
        """Send the parts of a message; return a function to call once, which waits until it is written.

        Only then may the parts be reused.

        :raises OSError: as for :meth:`send`. The function raises SendTimeout as well.
        """
        # joining many small parts is faster, copying a large one is slower
        if sum(map(len, parts)) < JOINED * len(parts):
            parts = [b"".join(parts)]
        message = self._send(parts)
        return partial(self._wait, message) if message else _is_written

    def _send(self, parts: Sequence[Data]) -> _Message | None:
        """Send a message; return it if it is not written yet."""
        if self._last or self._error is not None:
            raise self._closed()
        if not interruptible():
            message = _Message(parts)
            if self._write_at_once(message):
                return None
        elif self._write_in_one_step(parts):
            return None
        else:
            message = _Message(parts)
            self._queue.append(message)
        self._loop.call(self._write_queue)
        return message

    def close(self) -> None:
        """Close the pipe after the queued messages. Calling it again has no effect."""
        self._last = True
        self._loop.call(self._write_queue)

    def abort(self) -> None:
        """Close the pipe at once. Call it in the loop's thread."""
        self._last = True
        self._error = self._error or self._closed()
        self._write_queue()

    def _wait(self, message: _Message) -> None:
        deadline = _deadline.get()
        seconds = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        if not message.finished.acquire(timeout=seconds):
            raise SendTimeout(f"{self._host} does not accept more data")
        if message.error is not None:
            raise message.error

    def _write_in_one_step(self, parts: Sequence[Data]) -> bool:
        """Write a small message if the queue is empty. Return False if it must be queued. For the main thread."""
        return False

    @abstractmethod
    def _write_some(self, parts: Sequence[memoryview]) -> int:
        """Write as much as possible without blocking; return the number of bytes.

        :raises BlockingIOError: nothing can be written now.
        """

    @abstractmethod
    def _watch(self, wanted: bool) -> None:
        """Make the loop call :meth:`_write_queue` when more can be written. Call it in the loop's thread."""

    @abstractmethod
    def _close(self) -> None:
        """Close stdin. Called in the loop's thread, perhaps twice."""

    def _write_at_once(self, message: _Message) -> bool:
        """Queue a message, and write it if the queue was empty. Return True if all of it was written.

        Not for the main thread.
        """
        with self._writing:
            self._queue.append(message)
            if self._queue[0] is message:
                self._write()
        return not message.left

    def _write_queue(self) -> None:
        """Write as much as possible. Called in the loop's thread, the only one that watches and closes the pipe."""
        with self._writing:
            self._write()
            ended = self._error is not None or (self._last and not self._queue)
            self._watch(bool(self._queue) and not ended)
            if ended:
                self._error = self._error or self._closed()
                self._close()

    def _write(self) -> None:
        """Write as much as the pipe accepts now, but at most a turn's bytes."""
        turn = TURN
        try:
            while self._queue and self._error is None and turn > 0:
                message = self._queue[0]
                written = self._write_some(message.left)
                turn -= written
                message.remove(written)
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
    """The messages for a process on this machine.

    :param pipe: the process's stdin; the outbox closes it.
    """

    def __init__(self, pipe: IO[bytes], host: str, loop: Loop) -> None:
        super().__init__(host, loop)
        self._pipe = pipe
        self._fd = pipe.fileno()
        self._watched = False
        os.set_blocking(self._fd, False)

    def _write_in_one_step(self, parts: Sequence[Data]) -> bool:
        if not _STEPS_ARE_KNOWN or len(parts) > 1 or len(parts[0]) > SMALL:
            return False
        step = map(self._pipe.write, parts)
        with self._writing:
            # no calls here: after a call a signal handler may run, which deadlocks on this lock if it sends a message
            if self._queue or self._error is not None:
                return False
            [written] = step
        return written is not None

    def _write_some(self, parts: Sequence[memoryview]) -> int:
        return os.writev(self._fd, parts[:MOST_PARTS])

    def _watch(self, wanted: bool) -> None:
        if wanted and not self._watched:
            self._loop.watch(self._fd, WRITE, self._write_queue)
        elif self._watched and not wanted:
            self._loop.unwatch(self._fd)
        self._watched = wanted

    def _close(self) -> None:
        self._pipe.close()
