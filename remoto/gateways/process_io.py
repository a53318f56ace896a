"""execnet's IO over the pipes of a process: ssh, a Python on this machine, a container's client.

execnet has a class for it; this one puts a limit on every wait and keeps what the process writes to stderr.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import signal
import sys
import time
from collections.abc import Sequence

from . import io_loop
from .execnet_internals import CLOSING, ExecModel, Incoming
from .outbox import Outbox
from .stderr import Stderr

#: of what the remote shell's start-up files print, bytes
NOISE_KEPT = 64 * 1024
#: bytes that are read at once
BLOCK = 64 * 1024
#: seconds; poll() takes no more than 24 of them
A_DAY = 86400.0
#: how long closing a gateway may take, seconds
CLOSE_TIMEOUT = 5.0
#: seconds between TERM and KILL, for a process that may have children to end
TERM_TIMEOUT = 0.5


class ProcessIO:
    """execnet's IO over the pipes of a process.

    Only :meth:`read`, :meth:`write` and :meth:`close_write` may be called in the main thread: see :mod:`remoto.gateways.interrupts`.

    :raises OSError: it can't be started.
    :raises RuntimeError: there are no threads left.
    """

    def __init__(self, argv: Sequence[str], host: str, logger: logging.Logger) -> None:
        import subprocess  # it takes longer to import than all of this package's own

        self.argv = list(argv)
        self.remoteaddress = host
        self.execmodel = ExecModel()
        self.owner = os.getpid()
        self.far_uid: int | None = None
        #: of bootstrap.FAR_MODULES, those that the remote Python has
        self.sent_modules: set[str] = set()
        #: what is wrong with what was received
        self.problem = ""
        self.incoming = Incoming()
        self._received = bytearray()
        # at a terminal it stays in this program's process group: ssh and sudo may have to ask for a password there
        self._own_session = not _has_terminal()
        self._loop = io_loop.loop()
        self.popen = subprocess.Popen(
            _with_signals(self.argv, self._own_session),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=self._own_session,
        )
        assert self.popen.stdin and self.popen.stdout and self.popen.stderr
        self.infile, self.outfile = self.popen.stdout, self.popen.stdin
        self.outbox = Outbox(self.outfile, host, self._loop)
        self.stderr = Stderr(self.popen.stderr, logger, self._loop)

    # execnet calls these

    def read(self, size: int) -> bytes:
        data = self._read(size)
        if problem := self.incoming.problem(data):
            self.problem = problem
            raise EOFError(problem)
        return data

    def _read(self, size: int) -> bytes:
        received = self._received
        while len(received) < size:
            data = os.read(self.infile.fileno(), BLOCK)
            if not data:
                raise EOFError(f"expected {size} bytes, got {len(received)}")
            received += data
        with memoryview(received) as view:
            data = bytes(view[:size])
        del received[:size]
        return data

    def write(self, data: bytes) -> None:
        """Send a message, whole, in the order of the calls.

        :raises remoto.gateways.outbox.NotTaken: see :func:`remoto.gateways.outbox.sending_within`.
        :raises OSError: the connection is closed, has ended, or belongs to another process.
        """
        if self.owner != os.getpid():
            raise OSError(f"the connection to {self.remoteaddress} belongs to another process")
        self.outbox.send(data, wait=data[0] not in CLOSING)

    def close_read(self) -> None:
        self.infile.close()

    def close_write(self) -> None:
        self.outbox.close()

    def wait(self) -> int:
        return self.popen.wait()

    def kill(self) -> None:
        """End the process at once, and its own children where it has a session to itself: ssh's ProxyCommand is one."""
        if not self.terminate() and self.wait_for_exit(TERM_TIMEOUT) is None:
            self.popen.kill()

    # remoto calls these

    def terminate(self) -> bool:
        """End the process and its children. Return False where it may take its time to end its children itself."""
        if self.popen.returncode is not None:
            return True
        if not self._own_session:
            self.popen.terminate()
            return False
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return True

    def shake_hands(self, payload: bytes, marker: bytes, timeout: float | None) -> bytes:
        """Send the first line and read until the remote Python reports that it is ready.

        :returns: what the remote shell's start-up files printed before.
        :raises EOFError: the process ended first, or reported nonsense; it has what was printed.
        :raises TimeoutError: the seconds are over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        out_fd = self.outfile.fileno()
        poller = select.poll()
        poller.register(self.infile, select.POLLIN)
        poller.register(out_fd, select.POLLOUT)
        noise, unsent = b"", memoryview(payload)
        ready_line = re.compile(re.escape(marker) + rb" ([^\n]*)\n")
        while True:
            left = A_DAY if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(timeout)
            for fd, _ in poller.poll(min(left, A_DAY) * 1000):
                if fd == out_fd:
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
                    if found and not re.fullmatch(rb"-?\d{1,10}", found[1]):
                        raise EOFError(noise)
                    if found:
                        self.far_uid = int(found[1])
                        # who writes there besides is found out at the first message
                        self._received += noise[found.end() :]
                        return noise[: found.start()]

    def leave_to_owner(self) -> None:
        """In a child of fork(): close the pipes, which are the parent's, too."""
        for pipe in (self.infile, self.outfile, self.popen.stderr):
            if pipe is not None:
                pipe.close()

    def end(self, timeout: float) -> int | None:
        """Wait for the process, then make it end, and read its last lines.

        :returns: its exit status; None where it had to be made to end.
        """
        status = self.wait_for_exit(timeout)
        if status is None:
            self.kill()
            self.popen.wait()
        self.finish(1.0)
        return status

    def finish(self, timeout: float) -> None:
        """The process has ended: close the pipes of stdin and stderr, and wait until its last lines are logged."""
        self._loop.call_and_wait(self._close_pipes, timeout)
        self.stderr.flush(timeout)

    def _close_pipes(self) -> None:
        self.outbox.abort()
        self.stderr.finish()

    def wait_for_exit(self, timeout: float) -> int | None:
        """Return the exit status, or None where the process has not ended within so many seconds."""
        import subprocess

        deadline = time.monotonic() + timeout
        if self.popen.returncode is None:
            _wait_for_the_end_of(self.popen.pid, timeout)
        try:
            return self.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    def give_up(self, timeout: float) -> int | None:
        """As :meth:`end`, where no gateway has come about that would close stdout."""
        try:
            return self.end(timeout)
        finally:
            self.close_read()

    def last_words(self) -> str:
        """Return the last lines of stderr, once the process has ended by itself or a second has passed."""
        self.wait_for_exit(1.0)
        self.stderr.wait_for_end(1.0)
        return self.stderr.text()


