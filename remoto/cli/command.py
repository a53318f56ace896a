"""Run a command on hosts: ``remoto HOST... -- COMMAND...``."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import remoto.process as process  # not "from . import process": see lazy.py

from .. import __version__
from ..backends import BaseConnection
from ..commands.failure import shell_advice
from ..exc import CommandError, CommandTimeout, RemotoError
from . import report, status
from .hosts import (
    NOT_STARTED,
    TIMED_OUT,
    WRONG_USAGE,
    Hosts,
    Outcome,
    kill_command,
    no_connection,
)
from .options import Parser, add_connection, add_program, message, seconds, variable
from .output import Output, Write
from .selection import Host, add_hosts

if TYPE_CHECKING:
    from ..commands.popen import PopenOptions

DESCRIPTION = """\
Run a command on one or more hosts at once: over ssh, or directly if the host is this machine.

Output appears as it arrives. With several hosts, each line begins with its host, and the last lines name each host that
failed.
"""

EPILOG = """\
examples:
  remoto localhost -- uname -a
  remoto node1 node2 root@node3 -- systemctl is-active sshd
  remoto --sudo --timeout 60 node1 -- apt-get -y install chrony
  remoto --shell node1 -- 'df -h | grep /var'
  remoto --raw node1 -- ls --color=always
  remoto --ssh-options '-p 2222 -i ~/.ssh/lab' node1 -- uptime
  remoto --stdin node1 node2 -- tee /etc/motd < motd
  remoto --backend docker web -- cat /etc/os-release
  remoto --backend docker --user www-data web -- id
  remoto --backend kubernetes --namespace shop --container app web-0 -- ps
  remoto --gather 'node[01-40]' -- uname -r
  remoto --batch 1,10,25% --stop-after 3 --save-failed bad @hosts -- systemctl restart nginx
  remoto --backend kubernetes --namespace shop --selector app=web -- ps
  remoto --via gate1 --via gate2 'node[01-40]' -- uptime
  remoto --via 'gate1=node[01-20]' 'node[01-40]' -- uptime
  remoto put node1 node2 -- site/ /srv/www       (remoto put --help)
  remoto get node1 -- /var/log/syslog logs/      (remoto get --help)
  remoto rsync node1 node2 -- site /srv/www      (remoto rsync --help)

The output of a single host to a pipe or file is the command's, byte for byte. For a host named put, get or rsync, write
USER@put and so on. Patterns of hosts need ClusterShell: pip install 'remoto[fleet]'.

exit status: the command's; with several hosts, the highest. Otherwise:
  128 + N  the command was killed by signal N
  124      there was no output for --timeout seconds
  126      the command could not be started
  255      a host could not be reached, or the connection was lost
  130      Ctrl-C, which also kills the commands
  143      SIGTERM, which also kills the commands
  141      the reader of the output closed it, as head does
  1        the output could not be written
  2        wrong usage
