"""The command line: ``remoto HOST... -- COMMAND...``"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, TextIO

from . import __version__, connection, process
from .exc import CommandError, RemotoError
from .gateway import CONNECT_TIMEOUT, KEEPALIVE
from .util import RemoteError

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

exit status: the command's; 128 + N when signal N ended it; 124 after --timeout; 126 when it could not be started;
255 when there was no connection to a host; 2 for a wrong call of remoto itself.
"""

TIMED_OUT = 124
NOT_STARTED = 126
NO_CONNECTION = 255


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param arguments: by default the program's own.
    :returns: the exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    own, separator, command = _split(words)
    parser = _parser()
    options = parser.parse_args(own)
    if not command:
        parser.error(
            "a command is missing: remoto HOST... -- COMMAND..." if separator else "-- and a command are missing"
        )
    options.command = " ".join(command) if options.shell else command
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.CRITICAL, format="%(levelname)s:%(name)s:%(message)s"
    )
    output = _Output(prefix=len(options.hosts) > 1 and not options.no_prefix)
    stdin = sys.stdin.buffer.read() if options.stdin else None
    try:
        with ThreadPoolExecutor(max_workers=options.parallel) as pool:
            return max(pool.map(lambda host: _run_on(host, options, stdin, output), options.hosts))
    except KeyboardInterrupt:
        return 130


def _split(words: list[str]) -> tuple[list[str], bool, list[str]]:
    """What stands before the first ``--``, whether there is one, and what stands behind it."""
    if "--" not in words:
        return words, False, []
    place = words.index("--")
    return words[:place], True, words[place + 1 :]


def _run_on(host: str, options: argparse.Namespace, stdin: bytes | None, output: _Output) -> int:
    """The exit status for one host."""
    started = time.monotonic()
    try:
        with _connect(host, options) as conn:
            result = process.run(
                conn,
                options.command,
                timeout=options.timeout,
                stop_on_nonzero=False,
                extend_env=dict(options.env),
                stdin=stdin,
                on_stdout=output.writer(host, sys.stdout),
                on_stderr=output.writer(host, sys.stderr),
                **_popen(options),
            )
    except CommandError as error:
        return output.problem(host, RemoteError(error.traceback).exception_line or str(error), NOT_STARTED)
    except (RemotoError, ValueError) as error:
        return output.problem(host, str(error), NO_CONNECTION)
    # the same number stands for signal 1, which needs no time
    if result == process.NO_EXIT_CODE and options.timeout and time.monotonic() - started >= options.timeout:
        return output.problem(host, f"no output for {options.timeout:g} seconds", TIMED_OUT)
    return result if result >= 0 else 128 - result


def _popen(options: argparse.Namespace) -> dict[str, Any]:
    given = {"shell": options.shell, "cwd": options.cwd}
    return {name: value for name, value in given.items() if value}


def _connect(host: str, options: argparse.Namespace) -> Any:
    backend = connection.get(options.backend, fallback=None)
    return backend(
        host,
        sudo=options.sudo,
        detect_sudo=options.detect_sudo,
        use_ssh=options.use_ssh,
        interpreter=options.interpreter,
        ssh_options=options.ssh_options,
        connect_timeout=options.connect_timeout,
        keepalive=options.keepalive,
        kill_on_timeout=options.kill_on_timeout,
    )


class _Output:
    """Whole lines of many hosts, one at a time."""

    def __init__(self, prefix: bool) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()

    def writer(self, host: str, stream: TextIO) -> Callable[[str], None]:
        prefix = f"{host}: " if self._prefix else ""

        def write(line: str) -> None:
            with self._lock:
                stream.write(f"{prefix}{line}\n")
                stream.flush()

        return write

    def problem(self, host: str, text: str, status: int) -> int:
        line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
        with self._lock:
            print(f"remoto: {host}: {line}", file=sys.stderr)
        return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remoto",
        usage="%(prog)s [options] HOST... -- COMMAND...",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"remoto {__version__}")
    add = parser.add_argument_group("the connection").add_argument
    add("--backend", default="ssh", metavar="NAME", help="ssh (the default) or local")
    add("--ssh-options", metavar="OPTIONS", help="further options for ssh, as one word: '-p 2222 -J jump'")
    add("--use-ssh", action="store_true", help="by ssh even where the host is this machine")
    add("--sudo", action="store_true", help="as root, by sudo")
    add("--detect-sudo", action="store_true", help="as root, by sudo where the user there is not root")
    add("--interpreter", metavar="PYTHON", help="the Python to use there (python3)")
    add("--connect-timeout", type=float, default=CONNECT_TIMEOUT, metavar="SECONDS", help="default: %(default)g")
    add(
        "--keepalive",
        type=float,
        default=KEEPALIVE,
        metavar="SECONDS",
        help="between probes of a silent host (%(default)g)",
    )
    add = parser.add_argument_group("the command").add_argument
    add("--shell", action="store_true", help="COMMAND is one line for the shell there")
    add("--stdin", action="store_true", help="send what is on stdin to the command, on every host")
    add(
        "--env",
        action="append",
        default=[],
        type=_variable,
        metavar="NAME=VALUE",
        help="a variable for it; may be repeated",
    )
    add("--cwd", metavar="FOLDER", help="the folder to run it in")
    add(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="give up after so many seconds without output; it runs on there",
    )
    add("--kill-on-timeout", action="store_true", help="end it on a timeout, and when the connection ends")
    add = parser.add_argument_group("this program").add_argument
    add("--parallel", type=int, default=32, metavar="N", help="hosts at a time (%(default)s)")
    add("--no-prefix", action="store_true", help="never put the host before a line")
    add("-v", "--verbose", action="store_true", help="log what is done, to stderr")
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="HOST or USER@HOST")
    return parser


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text}")
    return name, value
