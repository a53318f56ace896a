"""RUNS ON THE REMOTE SIDE: pipes that do not block."""

from __future__ import absolute_import, unicode_literals

import errno
import fcntl
import os
import select

PIPE_SIZE = 1024 * 1024
F_SETPIPE_SZ = 1031


def prepare_pipe(pipe):
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_SIZE)
    except (IOError, OSError):
        pass  # a larger pipe only saves time


def make_blocking(pipe):
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)


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
