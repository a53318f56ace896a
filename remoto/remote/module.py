"""RUNS ON THE FAR SIDE, in a gateway's Python: holds the modules that were shipped and serves their calls.

Comes behind loading.py, including.py and problem.py. A channel carries one call at a time: (function, args, kwargs). The
answer is pairs: ('debug' or 'warning', a line that was printed), then ('return', value), ('raise', description), or
('generator', None) and ('item', value) ... ('end', None).
"""

import os
import sys
import threading

LOCK = threading.Lock()
CALL = threading.local()
# items of a generator that the controller has not asked for yet
WINDOW = 32


class Held(object):
    """A module, or why there is none. Calls may be quicker than the loading that was sent before them."""

    def __init__(self):
        self.ready = threading.Event()
        self.module = None
        self.problem = None


HELD = {}


def held(number):
    with LOCK:
        return HELD.setdefault(number, Held())


class Output(object):
    """sys.stdout or sys.stderr: what is written in a call goes to the controller, the rest where it went before."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, stream, level):
        self.stream = stream
        self.level = level

    def __getattr__(self, name):
        return getattr(self.stream, name)

    @property
    def buffer(self):
        return self

    def write(self, data):
        text = data if not isinstance(data, (bytes, bytearray)) else bytes(data).decode("utf-8", "replace")
        channel = getattr(CALL, "channel", None)
        if channel is None:
            return self.stream.write(data if not isinstance(data, bytearray) else text)
        lines = (CALL.rest.pop(self.level, "") + text).split("\n")
        CALL.rest[self.level] = lines.pop()
        for line in lines:
            send(channel, self.level, line)
        return len(data)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        if getattr(CALL, "channel", None) is None:
            self.stream.flush()


def send(channel, kind, value):
    """Whether there is anybody to get it."""
    try:
        channel.send((kind, value))
        return True
    except (IOError, OSError):
        return False


def capture():
    """Once, before the first module."""
    with LOCK:
        if not isinstance(sys.stdout, Output):
            # what a function's own children print would go nowhere: execnet has put fd 1 there
            os.dup2(2, 1)
            sys.stdout = Output(sys.stdout, "debug")
            sys.stderr = Output(sys.stderr, "warning")


def guarded(channel, function):
    """Call it; what it prints is sent along. A pair: its result, or None and the description of what it raised."""
    CALL.channel, CALL.rest = channel, {}
    try:
        return function(), None
    except SystemExit as error:
        code = error.code
        if code is None or code == 0:
            return None, None
        if not isinstance(code, int):
            sys.stderr.write("%s\n" % (code,))
            code = 1
        return None, {"name": "SystemExit", "message": str(code), "traceback": "", "missing": False}
    except BaseException:
        return None, describe()  # noqa: F821
    finally:
        CALL.channel = None
        for level, line in CALL.rest.items():
            if line:
                send(channel, level, line)


def hold(channel, number, module, included, parents):
    """Load a module, for the calls to come."""
    capture()
    mine = held(number)

    def loading():
        if included or parents:
            include(included, parents)  # noqa: F821
        mine.module = load(*module)  # noqa: F821

    try:
        _, mine.problem = guarded(channel, loading)
    finally:
        mine.ready.set()


def serve(channel, number):
    """One call after the other, until the controller closes the channel."""
    mine = held(number)
    mine.ready.wait()
    for function, args, kwargs in channel:
        if mine.module is None:
            send(channel, "raise", mine.problem)
            continue
        result, problem = guarded(channel, lambda: getattr(mine.module, function)(*args, **kwargs))
        if problem is not None:
            send(channel, "raise", problem)
        elif hasattr(result, "send") and hasattr(result, "gi_frame"):
            serve_generator(channel, function, result)
        else:
            deliver(channel, "return", function, result)
        # it may be large
        result = args = kwargs = None


def deliver(channel, kind, function, value):
    """Send a value, or that it can't be sent; False where it was not."""
    try:
        return send(channel, kind, value)
    except Exception as error:  # execnet's DumpError has another name in each Python's __main__
        if isinstance(error, RuntimeError) or type(error).__name__ == "DumpError":
            message = "%s() returned what execnet can't carry: %s" % (function, error)
            line = "TypeError: " + message
            send(channel, "raise", {"name": "TypeError", "message": message, "traceback": line, "missing": False})
            return False
        raise


def serve_generator(channel, function, generator):
    """Send what it yields as it yields; it is closed as soon as nobody is there to get it."""
    unasked = 0
    done = object()
    send(channel, "generator", None)
    try:
        while True:
            item, problem = guarded(channel, lambda: next(generator, done))
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
                unasked -= channel.receive()
    except EOFError:
        pass
    finally:
        guarded(channel, generator.close)