"""


class Work(Hosts):
    """The command on all hosts."""

    def __init__(self, options: argparse.Namespace, stdin: bytes | None) -> None:
        super().__init__(options, Output(len(options.chosen) > 1 and not options.no_prefix, options.raw))
        self._stdin = stdin
        self._collects = options.gather or options.json

    def do(self) -> int:
        """Run the command; return the exit status."""
        options, names = self._options, list(self._hosts)
        with report.failures_saved(options, self.done), self._status():
            outcomes = self.serve()
        if options.gather:
            report.gathered(names, outcomes, self._output)
        if options.json:
            report.not_started_in_json(names, outcomes, self._output)
        return report.summarise(names, outcomes, self._output, folded=options.gather)

    def _status(self) -> contextlib.AbstractContextManager[None]:
        """Show the hosts that are done and running, if all output is whole lines."""
        in_lines = self._collects or not self._options.no_prefix
        # log records go to stderr without erasing the line
        if len(self._hosts) == 1 or not in_lines or self._options.verbose or not status.is_possible():
            return contextlib.nullcontext()
        return status.shown(self._output, len(self._hosts), lambda: len(self.done), self._running, self.is_logging_in)

    def _work_on(self, host: Host) -> Outcome:
        begun = time.monotonic()
        outcome = self._run_on(host)._replace(seconds=time.monotonic() - begun)
        if self._options.json:
            report.in_json(host.name, outcome, self._output)
        return outcome

    def _run_on(self, host: Host) -> Outcome:
        options = self._options
        collected: tuple[list[bytes], list[bytes]] = ([], [])
        try:
            with self._connected(host) as conn, self._streams(host, conn, collected) as (stdout, stderr):
                exit_status = process.run(
                    conn,
                    options.command,
                    timeout=options.timeout,
                    stop_on_nonzero=False,
                    extend_env=dict(options.env),
                    stdin=self._stdin,
                    on_stdout=stdout,
                    on_stderr=stderr,
                    raise_on_timeout=True,
                    text=False,
                    **_popen(options),
                )
        except CommandTimeout as error:
            outcome = self._failed(
                host, Outcome(TIMED_OUT, f"no output for {error.timeout:g} seconds", "timed_out", error="timeout")
            )
        except CommandError as error:
            outcome = self._failed(host, Outcome(NOT_STARTED, self._not_started(error), "failed", error="not started"))
        except RemotoError as error:
            text = message(error)
            outcome = self._failed(host, no_connection(error), text)
        except ValueError as error:
            outcome = self._failed(host, Outcome(WRONG_USAGE, str(error), "failed", error="usage"))
        else:
            outcome = _ended(exit_status)
        return outcome._replace(stdout=b"".join(collected[0]), stderr=b"".join(collected[1]))

    @contextlib.contextmanager
    def _streams(
        self, host: Host, conn: BaseConnection, collected: tuple[list[bytes], list[bytes]]
    ) -> Iterator[tuple[Write, Write]]:
        """Return the functions that receive the command's output: collect it, or write it as it arrives."""
        if self._collects:
            yield collected[0].append, collected[1].append
            return
        with self._output.streams(host.name, broken=lambda: kill_command(conn)) as streams:
            yield streams

    def _failed(self, host: Host, outcome: Outcome, text: str = "") -> Outcome:
        if not self._options.json:
            self._output.problem(host.name, text or outcome.reason)
        return outcome

    def _not_started(self, error: CommandError) -> str:
        command = self._options.command
        # the library's advice names shell=True
        if len(command) == 1 and shell_advice(command[0], {}, error.reason):
            return f"{error.reason}; a line for the shell needs --shell"
        return error.reason


def _ended(status: int) -> Outcome:
    if status < 0:
        return Outcome(128 - status, f"killed by signal {-status}", "failed", status)
    return Outcome(status, "", "failed" if status else "ok", status)


def _popen(options: argparse.Namespace) -> PopenOptions:
    given: PopenOptions = {}
    if options.shell:
        given["shell"] = True
    if options.cwd:
        given["cwd"] = options.cwd
    return given


def parser() -> Parser:
    parser = Parser(
        prog="remoto",
        usage="%(prog)s [options] HOST... -- COMMAND...",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"remoto {__version__}")
    add_connection(parser)
    add = parser.add_argument_group("command").add_argument
    add("--shell", action="store_true", help="COMMAND is a shell command line")
    add("--stdin", action="store_true", help="read stdin to the end and send it to the command on every host")
    add(
        "--env",
        action="append",
        default=[],
        type=variable,
        metavar="NAME=VALUE",
        help="set an environment variable; may be repeated",
    )
    add("--cwd", metavar="DIRECTORY", help="the working directory")
    add(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="stop waiting after SECONDS without output; the command is left running",
    )
    add("--kill-on-timeout", action="store_true", help="kill the command on a timeout, and when the connection ends")
    add = add_program(parser)
    add("--no-prefix", action="store_true", help="do not prefix lines with their host")
    add("--raw", action="store_true", help="do not escape control characters in the output, so that colours show")
    add("--gather", action="store_true", help="write output that is the same on several hosts once, at the end")
    add("--json", action="store_true", help="write a line of JSON for each host, with its output")
    add_hosts(parser)
    return parser
