"""RUNS ON BOTH SIDES: the answers to calls of functions."""

from __future__ import absolute_import, unicode_literals

from .exceptions import text
from .values import pack, sendable

# the kinds of answers; the first two are printed lines, named like the levels of logging
DEBUG, WARNING = "debug", "warning"
RETURN, RAISE, GENERATOR, ITEM, END = "return", "raise", "generator", "item", "end"
# items of a generator to send before the controller requests more
WINDOW = 32
# passed to a channel's callback when the channel ends
CLOSED = object()


def send(channel, kind, *value):
    """Send an answer or a part of one. Return False if the controller has closed the channel."""
    try:
        channel.send((kind,) + value)
        return True
    except (IOError, OSError):
        return False


def deliver(channel, kind, function, value):
    """Send a value, or an error if it can't be sent. Return True if the value was sent."""
    for form in (sendable, pack):
        try:
            return send(channel, kind, form(value), *([True] if form is pack else []))
        except Exception as error:  # execnet's DumpError, struct.error, RecursionError, ...
            reason = text(str(error))
    message = "%s() returned %s, which execnet can't carry: %s" % (function, type(value).__name__, reason)
    line = "TypeError: " + message
    send(channel, RAISE, {"name": "TypeError", "message": message, "traceback": line, "missing": False})
    return False
