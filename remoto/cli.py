"""The command line: ``remoto HOST... -- COMMAND...``"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Callable, TextIO

from . import __version__, connection, process
from .exc import CommandError, RemotoError
from .gateway import CONNECT_TIMEOUT, KEEPALIVE
from .util import RemoteError, bound

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

TIMED_OUT = 124
NOT_STARTED = 126
NO_CONNECTION = 255
NOT_WRITTEN = 1
INTERRUPTED = 130
TERMINATED = 143
# seconds that a thread may take to end after its connection
STUCK = 1.0
#: as a shell has it of a program that SIGPIPE ended
BROKEN_PIPE = 141


class Terminated(KeyboardInterrupt):
    """SIGTERM: the same as Ctrl-C, but for the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param arguments: by default the program's own.
    :returns: the exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with _signals_and_streams():
        try:
            return _main(words)
        except (KeyboardInterrupt, OSError) as error:
            status = _give_up(error)
            if getattr(error, "is_stuck", False):
                os._exit(status)  # the interpreter's end would wait for that thread
            return status


def _give_up(error: BaseException) -> int:
    """The exit status for what ended the program before its time."""
    if isinstance(error, Terminated):
        return TERMINATED
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    _forget_output()
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    with contextlib.suppress(OSError):
        print(f"remoto: the output can't be written: {error}", file=sys.stderr)
    return NOT_WRITTEN


def _main(words: list[str]) -> int:
    if words[:1] in (["put"], ["get"]):
        return _copy_files(words[0], words[1:])
    own, separator, command = split(words)
    parser = _parser()
    if not separator:
        parser.parse_known_args(own)  # --help and --version need no command
        parser.error("a -- and a command are missing: remoto HOST... -- COMMAND...")
    options = parser.parse_args(own)
    if options.hosts[0] in ("put", "get"):
        # with an option before it: never a host, on which the source would be run as a command
        own.remove(options.hosts[0])
        return _copy_files(options.hosts[0], [*own, "--", *command])
    if not command:
        parser.error("a command is missing: remoto HOST... -- COMMAND...")
    options.command = " ".join(command) if options.shell else command
    start_logging(options)
    stdin = sys.stdin.buffer.read() if options.stdin else None
    return _Work(options, stdin).do()


def _copy_files(action: str, words: list[str]) -> int:
    from . import cli_files

    return cli_files.main(action, words)


