"""The command line for files: ``remoto put HOST... -- SOURCE DESTINATION``, ``remoto get HOST... -- SOURCE DESTINATION``"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from . import cli, file_sync
from .exc import FileTransferError, RemotoError

DESCRIPTIONS = {
    "put": """\
Copy a file or a folder from here to one or several hosts.

Where DESTINATION is a folder, the copy goes into it; a SOURCE that ends with / stands for a folder's contents. Each file is
written beside its place and renamed; what is the same there already is not sent.
""",
    "get": """\
Copy a file or a folder from a host to here. From several hosts each copy goes to DESTINATION/HOST.
""",
}
EPILOG = """\
A host of the name put or get is reached with an option before it: remoto --no-prefix put -- COMMAND...

exit status: 1 when something could not be copied; 255 when there was no connection to a host; 2 for a wrong call.
"""
FAILED = 1

Show = Callable[[int, int], Any]


def main(action: str, words: Sequence[str]) -> int:
    """Run ``remoto put`` or ``remoto get``.

    :param action: which of the two.
    :param words: what is behind it on the command line.
    :returns: the exit status.
    """
    own, _, paths = cli.split(list(words))
    parser = _parser(action)
    options = parser.parse_args(own)
    if len(paths) != 2:
        parser.error("two paths belong behind --: SOURCE DESTINATION")
    cli.start_logging(options)
    source, destination = paths
    try:
        with _progress(f"{action} {source}") as progress, ThreadPoolExecutor(options.parallel) as pool:
            return max(
                pool.map(lambda host: _copy(action, host, source, destination, options, progress), options.hosts)
            )
    except KeyboardInterrupt:
        return cli.INTERRUPTED


def _copy(action: str, host: str, source: str, destination: str, options: argparse.Namespace, progress: _Lines) -> int:
    """The exit status for one host."""
    try:
        with cli.connect(host, options) as conn:
            show = progress.of(host)
            if action == "put":
                file_sync.put(conn, source, destination, progress=show)
            else:
                if len(options.hosts) > 1:
                    destination = os.path.join(destination, host)
                    os.makedirs(os.path.dirname(destination) or ".", exist_ok=True)
                file_sync.get(conn, source, destination, progress=show)
            progress.done(host)
            return 0
    except FileTransferError as error:
        progress.problem(cli.in_one_line(host, str(error)))
        return FAILED
    except (RemotoError, ValueError, OSError) as error:
        progress.problem(cli.in_one_line(host, str(error)))
        return cli.NO_CONNECTION


class _Lines:
    """A line for each host when it is done."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, host: str) -> Show:
        def show(number: int, total: int) -> None:
            self._sizes[host] = number

        return show

    def done(self, host: str) -> None:
        with self._lock:
            print(f"{host}: {self._what}: {self._sizes.get(host, 0):,} bytes")

    def problem(self, line: str) -> None:
        with self._lock:
            print(line, file=sys.stderr)


class _Bars(_Lines):
    """A bar for each host, by rich."""

    def __init__(self, what: str, bars: Any) -> None:
        super().__init__(what)
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def of(self, host: str) -> Show:
        task = self._tasks[host] = self._bars.add_task(f"{host}: {self._what}", total=None)
        return lambda number, total: self._bars.update(task, completed=number, total=total)

    def done(self, host: str) -> None:
        # where nothing had to be sent there was no total either
        self._bars.update(self._tasks[host], completed=1, total=1)

    def problem(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _progress(what: str) -> Iterator[_Lines]:
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        Progress = None  # type: ignore[assignment,misc]
    if Progress is None or not sys.stderr.isatty():
        yield _Lines(what)
        return
    with Progress(console=Console(stderr=True)) as bars:
        yield _Bars(what, bars)


def _parser(action: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"remoto {action}",
        usage="%(prog)s [options] HOST... -- SOURCE DESTINATION",
        description=DESCRIPTIONS[action],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_connection(parser)
    cli.add_program(parser)
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="HOST or USER@HOST")
    return parser
