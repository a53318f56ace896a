"""RUNS ON THE REMOTE SIDE, in a gateway's Python: keeps the modules that were sent, and serves calls of their functions.

A channel carries one call at a time: (function, args, kwargs). The answer is a series of pairs: ('debug' or 'warning', a
printed line), then ('return', value) or ('raise', description). Or, from a generator, ('generator', None), then ('item',
value) ... ('end', None): the controller requests items by sending numbers, first 0, then how many items it has received.
Values that execnet can't carry are packed, which a third item, True, marks.

A call runs in the main thread if that is free, so that functions may set signal handlers; otherwise in the thread that serves
its channel. A generator always runs in the latter: it works ahead, while the controller may call other functions.
"""

from __future__ import absolute_import, unicode_literals

import os
import sys
import threading

from .including import include
from .loading import load
from .main_thread import MAIN_THREAD
from .problem import describe, end_child, exit_status, printable, text

try:
    import queue
except ImportError:
    import Queue as queue  # type: ignore # Python 2

LOCK = threading.Lock()
# items of a generator to send before the controller requests more
WINDOW = 32
PYTHON_2 = sys.version_info[0] == 2
INTS = (int, long) if PYTHON_2 else (int,)  # type: ignore[name-defined] # noqa: F821
TEXTS = unicode if PYTHON_2 else str  # type: ignore[name-defined] # noqa: F821


class Held(object):
    """A module, or the reason why it could not be loaded. Its first call loads it, and may arrive before its source."""

    def __init__(self):
        self.has_text = threading.Event()
        self.is_loaded = threading.Event()
        self.load = None
        self.holders = []  # an event for each hold() that waits until it is loaded
        self.loading = False
        self.module = None
        self.problem = None

    def claim(self):
        """Return True to the first call, which must load the module."""
        with LOCK:
            claimed, self.loading = self.loading, True
        return not claimed


HELD = {}  # type: dict


def held(number):
    with LOCK:
        return HELD.setdefault(number, Held())


class Printed(object):
    """Sends the lines that a call prints to the controller."""

    def __init__(self, channel):
        self.channel = channel
        self.thread = threading.current_thread()
        # reentrant: a signal handler may print during add()
        self.lock = threading.RLock()
        self.rest = {"debug": [], "warning": []}

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


def printed_now():
    """Return the call that runs in this thread. In a thread started by a function: the latest call. Outside calls: None."""
    calls = list(PRINTED)
    own = [call for call in calls if call.thread is threading.current_thread()]
    # a forked child shares the connection, and must not write to it
    return (own or calls)[-1] if calls and os.getpid() == PROCESS else None


class Output(object):
    """Replaces sys.stdout or sys.stderr: sends the output of calls to the controller, and other output on to the old stream."""

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
        call = printed_now()
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
        pass  # shared with other calls

    # needed by io.TextIOWrapper, which may wrap it

    def readable(self):
        return False

    def writable(self):
        return True

    def seekable(self):
        return False


def send(channel, kind, *value):
    """Send an answer, or part of one. Return False if the controller has closed the channel."""
    try:
        channel.send((kind,) + value)
        return True
    except (IOError, OSError):
        return False


CAPTURED = []  # type: list


def capture():
    """Capture printed output. Called before the first module is loaded; later calls do nothing."""
    with LOCK:
        if not CAPTURED:
            CAPTURED.append(True)
            # execnet redirects descriptor 1 to /dev/null: without this, the output of a function's children would be lost
            os.dup2(2, 1)
            sys.stdout = Output(sys.stdout, "debug")
            sys.stderr = Output(sys.stderr, "warning")


def guarded(printed, function, left=None):
    """Call a function and send what it prints. Return (its result, None) or (None, the description of its exception).

    :param left: the result if it calls ``sys.exit()``.
    """
    PRINTED.append(printed)
    try:
        try:
            return function(), None
        except SystemExit as exit:
            if os.getpid() != PROCESS:
                end_child(exit)
            status = exit_status(exit)
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


# passed to a channel's callback when the channel ends
CLOSED = object()


def hold(channel, number, module, included, parents, dropped=()):
    """Keep the source of a module for its first call, which loads it; send what the module prints then.

    :param dropped: numbers of modules that will not be called again.
    """
    for other in dropped:
        HELD.pop(other, None)
    mine = held(number)

    def loading():
        if included or parents:
            include(included, parents, module[0])
        mine.module = load(*module)

    def load_it():
        try:
            capture()
            _, mine.problem = guarded(Printed(channel), loading)
        except:  # noqa: E722  a signal handler's, for instance
            mine.problem = describe()
            raise
        finally:
            mine.is_loaded.set()
            for waiting in mine.holders:
                waiting.set()

    mine.load = load_it
    mine.has_text.set()
    ended = threading.Event()
    mine.holders.append(ended)
    channel.setcallback(lambda item: ended.set(), endmarker=CLOSED)
    if not mine.is_loaded.is_set():
        ended.wait()


def serve(channel, number):
    """Serve one call after the other, until the controller closes the channel."""
    calls = Calls(channel, held(number))
    channel.setcallback(calls.receive, endmarker=CLOSED)
    calls.serve()


