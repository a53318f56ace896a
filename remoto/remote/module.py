"""RUNS ON THE REMOTE SIDE, in a gateway's Python: holds the modules that were shipped and serves their calls.

Comes behind loading.py, including.py and problem.py; boot.py has set MAIN_THREAD. A channel carries one call at a time:
(function, args, kwargs). The answer is pairs: ('debug' or 'warning', a line that was printed), then ('return', value),
('raise', description), or ('generator', None) and ('item', value) ... ('end', None), for which the controller asks with
numbers: 0 to begin, then of the items that it has taken. What execnet can't carry goes packed: one more item, True, tells.

A call runs in the main thread where that is free, so that functions may set signal handlers; else in the thread that serves
its channel. A generator always runs in the latter: it is ahead of the controller, which calls other functions meanwhile.
"""

import os
import sys
import threading

try:
    import queue
except ImportError:
    import Queue as queue  # Python 2

LOCK = threading.Lock()
# items of a generator that the controller has not asked for yet
WINDOW = 32
PYTHON_2 = sys.version_info[0] == 2
INTS = (int, long) if PYTHON_2 else (int,)  # noqa: F821
TEXTS = unicode if PYTHON_2 else str  # noqa: F821


class Held(object):
    """A module, or why there is none. Its first call loads it, and may come before its text."""

    def __init__(self):
        self.has_text = threading.Event()
        self.is_loaded = threading.Event()
        self.load = None
        self.holders = []  # an event for each hold() that waits for the loading
        self.loading = False
        self.module = None
        self.problem = None

    def claim(self):
        """Return True for the first call: it is to load the module."""
        with LOCK:
            claimed, self.loading = self.loading, True
        return not claimed


HELD = {}


def held(number):
    with LOCK:
        return HELD.setdefault(number, Held())


class Printed(object):
    """Sends what a call prints to the controller, line by line."""

    def __init__(self, channel):
        self.channel = channel
        self.thread = threading.current_thread()
        # a signal handler may print in the middle of add()
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
            send(self.channel, level, printable(line))  # noqa: F821

    def end(self):
        for level in self.rest:
            if any(self.rest[level]):
                self.add(level, "\n")


# an item for each call that is running
PRINTED = []
PROCESS = os.getpid()


def printed_now():
    """Return this thread's call; in a thread that a function has started, the call that started last. None outside calls."""
    calls = list(PRINTED)
    own = [call for call in calls if call.thread is threading.current_thread()]
    # a forked child has the connection as well, and must not write to it
    return (own or calls)[-1] if calls and os.getpid() == PROCESS else None


class Output(object):
    """Replaces sys.stdout or sys.stderr: output of a call goes to the controller, other output where it went before."""

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
            stream.write(printable(text).encode("utf-8"))  # noqa: F821
            stream.flush()
        return len(data)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        self.stream.flush()

    def close(self):
        pass  # other calls use it, too

    # for io.TextIOWrapper, which may wrap it

    def readable(self):
        return False

    def writable(self):
        return True

    def seekable(self):
        return False


def send(channel, kind, *value):
    """Send an answer, or a part of one. Return False if the controller has closed the channel."""
    try:
        channel.send((kind,) + value)
        return True
    except (IOError, OSError):
        return False


CAPTURED = []


def capture():
    """Capture what is printed, once, before the first module is loaded."""
    with LOCK:
        if not CAPTURED:
            CAPTURED.append(True)
            # execnet has put /dev/null there, where the output of a function's own children would be lost
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
                end_child(exit)  # noqa: F821
            status = exit_status(exit)  # noqa: F821
            if not status:
                return left, None
            return None, {"name": "SystemExit", "message": str(status), "traceback": "", "missing": False}
        except:  # noqa: E722  Python 2's exceptions may be of classes that have no base
            if os.getpid() != PROCESS:
                end_child(sys.exc_info()[1])  # noqa: F821
            return None, describe()  # noqa: F821
    finally:
        if os.getpid() != PROCESS:
            end_child(None)  # noqa: F821
        PRINTED.remove(printed)
        printed.end()


# what a channel's callback gets at the channel's end
CLOSED = object()


def hold(channel, number, module, included, parents, dropped=()):
    """Keep a module's text for its first call, and report what it prints when that loads it.

    :param dropped: numbers of modules that will not be called again.
    """
    for other in dropped:
        HELD.pop(other, None)
    mine = held(number)

    def loading():
        if included or parents:
            include(included, parents, module[0])  # noqa: F821
        mine.module = load(*module)  # noqa: F821

    def load_it():
        try:
            capture()
            _, mine.problem = guarded(Printed(channel), loading)
        except:  # noqa: E722  a signal handler's, for instance
            mine.problem = describe()  # noqa: F821
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

    :ivar jobs: for its own thread: functions to call; numbers, which ask for more items of a generator; CLOSED.
    """

    def __init__(self, channel, module):
        self.channel = channel
        self.module = module
        self.jobs = queue.Queue()
        self.last = None

    def receive(self, item):
        """Start a call; execnet's receiver does this, which must not be kept waiting."""
        if not isinstance(item, tuple):
            self.jobs.put(item)
            return
        call = self.last = Call(self, item)
        if MAIN_THREAD is None or not MAIN_THREAD.offer(call):  # noqa: F821
            self.jobs.put(call.run)

    def serve(self):
        job = None
        while job is not CLOSED:
            job = self.jobs.get()
            # a number is left over where a generator had ended before it was asked for more
            if callable(job):
                job()
        if self.last is not None:
            self.last.ended.wait()
        # a call that has ended just now may have left a generator to be closed
        while not self.jobs.empty():
            job = self.jobs.get()
            if callable(job):
                job()


class Call(object):
    def __init__(self, calls, item):
        self.calls = calls
        self.item = item
        # in the order in which calls come, not in that in which threads get to run
        self.is_first = calls.module.claim()
        self.ended = threading.Event()

    def run(self):
        try:
            self.answer()
        finally:
            self.ended.set()

    def fail(self, error):
        """Let the channel's own thread end by the error: then execnet reports it."""

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
            # without a problem the module has left by sys.exit(0)
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
        """The next call may come as soon as this one's answer is on its way."""
        if MAIN_THREAD is not None:  # noqa: F821
            MAIN_THREAD.release(self)  # noqa: F821


def deliver(channel, kind, function, value):
    """Send a value, or the error that it can't be sent. Return True if the value was sent."""
    for form in (plainly, pack):
        try:
            return send(channel, kind, form(value), *([True] if form is pack else []))
        except Exception as error:  # execnet's own, struct's, of recursion, ...
            reason = text(str(error))  # noqa: F821
    message = "%s() returned %s, which execnet can't carry: %s" % (function, type(value).__name__, reason)
    line = "TypeError: " + message
    send(channel, "raise", {"name": "TypeError", "message": message, "traceback": line, "missing": False})
    return False


def serve_generator(channel, jobs, function, generator):
    """Send the generator's items as they come; close it as soon as the controller has closed the channel."""
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
    """Wait until the controller asks for more items of a generator; return for how many.

    :raises EOFError: the controller has closed the channel.
    """
    job = jobs.get()
    if job is CLOSED:
        jobs.put(CLOSED)
        raise EOFError
    return job


# for values that execnet can't carry; the controller uses these, too


def plainly(value):
    """Return the value. Raise ValueError if execnet would send it and the other side's execnet could not load it."""
    # this Python has no limit on an int's digits; the other side may have one
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
    """Return the value made of types that execnet carries: others become a tuple whose first item names the type."""
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
