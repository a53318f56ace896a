"""``remoto HOST... -- COMMAND...``"""

from __future__ import annotations

import argparse
from typing import Any

from .. import __version__, process
from ..commands.failure import shell_advice
from ..exc import CommandError, CommandTimeout, RemotoError
from .hosts import (
    INTERRUPTED,
    NO_CONNECTION,
    NOT_STARTED,
    TIMED_OUT,
    Outcome,
    end_command,
    on_all_hosts,
    reason,
    summarise,
)
from .options import Parser, add_connection, add_hosts, add_program, connect, seconds, variable
from .output import Output

DESCRIPTION = """\
Run a command on one host or on several at once, by ssh, or without where the host is this machine.

Its output appears as it comes; with several hosts each line begins with its host. The exit status is the command's,
with several hosts the highest.
"""

EPILOG = """\
examples:
  remoto localhost -- uname -a
  remoto node1 node2 root@node3 -- systemctl is-active sshd
  remoto --sudo --timeout 60 node1 -- apt-get -y install chrony
  remoto --shell node1 -- 'df -h | grep /var'
  remoto --ssh-options '-p 2222 -i ~/.ssh/lab' node1 -- uptime
  remoto --stdin node1 node2 -- tee /etc/motd < motd
  remoto --backend docker web -- cat /etc/os-release
  remoto --backend docker --user www-data web -- id
  remoto --backend kubernetes --namespace shop --container app web-0 -- ps
  remoto put node1 node2 -- site/ /srv/www       (remoto put --help)
  remoto get node1 -- /var/log/syslog logs/      (remoto get --help)

Of a single host the output is the command's own, byte for byte. A host of the name put or get is reached as USER@put.

exit status: the command's; 128 + N when signal N ended it; 124 after --timeout; 126 when it could not be started;
255 when there was no connection to a host; 130 after Ctrl-C, and 143 after SIGTERM, which end the commands, too; 141 when
nobody reads the output any more; 1 when it can't be written; 2 for a wrong call.
"""


# the library's own advice speaks of shell=True
_SHELL_ADVICE = "a line for the shell needs --shell"


class Work:
    """The command on all hosts."""

    def __init__(self, options: argparse.Namespace, stdin: bytes | None) -> None:
        self._options = options
        self._stdin = stdin
        self._output = Output(len(options.hosts) > 1 and not options.no_prefix, options.raw)
        self._connections: list[Any] = []

    def do(self) -> int:
        """Return the exit status."""
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
                process.run(
                    conn,
                    options.command,
                    timeout=options.timeout,
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
            return self._command_failed(host, error)
        except (RemotoError, ValueError) as error:
            return self._failed(host, NO_CONNECTION, str(error), reason(error))
        return Outcome(0)

    def _failed(self, host: str, status: int, text: str, reason: str = "") -> Outcome:
        self._output.problem(host, text)
        return Outcome(status, reason or text)

    def _command_failed(self, host: str, error: CommandError) -> Outcome:
        command, status = self._options.command, error.exit_code
        # with sudo, the program is not found by sudo, on stderr
        needs_shell = len(command) == 1 and shell_advice(command[0], {}, error.reason or error.stderr)
        if status is None:
            return self._failed(host, NOT_STARTED, f"{error.reason}; {_SHELL_ADVICE}" if needs_shell else error.reason)
        if needs_shell:
            self._output.problem(host, _SHELL_ADVICE)
        return Outcome(status) if status > 0 else Outcome(128 - status, f"killed by signal {-status}")


def _popen(options: argparse.Namespace) -> dict[str, Any]:
    given = {"shell": options.shell, "cwd": options.cwd}
    return {name: value for name, value in given.items() if value}


def parser() -> Parser:
    parser = Parser(
        prog="remoto",
        usage="%(prog)s [options] HOST... -- COMMAND...",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"remoto {__version__}")
    add_connection(parser)
    add = parser.add_argument_group("the command").add_argument
    add("--shell", action="store_true", help="COMMAND is one line for the shell there")
    add("--stdin", action="store_true", help="send all that is on stdin, read to its end, to the command on every host")
    add(
        "--env",
        action="append",
        default=[],
        type=variable,
        metavar="NAME=VALUE",
        help="a variable for it; may be repeated",
    )
    add("--cwd", metavar="FOLDER", help="the folder to run it in")
    add(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="give up after so many seconds without output; it runs on there",
    )
    add("--kill-on-timeout", action="store_true", help="end it on a timeout, and when the connection ends")
    add = add_program(parser)
    add("--no-prefix", action="store_true", help="do not begin lines with their host")
    add("--raw", action="store_true", help="do not escape control characters of the output: for colours at a terminal")
    add_hosts(parser)
    return parser
