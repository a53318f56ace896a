"""Small helpers that programs import by name."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Sequence

__all__ = ["RemoteError", "admin_command", "escape_controls"]

# seconds, about 24 days: poll(2) takes milliseconds in a C int
_LONGEST_WAIT = (2**31 - 1) // 1000


def admin_command(sudo: bool, command: str | Sequence[str]) -> str | Sequence[str]:
    """Add ``sudo`` to a command, if it is needed.

    :param sudo: True adds ``sudo``.
    :param command: a list or tuple of arguments; a string is a single argument.
    :returns: a new list that begins with ``sudo``, or the unchanged command.

    >>> admin_command(True, ['ls', '-a'])
    ['sudo', 'ls', '-a']
    >>> admin_command(False, ['ls', '-a'])
    ['ls', '-a']
    """
    if not sudo:
        return command
    argv = list(command) if isinstance(command, (list, tuple)) else [command]
    return ["sudo", *argv]


def checked_text(name: str, value: object) -> str | None:
    """Return a string or path as a string; None if it is empty or None.

    :param name: the argument's name, for the error.
    :raises TypeError: it is neither a string nor a path.
    :raises ValueError: it contains a NUL, which no program can receive as an argument.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if text is not None and not isinstance(text, str):
        raise TypeError(f"{name}: expected str, not {type(value).__name__}: {value!r}")
    if text and "\0" in text:
        raise ValueError(f"{name}: embedded null byte: {value!r}")
    return text or None


def checked_seconds(name: str, seconds: object) -> float | None:
    """Return a time limit in seconds, or None for no limit: for None, 0, and more seconds than the system can wait.

    :param name: the argument's name, for the error.
    :raises TypeError: it is not a number.
    :raises ValueError: it is negative or NaN.

    >>> checked_seconds('timeout', 7), checked_seconds('timeout', 0)
    (7, None)
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name}: expected seconds, not {type(seconds).__name__}: {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"{name}: expected 0 or more seconds, not {seconds!r}")
    return seconds if 0 < seconds <= _LONGEST_WAIT else None


class _Shown(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 80

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value) if len(value) <= self.maxother else f"{value[: self.maxother]!r}... ({len(value)} bytes)"

    def repr_int(self, value: int, level: int) -> str:
        # repr() of a long int raises ValueError (sys.get_int_max_str_digits())
        return repr(value) if value.bit_length() < 256 else f"<int of {value.bit_length()} bits>"


#: return a short repr() of a received value, for errors
shown = _Shown().repr

# C0 (but the tab), DEL and C1 control a terminal; U+2028 and U+2029 may begin a new line; bidirectional embeddings,
# overrides and isolates show text in another order (https://trojansource.codes); lone surrogates can't be encoded
_CONTROLS = r"[\x00-\x08\n-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def escape_controls(text: str) -> str:
    r"""Escape the control characters of text, as in a Python literal, so that it can't control a terminal.

    Also escape bidirectional embeddings, overrides and isolates, line separators, and lone surrogates; surrogate
    escapes become ``\xNN``. Keep tabs.

    >>> print(escape_controls('10%\r20%\x1b[2J'))
    10%\r20%\x1b[2J
    """
    return text if text.isprintable() else re.sub(_CONTROLS, _escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:x}"
    return ascii(character)[1:-1]


class RemoteError:
    """The exception at the end of a remote traceback.

    :param traceback: the text of the traceback.
    :ivar str exception_line: the last line that is not blank.
    :ivar str exception_name: the class of the exception, from that line.

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
