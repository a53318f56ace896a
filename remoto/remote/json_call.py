"""RUNS ON THE REMOTE SIDE, in its own Python: calls one function, and writes the answer to stdout.

Starting Python takes most of the time of a call, and compiling this source much of the rest. So the code for
exceptions and unusual answers is in other modules.
"""

from __future__ import absolute_import, unicode_literals

import gc
import os
import sys

from .loading import PY2, load


class NeedsJson(Exception):
    """The value needs the json module; importing it takes as long as starting Python."""


def plain(value, depth=0):
    """Return the JSON of a simple value."""
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if kind in (int, float):
        text = repr(value)
        if "n" not in text:  # inf and nan
            return text
    elif kind is type("") and len(value) < 1000:
        # ASCII without escapes: JSON has the same text in double quotes
        if value.isprintable() and not ('"' in value or "\\" in value) and max(value or " ") < "\x7f":
            return '"' + value + '"'
    elif kind in (list, tuple) and len(value) < 100 and depth < 10:
        return "[" + ", ".join([plain(item, depth + 1) for item in value]) + "]"
    elif kind is dict and len(value) < 100 and depth < 10 and all(type(key) is type("") for key in value):
        pairs = [plain(key) + ": " + plain(value[key], depth + 1) for key in value]
        return "{" + ", ".join(pairs) + "}"
    raise NeedsJson


def encode(sent, value, function):
    try:
        return plain(value)
    except (NeedsJson, AttributeError, ValueError):  # Python 2's text has no isprintable(), an int may be too long
        pass
    return sent("json_answers").encode(value, function)


def duplicate_of_stdout():
    """Return a duplicate of stdout's descriptor, for the answer: the function may close or redirect stdout."""
    fd = os.dup(1)
    if PY2:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return fd


def call(sent, request):
    """Call the function, and write the answer.

    :param sent: returns a module of this directory.
    """
    if hasattr(gc, "freeze"):  # since Python 3.7
        gc.freeze()  # so that the collections at exit skip the objects of Python itself
    constants = {"inf": float("inf"), "nan": float("nan")}
    mark, function, args, kwargs, module, included, parents = eval(request, constants)
    pid = os.getpid()
    answers = duplicate_of_stdout()
    if hasattr(sys.stdout, "reconfigure"):
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    else:
        sent("printing").accept_any_text()
    try:
        if included or parents:
            sent("including").include(included, parents, module[0])
        # remoto 1.x ran the module as __main__, where __builtins__ is the module, not its dictionary
        builtins = sys.modules["__builtin__" if PY2 else "builtins"]
        result = getattr(load(module, builtins), function)(*args, **kwargs)
        if os.getpid() != pid:
            sys.exit()
        answer = '{"return": %s}' % encode(sent, result, function)
    except:  # noqa: E722  Python 2's exceptions may be of classes that have no base
        if os.getpid() != pid:
            sent("exceptions").end_child(sys.exc_info()[1])
        answer = sent("json_answers").failure()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # the function has closed stdout
    try:
        os.fstat(answers)
    except OSError:
        answers = 1  # the function has closed all descriptors that it had not opened
    data = (mark + " " + answer + "\n").encode("ascii")
    while data:
        data = data[os.write(answers, data) :]
