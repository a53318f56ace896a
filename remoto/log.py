"""The far side's output becomes lines, and lines become log records."""

from __future__ import annotations

import logging
import sys
from typing import Any, Callable

import execnet


def basic_remote_logger(name: str | None = None) -> logging.Logger:
    """The logger of a connection that was given none.

    Where nobody has set up logging, as in an interactive session, its records are shown on stderr, from DEBUG up. Once the
    program sets it up, its settings alone count.

    :param name: usually the connection's hostname; this machine's name by default.
    """
    import socket  # only here: it takes as long to import as all of this package

    logger = logging.getLogger(name or socket.gethostname())
    if not logger.hasHandlers():
        logger.addHandler(_unconfigured)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.DEBUG)
    elif _unconfigured in logger.handlers and logging.getLogger().handlers:
        logger.removeHandler(_unconfigured)
        logger.setLevel(logging.NOTSET)
    return logger


class _ShownUnlessConfigured(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            print(self.format(record), file=sys.stderr, flush=True)


_unconfigured = _ShownUnlessConfigured()
_unconfigured.setFormatter(logging.Formatter(logging.BASIC_FORMAT))


class Lines:
    r"""Puts blocks of bytes together to lines.

    :param errors: how bytes that are not UTF-8 come out: ``surrogateescape`` keeps them, ``backslashreplace`` shows them.
    :param lone_cr: whether a CR that no LF follows ends a line.

    >>> lines = Lines('backslashreplace')
    >>> lines.feed(b'one\ntw')
    ['one']
    >>> lines.feed(b'o\r\nthree')
    ['two']
    >>> lines.end()
    ['three']
    """

    def __init__(self, errors: str, lone_cr: bool = False) -> None:
        self._errors = errors
        self._lone_cr = lone_cr
        self._held_cr = b""  # the last byte of a block: a LF may follow
        self._rest: list[bytes] = []

    def feed(self, block: bytes) -> list[str]:
        """The lines that this block completes, without their ends."""
        if self._lone_cr:
            block = self._with_newlines_only(block)
        head, newline, tail = block.rpartition(b"\n")
        if not newline:
            self._rest.append(block)
            return []
        self._rest.append(head)
        whole = b"".join(self._rest)
        self._rest = [tail]
        return self._split(whole)

    def end(self) -> list[str]:
        """The last line, where no newline ended it."""
        whole = b"".join(self._rest)
        ended = bool(self._held_cr)
        self._rest, self._held_cr = [], b""
        return self._split(whole) if whole or ended else []

    def _with_newlines_only(self, block: bytes) -> bytes:
        block = self._held_cr + block
        if b"\r" not in block:
            return block
        self._held_cr = block[-1:] if block.endswith(b"\r") else b""
        return block[: len(block) - len(self._held_cr)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _split(self, whole: bytes) -> list[str]:
        lines = whole.decode("utf-8", self._errors).split("\n")
        return [line.rstrip("\r") for line in lines] if b"\r" in whole else lines


def split_lines(data: bytes) -> list[str]:
    r"""The lines of a whole output; LF, CR LF and a lone CR end one. Bytes that are not UTF-8 become lone surrogates.

    >>> split_lines(b'10%\r20%\nend')
    ['10%', '20%', 'end']
    """
    lines = Lines("surrogateescape", lone_cr=True)
    return [*lines.feed(data), *lines.end()]


def reporting(conn: Any, result: Any, timeout: float | None = None) -> None:
    """Log what a channel delivers until it ends.

    :param conn: the connection; its ``logger`` is used.
    :param result: what ``receive(timeout)`` of gives one ``{level: text}`` after the other, the level being ``debug``,
        ``warning`` or ``error``, until EOFError.
    :param timeout: seconds without anything; None for no bound. Then a warning is logged and this returns.
    :raises Exception: whatever else ``receive`` raises.
    """
    logs: dict[str, Callable[[str], None]] = {
        "debug": conn.logger.debug,
        "warning": conn.logger.warning,
        "error": conn.logger.error,
    }
    while True:
        try:
            received = result.receive(timeout)
        except EOFError:
            return
        except execnet.TimeoutError:
            timed_out(conn, timeout)
            return
        for level, text in received.items():
            if isinstance(text, bytes):
                text = text.decode("utf-8", "backslashreplace")
            logs[level](text.rstrip("\r\n"))


def timed_out(conn: Any, timeout: float | None) -> None:
    conn.logger.warning("No data was received after %s seconds, disconnecting...", timeout)
