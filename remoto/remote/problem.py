"""RUNS ON THE FAR SIDE: an exception in words. Comes behind loading.py."""

import sys


def describe():
    """The exception that is being handled: what the controller makes its own error of."""
    import linecache
    import traceback

    kind, error, trace = sys.exc_info()
    for filename, source in SHIPPED.items():  # noqa: F821
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(("remoto/remote/", "<string>")):
        trace = trace.tb_next
    name = kind.__name__
    if kind.__module__ not in ("builtins", "exceptions", "__main__"):
        name = kind.__module__ + "." + name
    try:
        message = text(str(error))
    except Exception:
        message = "(its text can't be had)"
    try:
        lines = traceback.format_exception(kind, error, trace)
    except Exception:
        lines = ["%s: %s\n" % (name, message)]
    missing = isinstance(error, ImportError)
    return {"name": name, "message": message, "traceback": "".join(text(line) for line in lines), "missing": missing}


def text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
