"""RUNS ON THE REMOTE SIDE, in a gateway's Python: serves calls of functions.

A channel carries one call at a time: (function, args, kwargs). The answer is a series of pairs: (DEBUG or WARNING, a
printed line), then (RETURN, value) or (RAISE, description). Or, from a generator, (GENERATOR, None), then (ITEM, value)
... (END, None): the controller requests items by sending numbers, first 0, then how many items it has received. Values
that execnet can't carry are packed, which a third item, True, marks.

A call runs in the main thread if that is free, so that functions may set signal handlers; otherwise in the thread that
serves its channel. A generator always runs in the latter: it works ahead, while the controller may call other
functions.
"""

from __future__ import absolute_import, unicode_literals

import threading

from .answers import CLOSED, RAISE, RETURN, deliver, send
from .capture import Printed, guarded
from .generators import serve_generator
from .main_thread import MAIN_THREAD
from .modules import kept_module
from .values import unpack

try:
    import queue
except ImportError:
    import Queue as queue  # type: ignore[import-not-found,no-redef]  # Python 2


def serve(channel, number):
    """Serve one call after the other, until the controller closes the channel."""
    calls = Calls(channel, kept_module(number))
    channel.setcallback(calls.receive, endmarker=CLOSED)
    calls.serve()


class Calls(object):
    """The calls of a channel.

    :ivar jobs: for the thread of serve(): functions to call; numbers, which request more items of a generator; CLOSED.
    """

    def __init__(self, channel, module):
        self.channel = channel
        self.module = module
        self.printed = Printed(channel)
        self.jobs = queue.Queue()  # type: queue.Queue
        self.last = None

    def receive(self, item):
        """Start a call. Runs in execnet's receiver thread, and so must not block."""
        if not isinstance(item, tuple):
            self.jobs.put(item)
            return
        call = self.last = Call(self, item)
        if not MAIN_THREAD.offer(call):
            self.jobs.put(call.run)

    def serve(self):
        job = None
        while job is not CLOSED:
            job = self.jobs.get()
            # a request may be left over from an earlier generator
            if callable(job):
                job()
        if self.last is not None:
            self.last.running.acquire()
        # the last call may have left a generator, which must be closed
        while not self.jobs.empty():
            job = self.jobs.get()
            if callable(job):
                job()


class Call(object):
    def __init__(self, calls, item):
        self.calls = calls
        self.item = item
        # claim the main thread here, in the order of the calls, not in the order in which threads run
        self.is_first = calls.module.claim()
        # held until the call has ended: a lock is made in a tenth of the time of an Event
        self.running = threading.Lock()
        self.running.acquire()

    def run(self):
        try:
            self.answer()
        finally:
            self.end()

    def end(self):
        if self.running.locked():
            self.running.release()

    def fail(self, error):
        """Raise the error in the channel's thread, so that execnet sends it to the controller."""

        def job():
            raise error

        self.end()
        self.calls.jobs.put(job)

    def answer(self):
        channel, module = self.calls.channel, self.calls.module
        if self.is_first:
            module.has_source.wait()
            module.load()
        if module.module is None:
            module.is_loaded.wait()
        if module.module is None:
            self.release()
            # without a problem, the module called sys.exit(0)
            send(channel, RAISE if module.problem else RETURN, module.problem)
            return
        function, args, kwargs = unpack(self.item[0]) if len(self.item) > 3 else self.item
        printed = self.calls.printed
        printed.thread = threading.current_thread()
        result, problem = guarded(printed, lambda: getattr(module.module, function)(*args, **kwargs))
        self.release()
        if problem is not None:
            send(channel, RAISE, problem)
        elif hasattr(result, "send") and hasattr(result, "gi_frame"):
            self.calls.jobs.put(lambda: serve_generator(channel, self.calls.jobs, function, result))
        else:
            deliver(channel, RETURN, function, result)

    def release(self):
        """Free the main thread, since the next call may arrive as soon as this one is answered."""
        MAIN_THREAD.release(self)
