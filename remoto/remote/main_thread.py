"""RUNS ON THE REMOTE SIDE: run tasks in the main thread."""

from __future__ import absolute_import, unicode_literals

import os
import sys
import threading

from .pipes import WakePipe
from .signals import signal


class MainThread(object):
    """Run one task at a time in the main thread, the only one in which Python can set and run signal handlers.

    It waits for tasks by reading a pipe: Python 2 runs no handlers while the main thread waits for a lock.
    """

    wake_pipe = None  # type: WakePipe

    def __init__(self):
        self.lock = threading.Lock()
        self.task = None
        self.is_new = False
        # stays so in a gateway that execnet itself opened, where execnet uses the main thread
        self.ended = True

    def start(self):
        """Accept tasks from now on, even if :meth:`serve` runs them later."""
        self.wake_pipe = WakePipe()
        self.ended = False

    def offer(self, task):
        """Run ``task.run()``, and ``task.fail(error)`` if it raises.

        Return False, and run neither, if another task is running.
        """
        with self.lock:
            if self.task is not None or self.ended:
                return False
            self.task = task
            self.is_new = True
        self.wake_pipe.wake()
        return True

    def release(self, task):
        """Accept the next task. A task calls this when its work is done, before it sends the result."""
        if self.task is task:
            self.task = None

    def end(self):
        self.ended = True
        self.wake_pipe.wake()

    def serve(self):
        """Run tasks until the end."""
        # a signal that comes just before the thread waits would be handled after the wait. That a child of fork()
        # writes here, too, only wakes this thread once more. A full pipe wakes as well: no warning (since 3.7)
        options = {"warn_on_full_buffer": False} if sys.version_info >= (3, 7) else {}
        signal.set_wakeup_fd(self.wake_pipe.writer, **options)
        while True:
            try:
                if self.is_new:
                    self.run(self.task)
                elif self.ended:
                    return
                else:
                    # bytes only wake the thread; one may be lost if a handler raises
                    self.wake_pipe.wait()
            except Exception:
                self.report()

    def run(self, task):
        try:
            self.is_new = False
            task.run()
        except Exception:
            # raised by a signal handler that a task has set, after the task has ended
            task.fail(sys.exc_info()[1])
        finally:
            self.release(task)

    def report(self):
        """Print the error of a signal handler between two tasks, and go on."""
        os.fstat(self.wake_pipe.reader)  # fails if a function has closed all descriptors
        sys.excepthook(*sys.exc_info())


MAIN_THREAD = MainThread()
