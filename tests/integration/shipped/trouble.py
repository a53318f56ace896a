# -*- coding: utf-8 -*-
"""Functions that do to their Python what functions should not."""

import collections
import io
import os
import pickle
import signal
import sys
import threading
import time

CONSTANT = 3
KEPT = []
LOADED_IN = threading.current_thread().name

print(u"loaded \udcff")


class Point(collections.namedtuple("Point", "x y")):
    pass


def same(value):
    return value


def kind(value):
    return type(value).__name__


def _log(value):
    return "my own: %s" % value


def fork(end):
    """The exit status of a child that ends in this way."""
    pid = os.fork()
    if pid == 0:
        print("in the child")
        if end == "raise":
            raise ValueError("in the child")
        if end == "exit":
            sys.exit(3)
        return "the child's answer"
    return os.waitpid(pid, 0)[1] >> 8


def fork_generator():
    yield "parent"
    pid = os.fork()
    if pid == 0:
        raise ValueError("in the child")
    yield os.waitpid(pid, 0)[1] >> 8


def close_stdout():
    os.close(1)
    return "closed"


def redirect_stdout():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return "redirected"


def close_all():
    os.closerange(3, 64)
    return "closed"


def exit_now(status):
    os._exit(status)


def hang_up():
    import signal

    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGHUP)


def print_odd():
    print(u"ä€\udcff")
    sys.stderr.write(u"ö\udcff\n")


def print_bytes():
    getattr(sys.stdout, "buffer", sys.stdout).write(b"\xff\n")


def print_without_an_end(count):
    for _ in range(count):
        sys.stdout.write("x")


def print_in_a_thread():
    def work():
        print("from a thread")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def wrap_stdout():
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "utf-8", write_through=True)
    print("wrapped")
    sys.stdout.flush()


def odd_error():
    raise ValueError(u"ä\udcff")


class Nasty(Exception):
    def __str__(self):
        raise KeyError("no text")


def nasty_error():
    raise Nasty()


class Liar(Exception):
    @property
    def __class__(self):
        raise KeyError("no class")


def lying_error():
    raise Liar("about its class")


class OldStyle:
    pass


def old_style_error():
    raise OldStyle()


def cannot_import():
    from os import no_such_name  # noqa: F401


def big(exponent):
    return -(10**exponent)


def smallest():
    return [-(2**31), -(2**31) - 1, -(2**70), 2**70]


def odd_text():
    return u"a\udcff"


def named():
    return [Point(1, 2), collections.OrderedDict(a=1), collections.defaultdict(int, b=2)]


def keyed(how):
    return {
        "numbers": {1: 2, 1.5: 3, None: 4, True: 5},
        "tuple": {(1, 2): 3},
        "bytes": [b"\xff"],
        "odd": {"a": object()},
    }[how]


def cycle():
    value = []
    value.append(value)
    return value


def special_numbers():
    return [float("nan"), float("inf"), float("-inf")]


def leave(code):
    sys.exit(code)


def leave_truly():
    sys.exit(True)


def leaving_generator():
    yield 1
    sys.exit(0)


def touching_generator(path):
    """Write to the file when it begins, and then its progress."""
    for number in range(1000):
        with open(path, "w") as file:
            file.write(str(number))
        yield number


def pickled():
    return pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)


def read(path):
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return file.read()


def division():
    return 1 / 2


def literal():
    """With another module's __future__ it would be unicode on Python 2."""
    return type("").__name__


def kept_generator(path):
    """One that nobody but its caller closes."""

    def numbers():
        try:
            for number in range(10**9):
                yield number
        finally:
            open(path, "w").close()

    KEPT.append(numbers())
    return KEPT[-1]


def odd_last_words():
    os.write(2, b"last \xff words\n")
    os._exit(3)


def threads():
    """The names of the threads in which this module was loaded and in which this call runs."""
    return [LOADED_IN, threading.current_thread().name]


def thread_of_a_nap(path):
    """Waits for a file."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return threading.current_thread().name


def endless_threads():
    while True:
        yield threading.current_thread().name


def count_signals(number):
    """Sends itself so many signals; returns how many its handler got."""
    received = []
    before = signal.signal(signal.SIGUSR1, lambda *_: received.append(1))
    try:
        for _ in range(number):
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    return len(received)


def alarm():
    """Waits for a signal whose handler ends the wait."""

    class Alarm(Exception):
        pass

    def handler(number, frame):
        raise Alarm()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        time.sleep(50)
    except Alarm:
        return "alarmed"
    finally:
        signal.signal(signal.SIGALRM, before)


def alarm_later(path, fails):
    """A handler for a signal that comes when no call runs."""

    def handler(number, frame):
        open(path, "w").close()
        if fails:
            raise ValueError("from a handler")

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)


def builtin_names():
    return dir(__builtins__)


def hexed(value):
    """Bytes as text, for an answer in JSON."""
    if isinstance(value, bytes):
        return "bytes " + "".join("%02x" % octet for octet in bytearray(value))
    if isinstance(value, dict):
        return sorted([hexed(key), hexed(item)] for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [hexed(item) for item in value]
    return value


def limit_descriptors(free):
    """Leave this Python ``free`` descriptors; None for the usual number."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 0 if free is not None else hard
    while limit < hard and free >= 0:
        free -= not os.path.exists("/proc/self/fd/%d" % limit)
        limit += free >= 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def is_without_children():
    """Return True if this Python has no child, not even one that has exited."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return False
    except OSError:
        return True
