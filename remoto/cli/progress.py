"""Show the progress of copies, and their results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable, Union

from ..file_sync import CopyResult
from ..util import escape_controls
from .output import Output, in_one_line

if TYPE_CHECKING:
    import rich.progress

#: with more hosts than this, one bar counts the hosts, since a bar for each would fill the terminal
MOST_BARS = 10

Show = Callable[[int, Union[int, None]], object]


def summary(copied: CopyResult) -> str:
    """Return a short summary of a copy.

    >>> from remoto.file_sync import CopyResult
    >>> summary(CopyResult(copied=2, unchanged=3, size=1234))
    '1,234 bytes, 3 files unchanged'
    >>> summary(CopyResult(copied=0, unchanged=1, size=0))
    'unchanged'
    """
    sent = [f"{copied.size:,} bytes"] if copied.copied or not copied.unchanged else []
    if (copied.copied, copied.unchanged) == (0, 1):
        return "unchanged"
    files = "file" if copied.unchanged == 1 else "files"
    same = [f"{copied.unchanged:,} {files} unchanged"] if copied.unchanged else []
    return ", ".join([*sent, *same])


class Lines:
    """Write a line for each host when its copy is complete, but not after ``rsync``, which has no result."""

    def __init__(self, what: str, output: Output) -> None:
        self._what = what
        self._output = output

    def of(self, host: str) -> Show | None:
        return None

    def done(self, host: str, copied: CopyResult | None) -> None:
        if copied is not None:
            self._output.write_line(f"{host}: {self._what}: {summary(copied)}")

    def problem(self, host: str, text: str) -> None:
        self._output.problem(host, text)


class Bars(Lines):
    """Show a progress bar for each host, with rich."""

    def __init__(self, what: str, output: Output, bars: rich.progress.Progress) -> None:
        super().__init__(what, output)
        self._bars = bars
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def of(self, host: str) -> Show | None:
        from rich.markup import escape

        task = self._tasks[host] = self._bars.add_task(escape(escape_controls(f"{host}: {self._what}")), total=None)
        return lambda number, total: self._bars.update(task, completed=number, total=total)

    def done(self, host: str, copied: CopyResult | None) -> None:
        from rich.markup import escape

        if host in self._tasks and copied is not None:
            line = escape(escape_controls(f"{host}: {self._what}: {summary(copied)}"))
            # the bar has no total if nothing was sent
            self._bars.update(self._tasks[host], description=line, completed=1, total=1)

    def problem(self, host: str, text: str) -> None:
        if host in self._tasks:
            self._bars.remove_task(self._tasks.pop(host))
            self._bars.refresh()
        self._print(in_one_line(host, text))

    def _print(self, line: str) -> None:
        """Print a line above the bars."""
        if not self._output.closed:
            self._bars.console.print(escape_controls(line), markup=False, highlight=False, soft_wrap=True)


class BarOfHosts(Bars):
    """Show one progress bar, which counts the hosts that are done, with rich."""

    def __init__(self, what: str, output: Output, bars: rich.progress.Progress, hosts: int) -> None:
        super().__init__(what, output, bars)
        self._all = bars.add_task(f"{hosts} hosts", total=hosts)

    def of(self, host: str) -> None:
        return None

    def done(self, host: str, copied: CopyResult | None) -> None:
        if copied is not None:
            self._print(f"{host}: {self._what}: {summary(copied)}")
        self._bars.advance(self._all)

    def problem(self, host: str, text: str) -> None:
        super().problem(host, text)
        self._bars.advance(self._all)


@contextlib.contextmanager
def progress(what: str, output: Output, hosts: int) -> Iterator[Lines]:
    """Show progress bars inside the block if stderr is a terminal and rich is installed, else lines."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        Progress = None  # type: ignore[assignment,misc]
    if Progress is None or not sys.stderr.isatty():
        yield Lines(what, output)
        return
    with Progress(console=Console(stderr=True)) as bars:
        yield Bars(what, output, bars) if hosts <= MOST_BARS else BarOfHosts(what, output, bars, hosts)
