"""Open execnet gateways.

A gateway is execnet's own ``Gateway`` over the pipes of a process: ssh, Python or a container's client, on this machine
or on a relay. remoto starts the process itself, because execnet neither keeps its stderr nor has a timeout.
"""

from __future__ import annotations

import errno
import functools
import itertools
import logging
import os
import shlex
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Callable

import execnet

from .. import remote
from ..lazy import importing
from . import execnet_internals
from .closing import close, register, register_foreign, wait_if_program_ends
from .execnet_internals import ExecnetGateway
from .gateway_io import GatewayIO, Relay, RelayLost
from .interrupts import uninterrupted
from .remote_calls import RemoteFunction

#: seconds
CONNECT_TIMEOUT = 60.0
#: the program that each remote Python is started with (``-c``); execnet uses the same
BOOT_COMMAND = "import sys;exec(eval(sys.stdin.readline()))"

#: the modules of remoto/remote/ to send with the first line, together with the modules that they import; other modules
#: are sent with the first call that needs them
SENT_FIRST = ("boot", "command")


def popen_argv(interpreter: str) -> list[str]:
    """Return the command that starts Python on this machine.

    :raises ValueError: the interpreter is blank, or has an open quote.
    """
    arguments = shlex.split(interpreter)
    if not arguments:
        raise ValueError("expected a command")
    return [*arguments, "-c", BOOT_COMMAND]


_worker_numbers = itertools.count()
_packing = threading.Lock()
_RELAY = RemoteFunction("relay", "serve")


@functools.cache
def _first_modules() -> tuple[str, ...]:
    return tuple(remote.with_imports(*SENT_FIRST))


@functools.cache
def _package() -> str:
    """Return the code that makes the package of the remote side, with execnet's source."""
    execnet_source = remote.without_comments(execnet_internals.remote_source())
    return remote.package(_first_modules(), execnet_source)


def _renew_lock() -> None:
    """In a child of fork(), a thread of the parent may hold the lock."""
    global _packing
    _packing = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def _first_line(variables: Mapping[str, str], marker: str, worker: str) -> bytes:
    pairs = [(str(name), str(value)) for name, value in variables.items()]
    # without the lock, all threads of a group that connect at the same time would each compress the package
    # the other lock because remote.packed() imports modules
    with _packing, importing:
        package = _package()
    lines = (
        "from __future__ import unicode_literals",
        package,
        "from remoto_remote.boot import boot",
        f"boot(texts[-1], *{(execnet.__version__, pairs, marker, worker)!a})",
    )
    # with ascii() and unicode_literals, every Python reads the same text in every locale
    return (ascii("\n".join(lines)) + "\n").encode("ascii")


class Opening:
    """A gateway that is being opened. Another thread, or an interrupt, can cancel it."""

    def __init__(self) -> None:
        self._io: GatewayIO | None = None
        self._gateway: ExecnetGateway | None = None
        self._given_up = False

    def begin(self, io: GatewayIO) -> None:
        self._io = io
        if self._given_up:
            io.kill()

    def succeed(self, gateway: ExecnetGateway) -> None:
        self._gateway = gateway
        if self._given_up:
            close(gateway, 0)

    def give_up(self) -> None:
        """Cancel it at any stage. Not for the main thread. Calling it again has no effect."""
        self._given_up = True
        if self._gateway is not None:
            close(self._gateway, 0)
        elif self._io is not None:
            self._io.kill()


class NotOpened(Exception):
    """A process exited, or a timeout expired, before Python answered.

    :ivar status: the exit status of the process; None if remoto killed it.
    :ivar printed: its stderr and stdout.
    :ivar waited: the timeout in seconds, if it expired; else None.
    """

    def __init__(self, status: int | None, printed: str = "", waited: float | None = None) -> None:
        super().__init__(status, printed, waited)
        self.status, self.printed, self.waited = status, printed, waited


