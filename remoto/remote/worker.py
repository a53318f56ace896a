"""RUNS ON THE REMOTE SIDE: threads, queues and IO for execnet's gateway.

execnet has all of them, in more variants than the remote side needs: its source takes longer to compile.
"""

from __future__ import absolute_import, unicode_literals

import os
import sys
import threading

try:
    from _thread import start_new_thread
except ImportError:  # Python 2
    from thread import start_new_thread  # type: ignore[import-not-found,no-redef]

try:
    # queue imports collections and heapq, which takes longer than a command
    from _queue import Empty, SimpleQueue

    class Queue(SimpleQueue):
        def get(self, block=True, timeout=None):
            # first without a timeout: with one, get() may wait forever, see take() in remoto/gateways/interrupts.py
            try:
                return SimpleQueue.get(self, False)
            except Empty:
                if not block:
                    raise
            return SimpleQueue.get(self, True, timeout)
except ImportError:  # before Python 3.7
    try:
        from queue import Empty, Queue  # type: ignore[assignment]
    except ImportError:  # Python 2
        from Queue import Empty, Queue  # type: ignore[import-not-found,no-redef]


class Pool(object):
    """execnet's WorkerPool: runs each task in a new thread."""

    def __init__(self, model):
        self.execmodel = model
        self.lock = threading.Lock()
        self.running = 0
        self.closed = False
        self.idle = threading.Event()
        self.idle.set()

    def spawn(self, function, *args):
        with self.lock:
            if self.closed:
                raise ValueError("pool is shutting down")
            start_new_thread(self.run, (function, args))
            self.running += 1
            self.idle.clear()

    def run(self, function, args):
        try:
            function(*args)
        except BaseException:
            pass  # execnet's executetask() has sent it to the controller
        finally:
            with self.lock:
                self.running -= 1
                if not self.running:
                    self.idle.set()

    def active_count(self):
        return self.running

    def trigger_shutdown(self):
        with self.lock:
            self.closed = True

    def waitall(self, timeout=None):
        self.idle.wait(timeout)
        return not self.running


class ThreadModel(object):
    """execnet's execution model: the members that a gateway and its channels use."""

    backend = "thread"
    Lock = RLock = staticmethod(threading.RLock)
    Event = staticmethod(threading.Event)
    start = staticmethod(start_new_thread)

    class queue(object):
        Queue = Queue
        Empty = Empty

    def WorkerPool(self):
        # execnet 1.9 makes its pool so
        return Pool(self)

    # for execnet's gateways through this one: "popen//via=..."

    @property
    def subprocess(self):
        import subprocess

        return subprocess

    def PopenPiped(self, args):
        return self.subprocess.Popen(args, stdin=-1, stdout=-1)


class IO(object):
    """execnet's Popen2IO."""

    def __init__(self, outfile, infile, execmodel):
        self.outfile, self.infile, self.execmodel = outfile, infile, execmodel

    def read(self, size):
        data = self.infile.read(size)
        if len(data) < size:
            raise EOFError("expected %d bytes, got %d" % (size, len(data)))
        return data

    def write(self, data):
        self.outfile.write(data)
        self.outfile.flush()

    def close_read(self):
        self.infile.close()

    def close_write(self):
        self.outfile.close()


def standard_io():
    """Return IO over stdin and stdout, which then are /dev/null for all other code."""
    io = IO(os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb"), ThreadModel())
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    os.close(null)
    options = {} if sys.version_info[0] == 2 else {"encoding": "utf-8", "closefd": False}  # type: dict
    sys.stdin = os.fdopen(0, "r", 1, **options)
    sys.stdout = os.fdopen(1, "w", 1, **options)
    return io
