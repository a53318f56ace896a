"""RUNS ON THE REMOTE SIDE, in its own Python: calls one function, and writes the answer to stdout.

Starting Python takes most of the time of a call. So what a simple answer does not need is imported on first use.
"""

from __future__ import absolute_import, unicode_literals

import os
import sys

from .loading import PY2, load

NUMBERS = (int, float, long) if PY2 else (int, float)  # type: ignore[name-defined] # noqa: F821
TEXT = unicode if PY2 else str  # type: ignore[name-defined] # noqa: F821


class NeedsJson(Exception):
    """The value needs the json module; importing it takes as long as starting Python."""


def plain(value, depth=0):
    """Return the JSON of a simple value."""
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if kind in NUMBERS:
        text = repr(value).rstrip("L")
        if "n" not in text:  # inf and nan
            return text
    if kind is TEXT and len(value) < 1000:
        text = repr(value).lstrip("u")
        # ASCII without escapes: JSON has the same text in double quotes
        if len(text) == len(value) + 2 and '"' not in value and value.isprintable() and max(value or " ") < "\x7f":
            return '"' + value + '"'
    if kind in (list, tuple) and len(value) < 100 and depth < 10:
        return "[" + ", ".join([plain(item, depth + 1) for item in value]) + "]"
    raise NeedsJson


def encode(value, function):
    try:
        return plain(value)
    except (NeedsJson, AttributeError, ValueError):  # Python 2's text has no isprintable(), an int may be too long
        pass
    import json

    culprits = []

    def refuse(part):
        culprits.append(part)
        raise TypeError

    try:
        return json.dumps(value, default=refuse)
    except Exception as error:
        reason = "" if culprits else ": %s" % (error,)
    kind = type((culprits or [value])[-1]).__name__
    if kind == "generator":
        reason = "; remote_import_system = 'legacy' streams generators"
    raise TypeError("%s() returned %s, which JSON can't carry%s" % (function, kind, reason))


def duplicate_of_stdout():
    """Return a duplicate of stdout's descriptor, for the answer: the function may close or redirect stdout."""
    fd = os.dup(1)
    if PY2:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return fd


def failure():
    """Return the answer, in JSON, for an exception or exit."""
    from .exceptions import describe, exit_status

    # not error.__class__, which a class may define as anything
    kind, error = sys.exc_info()[:2]
    assert kind is not None
    description = None
    if not issubclass(kind, SystemExit):
        description = describe()
    else:
        status = exit_status(error)
        if status:
            description = {"name": "SystemExit", "message": str(status), "traceback": "", "missing": False}
    import json

    return json.dumps({"raise": description} if description else {"return": None})


def call(mark, function, args, kwargs, module, included, parents):
    pid = os.getpid()
    answers = duplicate_of_stdout()
    if hasattr(sys.stdout, "reconfigure"):
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    else:
        from .printing import accept_any_text

        accept_any_text()
    try:
        if included or parents:
            from .including import include

            include(included, parents, module[0])
        # remoto 1.x ran the module as __main__, where __builtins__ is the module, not its dictionary
        builtins = sys.modules["__builtin__" if PY2 else "builtins"]
        result = getattr(load(module, builtins), function)(*args, **kwargs)
        if os.getpid() != pid:
            sys.exit()
        answer = '{"return": %s}' % encode(result, function)
    except:  # noqa: E722  Python 2's exceptions may be of classes that have no base
        if os.getpid() != pid:
            from .exceptions import end_child

            end_child(sys.exc_info()[1])
        answer = failure()
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
