"""RUNS ON THE REMOTE SIDE: describe exceptions."""

from __future__ import absolute_import, unicode_literals

import os
import sys

from .loading import SHIPPED


def describe():
    """Return a description of the current exception, for the controller's error. Never raise."""
    try:
        return described(*sys.exc_info())
    except:  # noqa: E722  an exception's attributes may run any code
        message = "an exception that can't be described"
        return {"name": "Exception", "message": message, "traceback": "Exception: " + message, "missing": False}


def described(kind, error, trace):
    import linecache
    import traceback

    for filename, source in SHIPPED.items():
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    while trace is not None and text(trace.tb_frame.f_code.co_filename).startswith(("remoto/remote/", "<string>")):
        trace = trace.tb_next
    name = kind.__name__
    if kind.__module__ not in ("builtins", "exceptions", "__main__"):
        name = kind.__module__ + "." + name
    message, is_bytes = "(its text is not available)", True
    try:
        message = text(str(error))
    except UnicodeError:  # Python 2's str() encodes it as ASCII
        message, is_bytes = text(unicode(error)), False  # type: ignore[name-defined] # noqa: F821
    except Exception:
        pass
    try:
        lines = [text(line) for line in traceback.format_exception(kind, error, trace)]
    except Exception:
        lines = ["%s: %s\n" % (name, message)]
    if not is_bytes:
        lines[-1] = "%s: %s\n" % (name, message)
    return {
        "name": name,
        "message": message,
        "traceback": "".join(lines),
        "missing": issubclass(kind, ImportError),
    }


def text(value):
    return printable(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)


def printable(value):
    r"""Escape lone surrogates, for instance as \udcff, so that text can be encoded."""
    if sys.version_info[0] == 3:
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    import re

    # in Python 2, a pair of surrogates may be one character
    lone = u"[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]"
    return re.sub(lone, lambda found: "\\u%04x" % ord(found.group()), value)


def exit_status(error):
    """Return the exit status of a SystemExit; print a message to stderr, as Python does."""
    code = error.code
    if code is None or isinstance(code, int):
        return int(code or 0)
    sys.stderr.write("%s\n" % (code,))
    return 1


def end_child(error):
    """Exit a child that a function has forked, as Python would, since only the first process sends the answer.

    :param error: the exception that the function raised in the child, or None.
    """
    status = 0
    try:
        if isinstance(error, SystemExit):
            status = exit_status(error)
        elif error is not None:
            status = 1
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status & 255)
