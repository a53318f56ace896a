"""``remoto HOST... -- COMMAND...``"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .. import __version__, process
from ..backends import BaseConnection
from ..commands.failure import shell_advice
from ..exc import CommandError, CommandTimeout, RemotoError
from .hosts import (
    INTERRUPTED,
    NO_CONNECTION,
    NOT_STARTED,
    TIMED_OUT,
    WRONG_USAGE,
    Outcome,
    end_command,
    message,
    on_all_hosts,
    reason,
    summarise,
)
from .options import Parser, add_connection, add_hosts, add_program, connect, seconds, variable
from .output import Output

if TYPE_CHECKING:
    from ..commands.request import PopenOptions

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
  remoto put node1 node2 -- site/ /srv/www       (remoto put --help)
  remoto get node1 -- /var/log/syslog logs/      (remoto get --help)

The output of a single host to a pipe or file is the command's, byte for byte. For a host named put or get, write
USER@put or USER@get.

exit status: the command's; with several hosts, the highest. Otherwise:
  128 + N  the command was killed by signal N
  124      there was no output for --timeout seconds
  126      the command could not be started
  255      a host could not be connected to, or the connection was lost
  130      Ctrl-C, which ends the commands as well
  143      SIGTERM, likewise
  141      the reader of the output closed it, as head does
  1        the output could not be written
  2        wrong usage
"""


class Work:
    """Runs the command on all hosts."""

    def __init__(self, options: argparse.Namespace, stdin: bytes | None) -> None:
        self._options = options
        self._stdin = stdin
        self._output = Output(len(options.hosts) > 1 and not options.no_prefix, options.raw)
        self._connections: list[BaseConnection] = []

    def do(self) -> int:
        """Run the command; return the exit status."""
        outcomes = on_all_hosts(self._run_on, self._options, self._output, self._connections)
        return summarise(self._options.hosts, outcomes, self._output)

    def _run_on(self, host: str) -> Outcome:
        options, output = self._options, self._output
        try:
            conn = connect(host, options)
            self._connections.append(conn)
            if output.closed:
                return Outcome(INTERRUPTED)
            with conn, output.streams(host, broken=lambda: end_command(conn)) as (stdout, stderr):
                status = process.run(
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
            return self._failed(host, TIMED_OUT, f"no output for {error.timeout:g} seconds")
        except CommandError as error:
            return self._failed(host, NOT_STARTED, self._not_started(error))
        except RemotoError as error:
            return self._failed(host, NO_CONNECTION, message(error), reason(error))
        except ValueError as error:
            return self._failed(host, WRONG_USAGE, str(error))
        return Outcome(status) if status >= 0 else Outcome(128 - status, f"killed by signal {-status}")

    def _failed(self, host: str, status: int, text: str, reason: str = "") -> Outcome:
        self._output.problem(host, text)
        return Outcome(status, reason or text)

    def _not_started(self, error: CommandError) -> str:
        command = self._options.command
        # the library's advice names shell=True
        if len(command) == 1 and shell_advice(command[0], {}, error.reason):
            return f"{error.reason}; a line for the shell needs --shell"
        return error.reason


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
    add("--shell", action="store_true", help="COMMAND is a line for the remote shell")
    add("--stdin", action="store_true", help="read stdin to its end and send it to the command on every host")
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
        help="give up after SECONDS without output; the command keeps running",
    )
    add("--kill-on-timeout", action="store_true", help="end the command on a timeout, and when the connection ends")
    add = add_program(parser)
    add("--no-prefix", action="store_true", help="do not begin each line with its host")
    add("--raw", action="store_true", help="do not escape control characters in the output, so that colours show")
    add_hosts(parser)
    return parser
