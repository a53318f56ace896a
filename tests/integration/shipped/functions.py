# -*- coding: utf-8 -*-
"""Functions for the remote side."""

import os
import sys
import time

COUNT = [0]
LOADED_AS = __name__

print("loaded")


def echo(*args, **kwargs):
    """Give back what came.

    More than one line.
    """
    return [list(args), kwargs]


def same(value):
    return value


def kinds(*args):
    return [type(arg).__name__ for arg in args]


def describe(value):
    """A text that tells tuples from lists."""
    if isinstance(value, (list, tuple)):
        return "%s(%s)" % (type(value).__name__, ", ".join(describe(item) for item in value))
    return repr(value).lstrip("u")


def count():
    COUNT[0] += 1
    return COUNT[0]


def fail(message):
    raise ValueError(message)


def fail_deeper():
    fail("ä from below")


def unwieldy():
    return set([1]), object()


def large(size):
    return "x" * size


def talk():
    print("to stdout")
    sys.stdout.write("no newline")
    sys.stderr.write("to stderr\n")
    return "answer"


def child():
    os.system("echo from a child")
    return 1


def leave(code):
    sys.exit(code)


def die(code):
    os._exit(code)


def kill():
    os.kill(os.getpid(), 9)


def recurse():
    return recurse()


def pid():
    return os.getpid()


def version():
    return list(sys.version_info[:2])


def executable():
    return sys.executable


def name():
    return LOADED_AS


def environment(name):
    return os.environ.get(name)


def where():
    return os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")


def touch(path):
    open(path, "w").close()


def exists(path):
    return os.path.exists(path)


def numbers(limit, path=None):
    try:
        for number in range(limit):
            yield number
    finally:
        if path:
            open(path, "w").close()


def broken_numbers():
    yield 1
    raise ValueError("broken")


def slowly(path):
    yield "first"
    while not os.path.exists(path):
        time.sleep(0.01)
    yield "second"


def nap(seconds, value):
    time.sleep(seconds)
    return value


def report_and_wait(path):
    print("ready")
    while not os.path.exists(path):
        time.sleep(0.01)
    return "done"


def touch_and_nap(path, seconds):
    touch(path)
    time.sleep(seconds)


def non_ascii():
    return u"ä€😀"


if __name__ == "__main__":
    raise RuntimeError("the main block ran")

if __name__ == "__channelexec__":
    for item in channel:  # noqa: F821
        channel.send(eval(item))  # noqa: F821
