"""execnet's IO over the pipes of a process on this machine: ssh, Python or a container's client.

Unlike execnet's own class, this one has a time limit for every wait, and keeps the process's stderr.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from .gateway_io import GatewayIO
from .outbox import PipeOutbox
from .stderr import PipeStderr
from .terminal import has_terminal, with_signals

#: bytes to read at once
BLOCK = 64 * 1024
#: seconds to wait at most in poll(2), which can wait for less than 25 days
A_DAY = 86400.0
#: bytes that a pipe holds on Linux by default (pipe(7)), and while files are copied
PIPE, LARGE_PIPE = 64 * 1024, 1024 * 1024
# F_SETPIPE_SZ (fcntl(2)); Python has had this name since 3.10
_SET_PIPE_SIZE = 1031


class ProcessIO(GatewayIO):
    """execnet's IO over the pipes of a process on this machine.

    :raises OSError: the process can't be started.
    :raises RuntimeError: no thread can be started.
    """

    def __init__(self, argv: Sequence[str], host: str, logger: logging.Logger) -> None:
        super().__init__(argv, host)
        # at a terminal, keep the process in this session: ssh and sudo may have to ask for a password there
        self._own_session = not has_terminal()
        self.popen = subprocess.Popen(
            with_signals(self.argv, self._own_session),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=self._own_session,
        )
        assert self.popen.stdin and self.popen.stdout and self.popen.stderr
        self.infile, self.outfile = self.popen.stdout, self.popen.stdin
        self.outbox = PipeOutbox(self.outfile, host, self._loop)
        self.stderr = PipeStderr(self.popen.stderr, logger, self._loop)

    def _read_block(self, timeout: float | None) -> bytes:
        if timeout is not None:
            poller = select.poll()
            poller.register(self.infile, select.POLLIN)
            if not poller.poll(min(timeout, A_DAY) * 1000):
                raise TimeoutError(timeout)
        return os.read(self.infile.fileno(), BLOCK)

    def set_pipe_size(self, to_remote: bool, size: int) -> None:
        """Set the bytes that the pipe to or from the process holds, where the system can."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError, ValueError):  # not permitted, or closed
                fcntl.fcntl(self.outfile if to_remote else self.infile, _SET_PIPE_SIZE, size)

    def close_read(self) -> None:
        self.infile.close()

    def wait(self) -> int:
        return self.popen.wait()

    def terminate(self) -> bool:
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

    def kill_process(self) -> None:
        self.popen.kill()

    def reap(self, timeout: float) -> None:
        self.popen.wait()

    def wait_for_exit(self, timeout: float) -> int | None:
        if self.popen.returncode is not None:
            return self.popen.returncode
        deadline = time.monotonic() + timeout
        _wait_for_child(self.popen.pid, timeout)
        try:
            return self.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    def close_in_child(self) -> None:
        for pipe in (self.infile, self.outfile, self.popen.stderr):
            if pipe is not None:
                pipe.close()


def _wait_for_child(pid: int, timeout: float) -> None:
    """Wait for a child by pidfd_open(2), if the system has it: subprocess polls, and waits up to twice as long."""
    try:
        fd = os.pidfd_open(pid)  # type: ignore[attr-defined, unused-ignore]
    except (AttributeError, OSError):
        return  # not Linux, or before 5.3
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.poll(timeout * 1000)
    finally:
        os.close(fd)
