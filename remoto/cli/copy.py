"""Copy files: ``remoto put HOST... -- SOURCE DESTINATION``, ``remoto get`` and ``remoto rsync``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable

import remoto.file_sync as file_sync

from ..exc import FileTransferError, RemotoError
from ..files.listing import Listing
from ..fleets.result import reason_of_error
from ..util import escape_controls
from .hosts import Hosts, Outcome, no_connection
from .options import Parser, add_connection, add_program, message, parse, seconds, split, start_logging
from .output import Output
from .progress import Show, progress
from .report import failures_saved, summarise
from .selection import NO_CONNECTION, Host, add_hosts, choose

if TYPE_CHECKING:
    from ..backends import BaseConnection

DESCRIPTIONS = {
    "rsync": """\
Make a directory on one or more hosts a copy of a local one.

DESTINATION is the copy itself. Files that have not changed are not sent. With --delete, remote files that SOURCE does
not have are removed.
""",
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
  255      a host could not be reached, or the connection was lost
  130      Ctrl-C
  143      SIGTERM
  141      the reader of the output closed it, as head does
  2        wrong usage
"""
FAILED = 1


def main(action: str, arguments: Sequence[str]) -> int:
    """Run ``remoto put``, ``remoto get`` or ``remoto rsync``.

    :param action: ``put``, ``get`` or ``rsync``.
    :param arguments: the arguments after the action.
    :returns: the exit status.
    """
    own, _, paths = split(list(arguments))
    parser = _parser(action)
    options = parse(parser, own)
    if len(paths) != 2:
        parser.error("expected two paths after --: SOURCE DESTINATION")
    start_logging(options)
    source, destination = paths
    options.chosen = choose(parser, options)
    if action != "get":
        _require_source(parser, source)
    return _Copies(action, source, destination, options).do()


def _require_source(parser: argparse.ArgumentParser, source: str) -> None:
    """Exit before any connection, with a single error, if the local source is missing."""
    try:
        os.stat(source)
    except OSError as error:
        parser.exit(FAILED, escape_controls(f"remoto: local path {source}: {error.strerror}") + "\n")


class _Copies(Hosts):
    """The copies to or from all hosts."""

    def __init__(self, action: str, source: str, destination: str, options: argparse.Namespace) -> None:
        super().__init__(options, Output())
        self._action = action
        self._source = source
        self._destination = destination
        # reads nothing yet, and nothing at all for get
        self._listing = Listing(source)

    def do(self) -> int:
        """Copy; return the exit status."""
        shown = progress(f"{self._action} {self._source}", self._output, len(self._hosts))
        with shown as self._shown, failures_saved(self._options, self.done):
            outcomes = self.serve()
        return summarise(list(self._hosts), outcomes, self._output)

    def _work_on(self, host: Host) -> Outcome:
        name, shown = host.name, self._shown
        try:
            with self._connected(host) as conn:
                copied = self._copy_function()(conn, name, shown.of(name))
                shown.done(name, copied)
                return Outcome(0)
        except FileTransferError as error:
            shown.problem(name, str(error).removeprefix(f"{error.host}: "))
            return Outcome(FAILED, reason_of_error(error), "failed")
        except RemotoError as error:
            shown.problem(name, message(error))
            return no_connection(error)
        except ValueError as error:
            shown.problem(name, message(error))
            return Outcome(NO_CONNECTION, str(error), "failed")
        except BrokenPipeError:
            raise
        except OSError as error:
            shown.problem(name, str(error))
            return Outcome(FAILED, str(error), "failed")

    def _copy_function(self) -> Callable[[BaseConnection, str, Show | None], file_sync.CopyResult | None]:
        return {"put": self._put, "get": self._get, "rsync": self._rsync}[self._action]

    def _put(self, conn: BaseConnection, host: str, show: Show | None) -> file_sync.CopyResult:
        copy, timeout = file_sync.put_listed, self._options.timeout
        return copy(conn, self._source, self._destination, self._listing, progress=show, timeout=timeout)

    def _rsync(self, conn: BaseConnection, host: str, show: Show | None) -> None:
        copy, delete, timeout = file_sync.rsync_listed, self._options.delete, self._options.timeout
        copy(conn, self._source, self._destination, self._listing, delete=delete, progress=show, timeout=timeout)

    def _get(self, conn: BaseConnection, host: str, show: Show | None) -> file_sync.CopyResult:
        get, destination = file_sync.get_into, self._destination
        if len(self._options.chosen) > 1:
            os.makedirs(destination, exist_ok=True)
            get, destination = file_sync.get_as, os.path.join(destination, _name_of_copy(host))
        return get(conn, self._source, destination, progress=show, timeout=self._options.timeout)


def _name_of_copy(host: str) -> str:
    return host.replace("/", "_")


def _parser(action: str) -> Parser:
    parser = Parser(
        prog=f"remoto {action}",
        usage="%(prog)s [options] HOST... -- SOURCE DESTINATION",
        description=DESCRIPTIONS[action],
        epilog=EPILOG,
    )
    add_connection(parser)
    give_up = "give up after SECONDS without an answer"
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help=give_up)
    if action == "rsync":
        parser.add_argument("--delete", action="store_true", help="remove remote files that SOURCE does not have")
    add_program(parser)
    add_hosts(parser)
    return parser
