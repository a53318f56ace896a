"""``remoto put HOST... -- SOURCE DESTINATION`` and ``remoto get HOST... -- SOURCE DESTINATION``"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import file_sync
from ..exc import FileTransferError, RemotoError
from ..util import escape_controls
from .hosts import INTERRUPTED, NO_CONNECTION, Outcome, message, on_all_hosts, reason, summarise
from .options import Parser, add_connection, add_hosts, add_program, connect, parse, seconds, split, start_logging
from .output import Lines, Output, Show, progress

if TYPE_CHECKING:
    from ..backends import BaseConnection

DESCRIPTIONS = {
    "put": """\
Copy a local file or directory to one or more hosts.

If DESTINATION is a directory, the copy goes into it. A SOURCE that ends with / means the contents of that directory.
Each file is written under a temporary name and renamed when complete. Files that have not changed are not sent.
""",
    "get": """\
Copy a file or directory from one or more hosts to this machine.

A DESTINATION that ends with / is a directory, created if missing. With several hosts, each copy is named
DESTINATION/HOST; copying a directory again updates that copy.
""",
}
EPILOG = """\
exit status: 0; with several hosts, the highest. Otherwise:
  1        something could not be copied
  255      a host could not be connected to, or the connection was lost
  130      Ctrl-C
  143      SIGTERM
  141      the reader of the output closed it, as head does
  2        wrong usage
"""
FAILED = 1


def main(action: str, words: Sequence[str]) -> int:
    """Run ``remoto put`` or ``remoto get``.

    :param action: ``put`` or ``get``.
    :param words: the arguments that follow it.
    :returns: the exit status.
    """
    own, _, paths = split(list(words))
    parser = _parser(action)
    options = parse(parser, own)
    if len(paths) != 2:
        parser.error("two paths belong behind --: SOURCE DESTINATION")
    start_logging(options)
    source, destination = paths
    if action == "put":
        _require_source(parser, source)
    return _Copies(action, source, destination, options).do()


def _require_source(parser: argparse.ArgumentParser, source: str) -> None:
    """Exit before any connection, with a single error, if the local source is missing."""
    try:
        os.stat(source)
    except OSError as error:
        parser.exit(FAILED, escape_controls(f"remoto: local path {source}: {error.strerror}") + "\n")


class _Copies:
    """Copies to or from all hosts."""

    def __init__(self, action: str, source: str, destination: str, options: argparse.Namespace) -> None:
        self._action = action
        self._source = source
        self._destination = destination
        self._options = options
        self._output = Output()
        self._connections: list[BaseConnection] = []

    def do(self) -> int:
        """Copy; return the exit status."""
        with progress(f"{self._action} {self._source}", self._output) as shown:
            copy = functools.partial(self._copy, shown)
            outcomes = on_all_hosts(copy, self._options, self._output, self._connections)
        return summarise(self._options.hosts, outcomes, self._output)

    def _copy(self, shown: Lines, host: str) -> Outcome:
        try:
            conn = connect(host, self._options)
            self._connections.append(conn)
            if self._output.closed:
                return Outcome(INTERRUPTED)
            with conn:
                show = shown.of(host)
                copy = self._put if self._action == "put" else self._get
                shown.done(host, copy(conn, host, show))
                return Outcome(0)
        except FileTransferError as error:
            shown.problem(host, str(error).removeprefix(f"{error.host}: "))
            return Outcome(FAILED, reason(error))
        except (RemotoError, ValueError) as error:
            shown.problem(host, message(error))
            return Outcome(NO_CONNECTION, reason(error))
        except BrokenPipeError:
            raise
        except OSError as error:
            shown.problem(host, str(error))
            return Outcome(FAILED, reason(error))

    def _put(self, conn: BaseConnection, host: str, show: Show | None) -> file_sync.CopyResult:
        return file_sync.put(conn, self._source, self._destination, progress=show, timeout=self._options.timeout)

    def _get(self, conn: BaseConnection, host: str, show: Show | None) -> file_sync.CopyResult:
        get, destination = file_sync.get_into, self._destination
        if len(self._options.hosts) > 1:
            os.makedirs(destination, exist_ok=True)
            get, destination = file_sync.get_as, os.path.join(destination, host)
        return get(conn, self._source, destination, progress=show, timeout=self._options.timeout)


def _parser(action: str) -> Parser:
    parser = Parser(
        prog=f"remoto {action}",
        usage="%(prog)s [options] HOST... -- SOURCE DESTINATION",
        description=DESCRIPTIONS[action],
        epilog=EPILOG,
    )
    add_connection(parser)
    help = "give up after SECONDS without an answer"
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help=help)
    add_program(parser)
    add_hosts(parser)
    return parser
