"""Log lines of output, and format log records for a terminal."""

from __future__ import annotations

import copy
import logging
import sys
from typing import TYPE_CHECKING, Callable

import execnet

from .lazy import importing
from .util import escape_controls

if TYPE_CHECKING:
    from typing import Protocol

    from .backends import BaseConnection

    class AnyLogger(Protocol):
        """A logger, a LoggerAdapter, or a program's own object with these methods."""

        def debug(self, msg: str, /, *args: object) -> object: ...

        def info(self, msg: str, /, *args: object) -> object: ...

        def warning(self, msg: str, /, *args: object) -> object: ...

        def error(self, msg: str, /, *args: object) -> object: ...


__all__ = ["TerminalFormatter", "basic_remote_logger", "reporting"]


def basic_remote_logger(name: str | None = None) -> logging.Logger:
    """Return the default logger of a connection.

    Its level is DEBUG unless the program has set one, so that the output of commands, which is logged at DEBUG, is
    shown even after ``logging.basicConfig(level=logging.INFO)``. If the program has not configured logging, as in an
    interactive session, the records go to stderr.

    :param name: the logger's name, usually the connection's hostname; this machine's name by default.
    """
    name = name or _this_machine()
    is_new = name not in logging.Logger.manager.loggerDict
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        if is_new:
            # setLevel() looks at every logger of the program: with 10,000 hosts that takes nine seconds
            logger.level = logging.DEBUG
        else:
            logger.setLevel(logging.DEBUG)
    if not logger.hasHandlers():
        logger.addHandler(_unconfigured)
    elif _unconfigured in logger.handlers and logging.getLogger().handlers:
        logger.removeHandler(_unconfigured)
    return logger


def _this_machine() -> str:
    with importing:
        import socket  # importing it takes as long as importing remoto, and most loggers have a name

    return socket.gethostname()


class TerminalFormatter(logging.Formatter):
    r"""A formatter for handlers that write to a terminal.

    It escapes control characters, so that the output of a host can neither move the cursor nor set the title.

    It accepts the arguments of ``logging.Formatter``. It escapes the message, the logger's name, the traceback and the
    stack (:func:`remoto.util.escape_controls`). It keeps newlines, tabs and the format itself, with its colours. Other
    handlers receive the record unchanged.

    >>> handler = logging.StreamHandler(sys.stdout)
    >>> handler.setFormatter(TerminalFormatter('%(name)s: %(message)s'))
    >>> handler.emit(logging.makeLogRecord({'name': 'node1', 'msg': '10%\r\x1b]0;title\x07'}))
    node1: 10%\r\x1b]0;title\x07
    """

    def format(self, record: logging.LogRecord) -> str:
        shown = copy.copy(record)
        shown.msg, shown.args = _escaped(record.getMessage()), None
        shown.name = _escaped(str(record.name))
        if record.exc_info and not record.exc_text:
            shown.exc_text = self.formatException(record.exc_info)
        if shown.exc_text:
            shown.exc_text = _escaped(shown.exc_text)
        if record.stack_info:
            shown.stack_info = _escaped(record.stack_info)
        return super().format(shown)


def _escaped(text: str) -> str:
    return "\n".join(map(escape_controls, text.split("\n")))


class _ShownUnlessConfigured(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            print(self.format(record), file=sys.stderr, flush=True)


_unconfigured = _ShownUnlessConfigured()
_unconfigured.setFormatter(TerminalFormatter(logging.BASIC_FORMAT))


def reporting(conn: BaseConnection, result: execnet.Channel, timeout: float | None = None) -> None:
    """Log the messages of a channel until it ends.

    :param conn: the connection whose ``logger`` is used.
    :param result: the channel. ``receive(timeout)`` must return a ``{level: text}``, where the level is ``debug``,
        ``warning`` or ``error``, and raise EOFError at the end.
    :param timeout: seconds to wait for each message; None means no limit. After a timeout, log a warning and return.
    :raises Exception: any other error of ``receive``.
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
            timed_out(conn.logger, timeout)
            return
        for level, text in received.items():
            if isinstance(text, bytes):
                text = text.decode("utf-8", "backslashreplace")
            logs[level](text.rstrip("\r\n"))


def timed_out(logger: logging.Logger, timeout: float | None) -> None:
    logger.warning("No data was received after %s seconds, disconnecting...", timeout)
