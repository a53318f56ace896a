"""The command line, ``remoto``."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from . import command, options, selection
from .hosts import BROKEN_PIPE, INTERRUPTED, NOT_WRITTEN, TERMINATED

COPIES = ("put", "get", "rsync")
# bytes of stdin to read at a time
BLOCK = 1024 * 1024


class Terminated(KeyboardInterrupt):
    """Raised by SIGTERM: handled like Ctrl-C, with another exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param arguments: the command line without the program's name; by default that of ``sys.argv``.
    :returns: the exit status.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _replace_closed_streams()
    try:
        with _sigterm_interrupts():
            return _main(arguments)
    except (KeyboardInterrupt, OSError) as error:
        status = _give_up(error)
        if getattr(error, "is_stuck", False):
            os._exit(status)  # a normal exit would wait for the stuck thread
        return status


def _main(arguments: list[str]) -> int:
    if arguments[:1] and arguments[0] in COPIES:
        return _copy_files(arguments[0], arguments[1:])
    own, separator, rest = options.split(arguments)
    parser = command.parser()
    if not separator:
        parser.parse_known_args(own)  # --help and --version need no command
        parser.error("-- and a command are missing: remoto HOST... -- COMMAND...")
    given = options.parse(parser, own)
    if given.hosts and given.hosts[0] in COPIES:
        # after an option, put, get or rsync must not be parsed as a host, on which SOURCE would be run
        own.remove(given.hosts[0])
        return _copy_files(given.hosts[0], [*own, "--", *rest])
    if not (rest and rest[0]):
        parser.error("a command is missing: remoto HOST... -- COMMAND...")
    given.command = " ".join(rest) if given.shell else rest
    if given.gather and given.json:
        parser.error("--gather and --json: expected one of them, not both")
    options.start_logging(given)
    given.chosen = selection.choose(parser, given)
    stdin = _read_stdin() if given.stdin else None
    return command.Work(given, stdin).do()


def _read_stdin() -> bytes:
    """Return all of stdin.

    Wake each second: Python does not notice a signal that arrives just before it begins to wait.
    """
    blocks: list[bytes] = []
    while not blocks or blocks[-1]:
        if select.select([sys.stdin], [], [], 1.0)[0]:
            blocks.append(os.read(sys.stdin.fileno(), BLOCK))
    return b"".join(blocks)


def _copy_files(action: str, arguments: list[str]) -> int:
    from . import copy  # here, since most calls copy no files

    return copy.main(action, arguments)


def _give_up(error: BaseException) -> int:
    """Return the exit status for an exception that ended the program."""
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


def _replace_closed_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Make SIGTERM kill the commands, as Ctrl-C does."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are left to the program that called main()
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, terminate)
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _forget_output() -> None:
    """Drop output that can't be written; otherwise Python prints an error when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
