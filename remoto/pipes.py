"""execnet's IO over the pipes of a process: ssh, a Python on this machine, a container's client.

execnet has a class for it; this one puts a bound on every wait and keeps what the process says on stderr.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import select
import signal
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from execnet import gateway_base
from execnet.gateway_base import Message

STDERR_KEPT = 200  # lines
#: of what a far shell's start-up files print, bytes
NOISE_KEPT = 64 * 1024
# what ends a channel may be sent later: a garbage collection sends it as well, and must not wait
_CLOSING = (Message.CHANNEL_CLOSE, Message.CHANNEL_CLOSE_ERROR, Message.CHANNEL_LAST_MESSAGE)
# seconds; poll() does not take more than 24 of them
A_DAY = 86400.0
#: how long closing a gateway may take, seconds
CLOSE_TIMEOUT = 5.0


_sending = threading.local()


@contextlib.contextmanager
def bounded_sending(seconds: float | None) -> Iterator[None]:
    """In this thread, for a while: what is sent and not taken within so many seconds is a TimeoutError.

    The rest of it goes out before whatever is sent next, so that the connection stays usable.
    """
    before = getattr(_sending, "deadline", None)
    _sending.deadline = None if seconds is None else time.monotonic() + seconds
    try:
        yield
    finally:
        _sending.deadline = before


class NotTaken(TimeoutError):
    """The other side does not take what is sent, and the time for it is over."""


class _Message:
    """What execnet sends at once, and how much of it has gone out."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.written: list[int] = []

    def left(self) -> memoryview:
        return self._data[sum(self.written) :]