@contextlib.contextmanager
def _signals_and_streams() -> Iterator[None]:
    """SIGTERM ends the commands as Ctrl-C does; a stream that is closed is /dev/null."""

    def terminate(number: int, frame: Any) -> None:
        raise Terminated

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # main() has been called in another thread: its program decides about signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _forget_output() -> None:
    """What is still in the buffers can't be written: without this the interpreter's end would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def split(words: list[str]) -> tuple[list[str], bool, list[str]]:
    """What stands before the first ``--``, whether there is one, and what stands behind it."""
    if "--" not in words:
        return words, False, []
    place = words.index("--")
    return words[:place], True, words[place + 1 :]


def on_all_hosts(
    serve: Callable[[str], int], options: argparse.Namespace, output: _Output, connections: list[Any]
) -> int:
    """The highest exit status. What stops one of the hosts' threads or this one stops them all.

    :param connections: those that ``serve`` has opened so far.
    """
    pool = ThreadPoolExecutor(options.parallel)
    statuses = [pool.submit(serve, host) for host in options.hosts]
    try:
        ended, _ = wait(statuses, return_when=FIRST_EXCEPTION)
        highest = max(status.result() for status in ended)
        pool.shutdown()
        return highest
    except BaseException as error:
        output.close()
        pool.shutdown(wait=False, cancel_futures=True)
        for conn in list(connections):
            _end_command(conn)
            conn.exit()
        # a reader that is there and does not read holds a thread that writes, for ever
        error.is_stuck = bool(wait(statuses, timeout=STUCK).not_done)  # type: ignore[attr-defined]
        raise


class _Work:
    """The command on all hosts."""

    def __init__(self, options: argparse.Namespace, stdin: bytes | None) -> None:
        self._options = options
        self._stdin = stdin
        self._output = _Output(prefix=len(options.hosts) > 1 and not options.no_prefix)
        self._connections: list[Any] = []

    def do(self) -> int:
        return on_all_hosts(self._run_on, self._options, self._output, self._connections)

    def _run_on(self, host: str) -> int:
        """The exit status for one host."""
        options, output = self._options, self._output
        started = time.monotonic()
        try:
            conn = connect(host, options)
            self._connections.append(conn)
            if output.closed:
                return INTERRUPTED
            with conn:

                def writer(stream: TextIO) -> Callable[[Any], None]:
                    return output.writer(host, stream, broken=lambda: _end_command(conn))

                result = process.run(
                    conn,
                    options.command,
                    timeout=options.timeout,
                    stop_on_nonzero=False,
                    extend_env=dict(options.env),
                    stdin=self._stdin,
                    on_stdout=writer(sys.stdout),
                    on_stderr=writer(sys.stderr),
                    text=output.prefix,
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


def _end_command(conn: Any) -> None:
    """Nobody waits for what runs there any more."""
    try:
        conn.channel.send("kill")
    except (AttributeError, OSError):
        pass  # it has not begun, or has ended


def _popen(options: argparse.Namespace) -> dict[str, Any]:
    given = {"shell": options.shell, "cwd": options.cwd}
    return {name: value for name, value in given.items() if value}


def connect(host: str, options: argparse.Namespace) -> Any:
    """A connection that opens on first use."""
    backend = connection.get(options.backend)
    given: dict[str, Any] = {
        "sudo": options.sudo,
        "detect_sudo": options.detect_sudo,
        "use_ssh": options.use_ssh,
        "interpreter": options.interpreter,
        "ssh_options": options.ssh_options,
        "connect_timeout": options.connect_timeout,
        "keepalive": options.keepalive,
        "kill_on_timeout": getattr(options, "kill_on_timeout", False),
        "eager": False,
    }
    if issubclass(backend, connection.docker.DockerConnection):
        return backend(options.engine_host, container_name=host, user=options.user, **given)
    if issubclass(backend, connection.kubernetes.KubernetesConnection):
        return backend(host, options.namespace, options.context, container=options.container, **given)
    return backend(host, **given)


class _Output:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remoto",
        usage="%(prog)s [options] HOST... -- COMMAND...",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        type=_variable,
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
    add("--no-prefix", action="store_true", help="never put the host before a line")
    add_hosts(parser)
    return parser


def add_connection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the connection").add_argument
    add(
        "--backend",
        default="ssh",
        type=_backend,
        metavar="NAME",
        help="ssh (the default), local, docker, podman, kubernetes or openshift; "
        "with the last four a HOST is a container of this machine, or a pod",
    )
    add("--ssh-options", metavar="OPTIONS", help="further options for ssh, as one word: '-p 2222 -J jump'")
    add("--use-ssh", action="store_true", help="by ssh even where the host is this machine")
    add("--sudo", action="store_true", help="as root, by sudo")
    add("--detect-sudo", action="store_true", help="as root, by sudo where the user there is not root")
    add("--interpreter", metavar="PYTHON", help="the Python to use there (python3)")
    add("--connect-timeout", type=seconds, default=CONNECT_TIMEOUT, metavar="SECONDS", help="default: %(default)g")
    add(
        "--keepalive",
        type=seconds,
        default=KEEPALIVE,
        metavar="SECONDS",
        help="between probes of a silent host (%(default)g)",
    )
    add = parser.add_argument_group("the container").add_argument
    add("--user", metavar="NAME", help="the user in it, with docker and podman")
    add("--engine-host", metavar="HOST", help="the machine of the engine, by ssh, with docker and podman")
    add("--namespace", metavar="NAME", help="the pod's namespace, with kubernetes and openshift")
    add("--context", metavar="NAME", help="the context of the client's configuration, likewise")
    add("--container", metavar="NAME", help="one of the pod's containers, likewise")


def add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="+", type=_host, metavar="HOST", help="HOST or USER@HOST")


def add_program(parser: argparse.ArgumentParser) -> Callable[..., Any]:
    add = parser.add_argument_group("this program").add_argument
    add("--parallel", type=_number, default=32, metavar="N", help="hosts at a time (%(default)s)")
    add("-v", "--verbose", action="store_true", help="log what is done, to stderr")
    return add


def start_logging(options: argparse.Namespace) -> None:
    level = logging.DEBUG if options.verbose else logging.CRITICAL
    logging.basicConfig(level=level, format="%(levelname)s:%(name)s:%(message)s")


def _backend(name: str) -> str:
    if name.lower() not in connection._BACKENDS:
        raise argparse.ArgumentTypeError(f"there is no backend of the name {name}")
    return name


def _host(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of a host is empty")
    return text


def seconds(text: str) -> float | None:
    try:
        return bound("it", float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}") from None


def _number(text: str) -> int:
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"not a number from 1: {text}")
    return int(text)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text}")
    return name, value
