"""RUNS ON THE REMOTE SIDE, in its own Python: the answers of ``json_call.py`` that take the json module."""

from __future__ import absolute_import, unicode_literals

import json
import sys

from .exceptions import describe, exit_status


def encode(value, function):
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


def failure():
    """Return the answer for an exception or exit."""
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
    return json.dumps({"raise": description} if description else {"return": None})
