"""Write the output of commands, and errors."""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from typing import Callable, Protocol, TextIO

from ..commands.lines import Lines as OutputLines
from ..util import escape_controls

# erase from the cursor to the end of the line (console_codes(4))
_ERASE = "\033[K"
# seconds to wait for another thread that writes
_STUCK = 0.5

Write = Callable[[bytes], None]


class Output:
    """Write the output of all hosts, in blocks or in whole lines."""

    def __init__(self, prefix: bool = False, raw: bool = False) -> None:
        """Escape characters that a stream's encoding can't represent.

        :param prefix: begin each line with its host.
        :param raw: do not escape control characters in the commands' output.
        """
        self._prefix = prefix
        self._raw = raw
        self._lock = threading.Lock()
        self._has_status = False
        self.closed = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def close(self) -> None:
        """Drop all further output."""
        self.closed = True

    @contextlib.contextmanager
    def streams(self, host: str, broken: Callable[[], None]) -> Iterator[tuple[Write, Write]]:
        """Return a context manager with functions that write blocks of a command's stdout and stderr.

        :param broken: called if output can no longer be written.
        """
        pairs = [(stream, self._form(host, stream)) for stream in (sys.stdout, sys.stderr)]

        def writer(stream: TextIO, form: Form) -> Write:
            def write(block: bytes) -> None:
                try:
                    self._write(stream, form.feed(block))
                except OSError:
                    self.close()
                    broken()
                    raise

            return write

        try:
            yield writer(*pairs[0]), writer(*pairs[1])
        finally:
            for stream, form in pairs:
                self._write(stream, form.end())

    def _form(self, host: str, stream: TextIO) -> Form:
        if self._prefix:
            return _WithHost(host, str if self._raw else escape_controls)
        return _Escaped() if stream.isatty() and not self._raw else _Unchanged()

    def _write(self, stream: TextIO, part: str | bytes) -> None:
        with self._lock:
            if part and not self.closed:
                # for a pipe, too: its reader may write to the same terminal
                self._erase()
                if isinstance(part, bytes):
                    stream.buffer.write(part)
                else:
                    stream.write(part)
                stream.flush()

    def show_status(self, line: str, is_over: threading.Event) -> None:
        """Replace the line below the output, on a terminal.

        :param is_over: then the line is not wanted any longer.
        """
        with self._lock, contextlib.suppress(OSError):
            if not (is_over.is_set() or self.closed):
                self._has_status = True
                sys.stderr.write(f"\r{line}{_ERASE}")
                sys.stderr.flush()

    def erase_status(self) -> None:
        # with a timeout: a thread that writes to a stopped terminal may hold the lock forever
        if self._lock.acquire(timeout=_STUCK):
            try:
                self._erase()
            finally:
                self._lock.release()

    def _erase(self) -> None:
        # OSError: the terminal was closed, but stdout may be a file
        with contextlib.suppress(OSError):
            if self._has_status:
                self._has_status = False
                sys.stderr.write(f"\r{_ERASE}")
                sys.stderr.flush()

    def write_line(self, line: str) -> None:
        self._write(sys.stdout, escape_controls(line) + "\n")

    def write_output_line(self, line: str) -> None:
        """Write a line of a command's output."""
        self._write(sys.stdout, (line if self._raw else escape_controls(line)) + "\n")

    def write_json(self, line: str) -> None:
        # JSON has its own escapes
        self._write(sys.stdout, line + "\n")

    def write_error(self, line: str) -> None:
        self._write(sys.stderr, escape_controls(line) + "\n")

    def problem(self, host: str, text: str) -> None:
        self.write_error(in_one_line(host, text))


class Form(Protocol):
    """The form of a command's output."""

    def feed(self, block: bytes) -> str | bytes:
        """Return the output to write after the next block."""

    def end(self) -> str | bytes:
        """Return the rest of the output to write at EOF."""


class _Unchanged:
    def feed(self, block: bytes) -> bytes:
        return block

    def end(self) -> bytes:
        return b""


class _Escaped:
    """Text for a terminal, written as it arrives, with its control characters escaped."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        # hold back a CR at the end of a block until the next block, which may begin with LF
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=False)

    def feed(self, block: bytes) -> str:
        return self._escaped(self._decoder.decode(block))

    def end(self) -> str:
        return self._escaped(self._decoder.decode(b"", final=True))

    def _escaped(self, text: str) -> str:
        return "\n".join(map(escape_controls, text.replace("\r\n", "\n").split("\n")))


class _WithHost:
    """Whole lines with the name of the host."""

    def __init__(self, host: str, shown: Callable[[str], str]) -> None:
        self._prefix = f"{escape_controls(host)}: "
        self._shown = shown
        self._lines = OutputLines("backslashreplace")

    def feed(self, block: bytes) -> str:
        return self._with_host(self._lines.feed(block))

    def end(self) -> str:
        return self._with_host(self._lines.end())

    def _with_host(self, lines: list[str]) -> str:
        return "".join(f"{self._prefix}{self._shown(line)}\n" for line in lines)


def in_one_line(host: str, text: str) -> str:
    """Return an error as one line."""
    lines = "; ".join(filter(None, map(str.strip, text.split("\n"))))
    return f"remoto: {host}: {lines.removeprefix(f'{host}: ')}"