def open_gateway(
    argv: Sequence[str],
    *,
    host: str,
    logger: logging.Logger,
    timeout: float | None = CONNECT_TIMEOUT,
    env: Mapping[str, str] | None = None,
    group: execnet.Group | None = None,
    opening: set[Opening] | None = None,
    relay: Relay | None = None,
    relay_keepalive: int = 0,
) -> ExecnetGateway:
    """Start ``argv``, which must run Python with :data:`BOOT_COMMAND`, and return a gateway to that Python.

    :param host: the host's name, for messages.
    :param logger: logs the stderr of the process at WARNING, as long as the gateway is open.
    :param timeout: seconds to wait for the remote Python's answer; None means no limit.
    :param env: variables for the remote Python and its children.
    :param group: execnet's group of the gateway; a new one by default.
    :param opening: contains the :class:`Opening` until this function returns, so that it can be cancelled.
    :param relay: the relay to start ``argv`` on, instead of this machine.
    :param relay_keepalive: the keepalive of ssh on the relay, see :class:`RelayIO`.
    :raises NotOpened: the process exited first, or the timeout expired. No process is left.
    :raises OSError: the process could not be started.
    :raises RelayLost: the connection to the relay is closed or was lost.
    """
    opening = set() if opening is None else opening
    this = Opening()
    opening.add(this)
    # an empty group is falsy
    group = execnet_internals.new_group() if group is None else group

    def start() -> GatewayIO:
        # both need modules that take as long to import as half of this package
        if relay is None:
            with importing:
                from .process_io import ProcessIO

            return ProcessIO(argv, host, logger)
        with importing:
            from .relay import RelayIO

        return RelayIO(_RELAY.start, relay, argv, host, logger, relay_keepalive)

    work = partial(_open, this, start, timeout, env or {}, group)
    try:
        gateway, io, noise = uninterrupted(work, interrupted=this.give_up)
        for line in io.stderr.connected():
            logger.debug(line)
        for line in noise.decode("utf-8", "backslashreplace").splitlines():
            logger.debug("%s printed before Python started: %s", host, line)
    except (NotOpened, OSError, RelayLost):
        wait_if_program_ends()
        raise
    except BaseException:
        uninterrupted(this.give_up)
        raise
    finally:
        opening.discard(this)
    return gateway


def _open(
    opening: Opening,
    start: Callable[[], GatewayIO],
    timeout: float | None,
    env: Mapping[str, str],
    group: execnet.Group,
) -> tuple[ExecnetGateway, GatewayIO, bytes]:
    """Return a gateway, its IO, and the output before Python started.

    :raises NotOpened: the process exited first, or took too long.
    :raises OSError: the process could not be started.
    :raises RelayLost: the connection to the relay is closed or was lost.
    """
    worker = f"remoto{next(_worker_numbers)}"
    marker = f"remoto-ready-{os.urandom(8).hex()}"
    first_line = _first_line(env, marker, worker)
    try:
        io = start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    io.sent_modules.update(_first_modules())
    try:
        opening.begin(io)
        noise = io.handshake(first_line, marker.encode("ascii"), timeout)
        gateway = execnet_internals.Gateway.over(io, worker)
    except (EOFError, TimeoutError) as error:
        # after EOF, give ssh time to print its error; after a timeout, do not wait
        status = io.give_up(timeout=0 if isinstance(error, TimeoutError) else 2.0)
        waited = timeout if isinstance(error, TimeoutError) else None
        printed = error.args[0].decode("utf-8", "backslashreplace") if isinstance(error, EOFError) else ""
        raise NotOpened(status, "\n".join(filter(None, [io.stderr.text(), printed.strip()])), waited) from None
    except BaseException as error:
        io.give_up(timeout=0)
        if isinstance(error, RuntimeError):  # can't start a thread for the receiver
            raise OSError(errno.EAGAIN, str(error)) from error
        raise
    register(gateway, group)
    opening.succeed(gateway)
    return gateway, io, noise


new_group = execnet_internals.new_group


def open_spec(text: str, group: execnet.Group) -> ExecnetGateway:
    """Open a gateway by an execnet specification that only execnet understands."""
    gateway = group.makegateway(text)
    register_foreign(gateway)
    return gateway