class ProcessIO:
    """execnet's IO over the pipes of a process. Its stderr is read all the time: first for the diagnosis, then for the log."""

    def __init__(self, argv: Sequence[str], host: str, logger: logging.Logger) -> None:
        import subprocess  # it takes longer to import than all of this package's own

        self.argv = list(argv)
        self.remoteaddress = host
        self.execmodel = gateway_base.get_execmodel("thread")
        self.owner = os.getpid()
        self.far_uid: int | None = None
        #: what is wrong with what was received, in plain words
        self.problem = ""
        self._expects_header = True
        self._unsent: deque[_Message] = deque()
        self._lock: Any = threading.RLock()
        self.deadline: float | None = None
        # at a terminal it stays in this program's process group: ssh and sudo may have to ask for a password there
        self._own_session = not _has_terminal()
        self.popen = subprocess.Popen(
            self.argv if self._own_session else _without_interrupts(self.argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=256 * 1024,
            start_new_session=self._own_session,
        )
        assert self.popen.stdin and self.popen.stdout and self.popen.stderr
        self.infile, self.outfile = self.popen.stdout, self.popen.stdin
        self._out_fd = self.outfile.fileno()
        os.set_blocking(self._out_fd, False)
        self.stderr = StderrReader(self.popen.stderr, logger)

    # execnet calls these

    def read(self, size: int) -> bytes:
        data = self.infile.read(size)
        if self._unsent:
            self._flush()
        if len(data) < size:
            raise EOFError(f"expected {size} bytes, got {len(data)}")
        # headers and payloads take turns (execnet.gateway_base.Message.from_io)
        if self._expects_header and not _is_header(data):
            self.problem = f"something else than remoto writes to the far Python's stdout: {data!r}"
            raise EOFError(self.problem)
        self._expects_header = not self._expects_header
        return data

    def write(self, data: bytes) -> None:
        """Send all of it, whole, in the order of the calls.

        A garbage collection can close a channel, and so call this, in the middle of a call of this in the same thread:
        what it sends then waits for its turn.
        """
        if self.owner != os.getpid():
            raise OSError(f"the connection to {self.remoteaddress} belongs to another process")
        waiting = data[0] not in _CLOSING
        if waiting and self._in_the_middle():
            if data[0] != Message.GATEWAY_TERMINATE:
                raise RuntimeError(
                    f"a signal's handler can't send to {self.remoteaddress} while the program is sending to it"
                )
            waiting = False
        message = _Message(data)
        self._unsent.append(message)
        while waiting and message.left():
            self._send_until(message)
        if self._unsent:
            self._flush()

    def _flush(self) -> None:
        """Send what can be sent at once; the next to send anything sends the rest."""
        with contextlib.suppress(OSError):
            # again and again: what another thread has left meanwhile, since this one had the lock, is nobody else's to send
            while self._unsent and not self._in_the_middle():
                self._send_until(None)

    def _in_the_middle(self) -> bool:
        """Whether this thread is sending already, further up: what was added is then sent there."""
        holders = (ProcessIO._send_until.__code__, ProcessIO.close_write.__code__)
        frame = sys._getframe() if self._lock._is_owned() else None
        while frame is not None:
            if frame.f_code in holders and frame.f_locals["self"] is self:
                return True
            frame = frame.f_back
        return False

    def _send_until(self, message: _Message | None) -> None:
        """Send what is unsent, up to this message; the rest of half a message first. None: all of it.

        A signal's handler can raise between any two steps here, and the next call has to find all as it is.

        :raises NotTaken: it is not taken in time; at all, where there is no message to wait for.
        """
        # twice: a handler that raises can keep the first from it
        try:
            try:
                if not self._lock.acquire(timeout=self._patience() if message else 0):
                    raise self._not_taken()
                while message.left() if message else self._unsent:
                    self._send(self._unsent[0], wait=message is not None)
                    self._unsent.popleft()
            finally:
                self._release()
        finally:
            self._release()

    def _release(self) -> None:
        while self._lock._is_owned():  # more than once where a handler has kept this thread from it before
            self._lock.release()

    def _send(self, message: _Message, wait: bool) -> None:
        while left := message.left():
            if self.outfile.closed:  # in the middle, too: a handler may have done it
                raise OSError(f"the connection to {self.remoteaddress} is closed")
            try:
                # as one step, without a moment for a handler: message.written.append(os.write(self._out_fd, left))
                message.written.extend(map(os.write, (self._out_fd,), (left,)))
            except BlockingIOError:
                poller = select.poll()
                poller.register(self._out_fd, select.POLLOUT)
                patience = self._patience() if wait else 0
                if not poller.poll(None if patience < 0 else min(patience, A_DAY) * 1000) and 0 <= patience < A_DAY:
                    raise self._not_taken() from None

    def _not_taken(self) -> OSError:
        if self.deadline is not None:
            return OSError(f"the connection to {self.remoteaddress} is being closed")
        return NotTaken(f"{self.remoteaddress} does not take what is sent")

    def _patience(self) -> float:
        """Seconds until the deadline; -1 for no bound: ssh's keepalive ends a peer that is gone."""
        deadlines = [
            deadline for deadline in (self.deadline, getattr(_sending, "deadline", None)) if deadline is not None
        ]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else -1

    def close_read(self) -> None:
        self.infile.close()

    def close_write(self) -> None:
        try:
            try:
                if not self._lock.acquire(timeout=CLOSE_TIMEOUT if self.deadline is None else self._patience()):
                    self.kill()  # somebody is stuck in a write: this ends it
                    self._lock.acquire()
                self.outfile.close()
            finally:
                self._release()
        finally:
            self._release()

    def wait(self) -> int:
        return self.popen.wait()

    def kill(self) -> None:
        """End the process at once, and its own children where it has a session to itself: ssh's ProxyCommand is one."""
        if self._own_session:
            try:
                os.killpg(self.popen.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        else:
            # ssh ends its ProxyCommand where it can
            self.popen.terminate()
            if self._wait(0.5) is None:
                self.popen.kill()

    # remoto calls these

    def shake_hands(self, payload: bytes, marker: bytes, timeout: float | None) -> bytes:
        """Send the first line and read until the far Python says it is there.

        :returns: what the far shell's start-up files printed before.
        :raises EOFError: the process ended first; it has what was printed.
        :raises TimeoutError: the seconds are over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        poller = select.poll()
        poller.register(self.infile, select.POLLIN)
        poller.register(self._out_fd, select.POLLOUT)
        noise, unsent = b"", memoryview(payload)
        ready_line = re.compile(re.escape(marker) + rb" (-?\d+)\n$")
        while True:
            patience = None if deadline is None else (deadline - time.monotonic()) * 1000
            ready = poller.poll(patience) if patience is None or patience > 0 else []
            if not ready:
                raise TimeoutError(timeout)
            for fd, _ in ready:
                if fd == self._out_fd:
                    try:
                        unsent = unsent[os.write(fd, unsent) :]
                    except BlockingIOError:
                        pass
                    except BrokenPipeError:
                        unsent = unsent[:0]  # the reason is in what can be read
                    if not unsent:
                        poller.unregister(fd)
                else:
                    data = os.read(fd, 65536)
                    if not data:
                        raise EOFError(noise)
                    noise = (noise + data)[-NOISE_KEPT:]
                    found = ready_line.search(noise)
                    if found:
                        self.far_uid = int(found.group(1))
                        return noise[: found.start()]

    def leave_to_owner(self) -> None:
        """In a child of fork(): the pipes are the parent's, too."""
        self.infile.close()
        self.outfile.close()

    def end(self, timeout: float) -> int | None:
        """Wait for the process, then make it end, and let its last words be read. None where it had to be made."""
        deadline = time.monotonic() + timeout
        status = self._wait(timeout)
        if status is None:
            self.kill()
            self.popen.wait()
        self.stderr.stop(max(1.0, deadline - time.monotonic()))
        return status

    def _wait(self, timeout: float) -> int | None:
        """Its exit status; None where it has not ended within so many seconds."""
        import subprocess

        deadline = time.monotonic() + timeout
        if self.popen.returncode is None:
            _wait_for_the_end_of(self.popen.pid, timeout)
        try:
            return self.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    def give_up(self, timeout: float) -> int | None:
        """As :meth:`end`, where no gateway has come about that would close the pipes."""
        status = self.end(timeout)
        self.close_read()
        self.close_write()
        return status

    def last_words(self) -> str:
        """What the process said on stderr, once it has ended by itself or a second has passed."""
        self._wait(1.0)
        self.stderr.settle(1.0)
        return self.stderr.text()


def _wait_for_the_end_of(pid: int, timeout: float) -> None:
    """Of a child, where the system has an event for it: subprocess looks from time to time, and is up to twice as late."""
    try:
        fd = os.pidfd_open(pid)  # type: ignore[attr-defined, unused-ignore]
    except (AttributeError, OSError):
        return  # not a Linux, or an old one
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.poll(timeout * 1000)
    finally:
        os.close(fd)


def _is_header(data: bytes) -> bool:
    code, _, length = struct.unpack("!bii", data)
    # a dictionary, in execnet 1.9 a list
    return bool(0 <= code < len(Message._types) and length >= 0)


def _without_interrupts(argv: list[str]) -> list[str]:
    """Ctrl-C is for this program, which decides what becomes of its connections; what ignores it from the start, as ssh
    does then, goes on ignoring it."""
    import shutil

    if not shutil.which(argv[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    return ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *argv]


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


class StderrReader:
    """Reads a process's stderr in a thread of its own. A background ssh master may hold it open for ever, so its end isn't
    waited for."""

    def __init__(self, pipe: Any, logger: logging.Logger) -> None:
        self._pipe = pipe
        self._logger = logger
        self._level = logging.DEBUG
        self._lines: deque[str] = deque(maxlen=STDERR_KEPT)
        self._rest = b""
        self._lock = threading.Lock()
        self._drained = threading.Event()
        self._wake_reader, wake_writer = os.pipe()
        self._wake_writer: int | None = wake_writer
        os.set_blocking(pipe.fileno(), False)
        self._thread = threading.Thread(target=self._read, name="remoto-stderr", daemon=True)
        self._thread.start()

    def connected(self) -> None:
        """From here on nobody makes a diagnosis of it: what comes is logged as it comes."""
        with self._lock:
            for line in self._lines:
                self._logger.debug(line)
            self._lines.clear()
            self._level = logging.WARNING

    def text(self) -> str:
        return "\n".join(self._lines)

    def settle(self, timeout: float) -> None:
        """Wait until all has been read; the process has ended."""
        self._drained.wait(timeout)

    def stop(self, timeout: float) -> None:
        """The process has ended: read what is there, end the thread, close. Twice is fine."""
        with self._lock:
            if self._wake_writer is not None:
                os.close(self._wake_writer)
                self._wake_writer = None
        self._thread.join(timeout)

    def _read(self) -> None:
        poller = select.poll()
        poller.register(self._pipe, select.POLLIN)
        poller.register(self._wake_reader, select.POLLIN)
        stopping = False
        try:
            while not stopping:
                stopping = any(fd == self._wake_reader for fd, _ in poller.poll())
                if not self._take():
                    poller.unregister(self._pipe)
                    self._drained.set()
                    while not stopping:
                        stopping = bool(poller.poll())
        finally:
            self._keep(self._rest)
            self._drained.set()
            self._pipe.close()
            os.close(self._wake_reader)

    def _take(self) -> bool:
        """Read what is there; False at the end of it all."""
        while True:
            try:
                data = os.read(self._pipe.fileno(), 65536)
            except BlockingIOError:
                return True
            if not data:
                self._keep(self._rest)
                self._rest = b""
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._keep(line)

    def _keep(self, line: bytes) -> None:
        text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
        if not text:
            return
        with self._lock:
            self._lines.append(text)
            if self._level == logging.WARNING:
                self._logger.warning(text)
