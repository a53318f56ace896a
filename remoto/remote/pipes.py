"""RUNS ON THE REMOTE SIDE: wait for pipes, and wake a thread that does."""

from __future__ import absolute_import, unicode_literals

import errno
import fcntl
import os
import select
import threading

PIPE_SIZE = 1024 * 1024
F_SETPIPE_SZ = 1031


class WakePipe(object):
    """A pipe that wakes the thread that reads or polls it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.closed = False
        self.reader, self.writer = os.pipe()
        # a full pipe wakes the thread, too
        make_nonblocking(self.writer)

    def fileno(self):
        return self.reader

    def wake(self):
        with self.lock:
            if not self.closed:
                retry(os.write, self.writer, b".")

    def wait(self):
        retry(os.read, self.reader, 4096)

    def close(self):
        with self.lock:
            self.closed = True
            os.close(self.reader)
            os.close(self.writer)


def make_nonblocking(pipe):
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)


def prepare_pipe(pipe):
    make_nonblocking(pipe)
    try:
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_SIZE)
    except (IOError, OSError):
        pass  # a larger pipe only saves time


def make_blocking(pipe):
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)


def poll(readable, writable, timeout=None):
    """Return the pipes that are ready.

    :param timeout: seconds; None means no limit.
    """
    poller = select.poll()
    by_number = {}
    for pipes, event in (readable, select.POLLIN), (writable, select.POLLOUT):
        for pipe in pipes:
            poller.register(pipe, event)
            by_number[pipe.fileno()] = pipe
    ready = retry(poller.poll, None if timeout is None else timeout * 1000)
    return [by_number[number] for number, _ in ready or []]


def retry(call, *args):
    """Call a function again after EINTR, which Python 2 raises. Return None if it would block."""
    while True:
        try:
            return call(*args)
        except (IOError, OSError, select.error) as error:
            code = error.args[0]
            if code == errno.EINTR:
                continue
            if code in (errno.EAGAIN, errno.EWOULDBLOCK):
                return None
            raise
