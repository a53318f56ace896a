"""RUNS ON THE REMOTE SIDE: send the output of functions."""

from __future__ import absolute_import, unicode_literals

import os
import sys
import threading

from .answers import DEBUG, WARNING, send
from .exceptions import describe, end_child, exit_status, printable
from .values import TEXTS

LOCK = threading.Lock()


class Printed(object):
    """Send the lines that a call prints to the controller."""

    def __init__(self, channel):
        self.channel = channel
        self.thread = threading.current_thread()
        # reentrant: a signal handler may print during add()
        self.lock = threading.RLock()
        self.rest = {DEBUG: [], WARNING: []}  # type: dict

    def add(self, level, text):
        with self.lock:
            ended, newline, rest = text.rpartition("\n")
            if not newline:
                self.rest[level].append(text)
                return
            lines = "".join(self.rest[level] + [ended]).split("\n")
            self.rest[level] = [rest]
        for line in lines:
            send(self.channel, level, printable(line))

    def end(self):
        for level in self.rest:
            if any(self.rest[level]):
                self.add(level, "\n")


# one item for each running call
PRINTED = []  # type: list
PROCESS = os.getpid()


def current_call():
    """Return the call that runs in this thread; in a thread that a function started, the latest call.

    Return None outside of calls.
    """
    calls = list(PRINTED)
    own = [call for call in calls if call.thread is threading.current_thread()]
    # a forked child shares the connection and must not write to it
    return (own or calls)[-1] if calls and os.getpid() == PROCESS else None


class Output(object):
    """A replacement for sys.stdout or sys.stderr.

    It sends the output of calls to the controller, and other output to the old stream.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self, stream, level):
        self.stream = stream
        self.level = level

    def __getattr__(self, name):
        return getattr(self.stream, name)

    @property
    def buffer(self):
        return self

    def write(self, data):
        text = data if isinstance(data, TEXTS) else memoryview(data).tobytes().decode("utf-8", "replace")
        call = current_call()
        if call is not None:
            call.add(self.level, text)
        else:
            stream = getattr(self.stream, "buffer", self.stream)
            stream.write(printable(text).encode("utf-8"))
            stream.flush()
        return len(data)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        self.stream.flush()

    def close(self):
        pass  # other calls use the stream, too

    # needed by io.TextIOWrapper, which may wrap it

    def readable(self):
        return False

    def writable(self):
        return True

    def seekable(self):
        return False


CAPTURED = []  # type: list


def capture():
    """Capture printed output. Called before the first module is loaded; later calls do nothing."""
    with LOCK:
        if not CAPTURED:
            CAPTURED.append(True)
            # execnet redirects descriptor 1 to /dev/null, where the output of a function's children would be lost
            os.dup2(2, 1)
            sys.stdout = Output(sys.stdout, DEBUG)
            sys.stderr = Output(sys.stderr, WARNING)


def guarded(printed, function, left=None):
    """Call a function and send its output. Return (its result, None) or (None, the description of its exception).

    :param left: the result if the function calls ``sys.exit()``.
    """
    PRINTED.append(printed)
    try:
        try:
            return function(), None
        except SystemExit as error:
            if os.getpid() != PROCESS:
                end_child(error)
            status = exit_status(error)
            if not status:
                return left, None
            return None, {"name": "SystemExit", "message": str(status), "traceback": "", "missing": False}
        except:  # noqa: E722  Python 2's exceptions may be of classes that have no base
            if os.getpid() != PROCESS:
                end_child(sys.exc_info()[1])
            return None, describe()
    finally:
        if os.getpid() != PROCESS:
            end_child(None)
        PRINTED.remove(printed)
        printed.end()
