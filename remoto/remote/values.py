"""RUNS ON BOTH SIDES: convert values that execnet can't serialise."""

from __future__ import absolute_import, unicode_literals

import sys

PYTHON_2 = sys.version_info[0] == 2
INTS = (int, long) if PYTHON_2 else (int,)  # type: ignore[name-defined] # noqa: F821
TEXTS = unicode if PYTHON_2 else str  # type: ignore[name-defined] # noqa: F821


def sendable(value):
    """Return the value unchanged. Raise ValueError if the peer could not load it from execnet's serialisation."""
    # this Python may not limit the digits of an int, but the peer may
    if not getattr(sys, "get_int_max_str_digits", int)() and unreadable(value):
        raise ValueError("it must be packed")
    return value


def unreadable(value):
    if isinstance(value, INTS):
        return value.bit_length() > 4096
    if isinstance(value, TEXTS):
        return PYTHON_2 and has_surrogates(value)
    if isinstance(value, dict):
        return any(unreadable(item) for pair in value.items() for item in pair)
    return isinstance(value, (list, tuple, set, frozenset)) and any(unreadable(item) for item in value)


def has_surrogates(text):
    import re

    return re.search(u"[\ud800-\udfff]", text) is not None


def pack(value):
    """Convert a value to types that execnet can serialise. Others become a tuple whose first item names the type."""
    if isinstance(value, bool):
        return value
    if isinstance(value, INTS):
        return ("int", "%x" % value)
    if isinstance(value, TEXTS):
        return ("text", TEXTS.encode(value, "unicode_escape").decode("ascii"))
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, tuple):
        return ("tuple",) + tuple([pack(item) for item in value])
    if isinstance(value, dict):
        return dict((pack(key), pack(item)) for key, item in value.items())
    for kind in (list, set, frozenset):
        if isinstance(value, kind):
            return kind([pack(item) for item in value])
    return value


def unpack(value):
    kind = type(value)
    if kind is tuple and value[0] == "int":
        return int(value[1], 16)
    if kind is tuple and value[0] == "text":
        return value[1].encode("ascii").decode("unicode_escape")
    if kind is tuple:
        return tuple([unpack(item) for item in value[1:]])
    if kind is dict:
        return dict((unpack(key), unpack(item)) for key, item in value.items())
    if kind in (list, set, frozenset):
        return kind([unpack(item) for item in value])
    return value
