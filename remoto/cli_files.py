"""The command line for files: ``remoto put HOST... -- SOURCE DESTINATION``, ``remoto get HOST... -- SOURCE DESTINATION``"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
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
Copy a file or a folder from a host to here. From several hosts each copy goes to DESTINATION/HOST: a folder's contents
there, again and again.
""",
}
EPILOG = """\
exit status: 1 when something could not be copied; 255 when there was no connection to a host; 130 after Ctrl-C; 141 when
nobody reads the output any more; 2 for a wrong call.
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
    return _Copies(action, source, destination, options).do()


class _Copies:
    """The copies to or from all hosts."""

    def __init__(self, action: str, source: str, destination: str, options: argparse.Namespace) -> None:
        self._action = action
        self._source = source
        self._destination = destination
        self._options = options
        self._output = cli._Output(prefix=False)
        self._connections: list[Any] = []

    def do(self) -> int:
        """The highest exit status."""
        with _progress(f"{self._action} {self._source}", self._output) as progress:
            return cli.on_all_hosts(
                lambda host: self._copy(host, progress), self._options, self._output, self._connections
            )

    def _copy(self, host: str, progress: _Lines) -> int:
        """The exit status for one host."""
        try:
            conn = cli.connect(host, self._options)
            self._connections.append(conn)
            if self._output.closed:
                return cli.INTERRUPTED
            with conn:
                show = progress.of(host)
                if self._action == "put":
                    file_sync.put(conn, self._source, self._destination, progress=show, timeout=self._options.timeout)
                else:
                    self._get(conn, host, show)
                progress.done(host)
                return 0
        except FileTransferError as error:
            return progress.problem(host, str(error).removeprefix(f"{error.host}: "), FAILED)
        except (RemotoError, ValueError) as error:
            return progress.problem(host, str(error), cli.NO_CONNECTION)
        except BrokenPipeError:
            raise
        except OSError as error:
            return progress.problem(host, str(error), FAILED)

    def _get(self, conn: Any, host: str, show: Show) -> None:
        get, destination = file_sync.get, self._destination
        if len(self._options.hosts) > 1:
            os.makedirs(destination, exist_ok=True)
            get, destination = file_sync.get_as, os.path.join(destination, host)
        get(conn, self._source, destination, progress=show, timeout=self._options.timeout)


class _Lines:
    """A line for each host when it is done."""

    def __init__(self, what: str, output: cli._Output) -> None:
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


class _Bars(_Lines):
    """A bar for each host, by rich."""

    def __init__(self, what: str, output: cli._Output, bars: Any) -> None:
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
            self._bars.console.print(cli.in_one_line(host, text), markup=False, highlight=False, soft_wrap=True)
        return status


@contextlib.contextmanager
def _progress(what: str, output: cli._Output) -> Iterator[_Lines]:
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        Progress = None  # type: ignore[assignment,misc]
    if Progress is None or not sys.stderr.isatty():
        yield _Lines(what, output)
        return
    with Progress(console=Console(stderr=True)) as bars:
        yield _Bars(what, output, bars)


def _parser(action: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"remoto {action}",
        usage="%(prog)s [options] HOST... -- SOURCE DESTINATION",
        description=DESCRIPTIONS[action],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_connection(parser)
    help = "give up after so many seconds without an answer"
    parser.add_argument("--timeout", type=cli.seconds, metavar="SECONDS", help=help)
    cli.add_program(parser)
    cli.add_hosts(parser)
    return parser
