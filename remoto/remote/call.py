"""RUNS ON THE FAR SIDE, in a Python of its own: one call of one function, answered on stdout. Comes behind loading.py.

Starting that Python is what a call costs: whatever is not needed for a plain answer is left out until it is.
"""

import os
import sys

NUMBERS = (int, float) if sys.version_info[0] == 3 else (int, float, long)  # noqa: F821
TEXT = str if sys.version_info[0] == 3 else unicode  # noqa: F821


class Elaborate(Exception):
    """Something that needs all of json, which takes as long to import as Python to start."""


def plain(value, depth=0):
    """JSON of a simple value."""
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if kind in NUMBERS:
        text = repr(value).rstrip("L")
        if "n" not in text:  # inf and nan
            return text
    if kind is TEXT and len(value) < 1000:
        text = repr(value).lstrip("u")
        # then these are the same characters as in between the quotes of JSON
        if len(text) == len(value) + 2 and '"' not in value and value.isprintable() and max(value or " ") < "\x7f":
            return '"' + value + '"'
    if kind in (list, tuple) and len(value) < 100 and depth < 10:
        return "[" + ", ".join([plain(item, depth + 1) for item in value]) + "]"
    raise Elaborate


def encode(value, function):
    try:
        return plain(value)
    except (Elaborate, AttributeError):  # Python 2's text has no isprintable()
        pass
    import json

    def refuse(part):
        raise TypeError("%s() returned %s, which JSON can't carry" % (function, type(part).__name__))

    return json.dumps(value, default=refuse)


def end_early(code, function):
    """What sys.exit() in a function means; None for a plain end."""
    if code is None or code == 0:
        return None
    if not isinstance(code, int):
        sys.stderr.write("%s\n" % (code,))
        code = 1
    return {"name": "SystemExit", "message": str(code), "traceback": "", "missing": False}


def call(mark, function, args, kwargs, module, included, parents, including, problem):
    namespace = {"load": load, "fill": fill, "SHIPPED": SHIPPED}  # noqa: F821
    try:
        if including:
            exec(compile(including, "remoto/remote/including.py", "exec"), namespace)
            namespace["include"](included, parents)
        answer = '{"return": %s}' % encode(getattr(load(*module), function)(*args, **kwargs), function)  # noqa: F821
    except BaseException as error:
        if isinstance(error, SystemExit):
            description = end_early(error.code, function)
        else:
            exec(compile(problem, "remoto/remote/problem.py", "exec"), namespace)
            description = namespace["describe"]()
        import json

        answer = json.dumps({"raise": description} if description else {"return": None})
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # the function has closed it
    data = (mark + " " + answer + "\n").encode("ascii")
    while data:
        data = data[os.write(1, data) :]