class Calls(object):
    """The calls of a channel.

    :ivar jobs: for the thread of serve(): functions to call; numbers, which request more items of a generator; CLOSED.
    """

    def __init__(self, channel, module):
        self.channel = channel
        self.module = module
        self.jobs = queue.Queue()
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
            # a number may be left over from a generator that ended before
            if callable(job):
                job()
        if self.last is not None:
            self.last.ended.wait()
        # a call that has just ended may have left a generator, which must be closed
        while not self.jobs.empty():
            job = self.jobs.get()
            if callable(job):
                job()


class Call(object):
    def __init__(self, calls, item):
        self.calls = calls
        self.item = item
        # claimed here, in the order in which calls arrive, not in the order in which threads run
        self.is_first = calls.module.claim()
        self.ended = threading.Event()

    def run(self):
        try:
            self.answer()
        finally:
            self.ended.set()

    def fail(self, error):
        """Raise the error in the thread of the channel: execnet sends it to the controller."""

        def job():
            raise error

        self.ended.set()
        self.calls.jobs.put(job)

    def answer(self):
        channel, module = self.calls.channel, self.calls.module
        if self.is_first:
            module.has_text.wait()
            module.load()
        module.is_loaded.wait()
        if module.module is None:
            self.release()
            # without a problem, the module called sys.exit(0)
            send(channel, "raise" if module.problem else "return", module.problem)
            return
        function, args, kwargs = unpack(self.item[0]) if len(self.item) > 3 else self.item
        printed = Printed(channel)
        result, problem = guarded(printed, lambda: getattr(module.module, function)(*args, **kwargs))
        self.release()
        if problem is not None:
            send(channel, "raise", problem)
        elif hasattr(result, "send") and hasattr(result, "gi_frame"):
            self.calls.jobs.put(lambda: serve_generator(channel, self.calls.jobs, function, result))
        else:
            deliver(channel, "return", function, result)

    def release(self):
        """Free the main thread: the next call may arrive as soon as this one is answered."""
        MAIN_THREAD.release(self)


def deliver(channel, kind, function, value):
    """Send a value, or an error if it can't be sent. Return True if the value was sent."""
    for form in (plainly, pack):
        try:
            return send(channel, kind, form(value), *([True] if form is pack else []))
        except Exception as error:  # execnet's DumpError, struct.error, RecursionError, ...
            reason = text(str(error))
    message = "%s() returned %s, which execnet can't carry: %s" % (function, type(value).__name__, reason)
    line = "TypeError: " + message
    send(channel, "raise", {"name": "TypeError", "message": message, "traceback": line, "missing": False})
    return False


def serve_generator(channel, jobs, function, generator):
    """Send the items of a generator as it yields them; close it when the controller closes the channel."""
    printed = Printed(channel)
    unasked = 0
    done = object()
    send(channel, "generator", None)
    try:
        asked(jobs)
        while True:
            item, problem = guarded(printed, lambda: next(generator, done), done)
            if problem is not None:
                send(channel, "raise", problem)
                return
            if item is done:
                send(channel, "end", None)
                return
            if not deliver(channel, "item", function, item):
                return
            unasked += 1
            while unasked >= WINDOW:
                unasked -= asked(jobs)
    except EOFError:
        pass
    finally:
        guarded(printed, generator.close)


def asked(jobs):
    """Wait until the controller requests more items of a generator; return how many it has received.

    :raises EOFError: the controller has closed the channel.
    """
    job = jobs.get()
    if job is CLOSED:
        jobs.put(CLOSED)
        raise EOFError
    return job


# Prepare values that execnet can't carry. The controller uses these functions, too.


def plainly(value):
    """Return the value unchanged. Raise ValueError if execnet could send it, but the peer's could not load it."""
    # this Python does not limit the digits of an int; the peer may
    if not getattr(sys, "get_int_max_str_digits", int)() and unreadable(value):
        raise ValueError("it goes packed")
    return value


def unreadable(value):
    if isinstance(value, INTS):
        return value.bit_length() > 4096
    if isinstance(value, TEXTS):
        return PYTHON_2 and has_surrogates(value)
    if isinstance(value, dict):
        return any(unreadable(item) for pair in value.items() for item in pair)
    return isinstance(value, (list, tuple, set, frozenset)) and any(unreadable(item) for item in value)


def has_surrogates(text):
    import re

    return re.search(u"[\ud800-\udfff]", text) is not None


def pack(value):
    """Return a value converted to types that execnet carries. Others become a tuple whose first item names the type."""
    if isinstance(value, bool):
        return value
    if isinstance(value, INTS):
        return ("int", "%x" % value)
    if isinstance(value, TEXTS):
        return ("text", TEXTS.encode(value, "unicode_escape").decode("ascii"))
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, tuple):
        return ("tuple",) + tuple([pack(item) for item in value])
    if isinstance(value, dict):
        return dict((pack(key), pack(item)) for key, item in value.items())
    for kind in (list, set, frozenset):
        if isinstance(value, kind):
            return kind([pack(item) for item in value])
    return value


def unpack(value):
    kind = type(value)
    if kind is tuple and value[0] == "int":
        return int(value[1], 16)
    if kind is tuple and value[0] == "text":
        return value[1].encode("ascii").decode("unicode_escape")
    if kind is tuple:
        return tuple([unpack(item) for item in value[1:]])
    if kind is dict:
        return dict((unpack(key), unpack(item)) for key, item in value.items())
    if kind in (list, set, frozenset):
        return kind([unpack(item) for item in value])
    return value
