"""What the command line writes: lines of many hosts, problems, progress."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from typing import Any, Callable, TextIO

Show = Callable[[int, int], Any]


class Output:
    """Whole lines of many hosts, one at a time."""

    def __init__(self, prefix: bool) -> None:
        #: whether lines begin with their host; without it bytes pass through as they come
        self.prefix = prefix
        self._lock = threading.Lock()
        self.closed = False
        for stream in (sys.stdout, sys.stderr):
            # what this terminal can't show is shown escaped
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")

    def close(self) -> None:
        """From here on everything is dropped."""
        self.closed = True

    def writer(self, host: str, stream: TextIO, broken: Callable[[], None]) -> Callable[[Any], None]:
        """A function that writes a line, or a block of bytes; ``broken`` is called when nobody reads any more."""

        def write(part: Any) -> None:
            with self._lock:
                if self.closed:
                    return
                try:
                    if self.prefix:
                        stream.write(f"{host}: {part}\n")
                    else:
                        stream.buffer.write(part)
                    stream.flush()
                except OSError:
                    broken()
                    raise

        return write

    def write_line(self, line: str) -> None:
        with self._lock:
            if not self.closed:
                print(line, flush=True)

    def problem(self, host: str, text: str, status: int) -> int:
        with self._lock:
            if not self.closed:
                print(in_one_line(host, text), file=sys.stderr)
        return status


def in_one_line(host: str, text: str) -> str:
    lines = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return f"remoto: {host}: {lines.removeprefix(f'{host}: ')}"


class Lines:
    """A line for each host when it is done."""

    def __init__(self, what: str, output: Output) -> None:
        self._what = what
        self._output = output
        self._sizes: dict[str, int] = {}

    def of(self, host: str) -> Show:
        def show(number: int, total: int) -> None:
            self._sizes[host] = number

        return show

    def done(self, host: str) -> None:
        self._output.write_line(f"{host}: {self._what}: {self._sizes.get(host, 0):,} bytes")

    def problem(self, host: str, text: str, status: int) -> int:
        return self._output.problem(host, text, status)


class Bars(Lines):
    """A bar for each host, by rich."""

    def __init__(self, what: str, output: Output, bars: Any) -> None:
        super().__init__(what, output)
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def of(self, host: str) -> Show:
        from rich.markup import escape

        task = self._tasks[host] = self._bars.add_task(escape(f"{host}: {self._what}"), total=None)
        return lambda number, total: self._bars.update(task, completed=number, total=total)

    def done(self, host: str) -> None:
        # where nothing had to be sent there was no total either
        if host in self._tasks:
            self._bars.update(self._tasks[host], completed=1, total=1)

    def problem(self, host: str, text: str, status: int) -> int:
        if host in self._tasks:
            self._bars.remove_task(self._tasks.pop(host))
            self._bars.refresh()
        if not self._output.closed:
            self._bars.console.print(in_one_line(host, text), markup=False, highlight=False, soft_wrap=True)
        return status


@contextlib.contextmanager
def progress(what: str, output: Output) -> Iterator[Lines]:
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        Progress = None  # type: ignore[assignment,misc]
    if Progress is None or not sys.stderr.isatty():
        yield Lines(what, output)
        return
    with Progress(console=Console(stderr=True)) as bars:
        yield Bars(what, output, bars)
