"""Small helpers that programs import by name."""

from __future__ import annotations

import os
import re
import reprlib
from typing import Any

__all__ = ["RemoteError", "admin_command", "escape_controls"]

# seconds, about 24 days: poll(2) takes milliseconds in a C int
_LONGEST_WAIT = (2**31 - 1) // 1000


def admin_command(sudo: bool, command: Any) -> Any:
    """Put ``sudo`` before a command where it is asked for.

    :param sudo: whether to.
    :param command: a list or tuple of words, or a string, which counts as one word.
    :returns: a new list that begins with ``sudo``, or the command as it came.

    >>> admin_command(True, ['ls', '-a'])
    ['sudo', 'ls', '-a']
    >>> admin_command(False, ['ls', '-a'])
    ['ls', '-a']
    """
    if not sudo:
        return command
    words = list(command) if isinstance(command, (list, tuple)) else [command]
    return ["sudo", *words]


def checked_text(name: str, value: Any) -> str | None:
    """Return an argument that is text or a path; None if it is empty or None.

    :param name: the argument's name, for the error.
    :raises TypeError: it is something else.
    :raises ValueError: it has a NUL, which no argument of a program can have.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if text is not None and not isinstance(text, str):
        raise TypeError(f"{name}: expected str, not {type(value).__name__}: {value!r}")
    if text and "\0" in text:
        raise ValueError(f"{name}: has a NUL character: {value!r}")
    return text or None


def bound(name: str, seconds: Any) -> float | None:
    """Return a number of seconds to wait; None, 0, infinity and whatever is longer than the system can wait mean no limit: None.

    :param name: what it is called, for the error.
    :raises TypeError: it is no number.
    :raises ValueError: it is negative or not a number.

    >>> bound('timeout', 7), bound('timeout', 0)
    (7, None)
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name}: expected seconds, not {type(seconds).__name__}: {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"{name}: not a number of seconds: {seconds!r}")
    return seconds if 0 < seconds <= _LONGEST_WAIT else None


class _Shown(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 80

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value) if len(value) <= self.maxother else f"{value[: self.maxother]!r}... ({len(value)} bytes)"

    def repr_int(self, value: int, level: int) -> str:
        # Python refuses to convert a longer one
        return repr(value) if value.bit_length() < 256 else f"<int of {value.bit_length()} bits>"


#: repr() of anything that was received, for an error: short, whatever its size and depth
shown = _Shown().repr

# C0 (but the tab), DEL and C1 control a terminal; U+2028 and U+2029 may begin a new line; bidirectional embeddings, overrides
# and isolates show text in another order (https://trojansource.codes); lone surrogates can't be encoded
_CONTROLS = re.compile(r"[\x00-\x08\n-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_controls(text: str) -> str:
    r"""Return a text with its control characters escaped as in a Python literal, so that it can't control a terminal.

    Tabs are kept. Escaped as well: bidirectional embeddings, overrides and isolates, line separators, and lone surrogates,
    of which those that stand for bytes become ``\xNN``.

    >>> print(escape_controls('10%\r20%\x1b[2J'))
    10%\r20%\x1b[2J
    """
    return text if text.isprintable() else _CONTROLS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:x}"
    return ascii(character)[1:-1]


class RemoteError:
    """What the text of a remote traceback says.

    :param traceback: the whole text.
    :ivar str exception_line: its last line that is not blank.
    :ivar str exception_name: the exception's class, as that line names it.

    >>> error = RemoteError('Traceback (most recent call last):\\nOSError: [Errno 2] No such file\\n')
    >>> error.exception_name
    'OSError'
    >>> error.exception_line
    'OSError: [Errno 2] No such file'
    """

    def __init__(self, traceback: str) -> None:
        self.traceback = traceback
        lines = [line for line in traceback.splitlines() if line.strip()]
        self.exception_line = lines[-1] if lines else ""
        self.exception_name = self.exception_line.split(":", 1)[0].strip()