def _wait_for_the_end_of(pid: int, timeout: float) -> None:
    """Wait for a child where the system has an event for it: subprocess polls, and is up to twice as late."""
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


# a process that ignores a signal can't give the default back to a shell: POSIX has a shell go on ignoring it. Python sets
# two more, and a variable, that are not to be passed on either
_WITH_HANGUP = """\
import os, signal, sys
for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
if sys.argv[1] == "unset":
    os.environ.pop("LC_CTYPE", None)
os.execvp(sys.argv[2], sys.argv[2:])"""


def _with_signals(argv: list[str], own_session: bool) -> list[str]:
    """Return a command that starts ``argv`` with the signals that it needs.

    At a terminal Ctrl-C is for this program, which decides what becomes of its connections: what ignores it from the start,
    as ssh does then, goes on ignoring it. In a session of its own, ssh needs SIGHUP to end its ProxyCommand, which it can't
    where nohup(1) has this program, and all that it starts, ignore it.
    """
    if not own_session:
        launcher = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    elif signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and sys.executable:
        variable = "set" if "LC_CTYPE" in os.environ else "unset"
        launcher = [sys.executable, "-I", "-S", "-c", _WITH_HANGUP, variable]
    else:
        return argv
    import shutil

    if not shutil.which(argv[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    return [*launcher, *argv]


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
