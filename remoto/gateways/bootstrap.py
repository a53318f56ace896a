"""Open and close execnet gateways.

A gateway is execnet's own ``Gateway`` over the pipes of a process: ssh, Python or a container's client, on this machine
or on a relay. remoto starts the process itself, because execnet neither keeps its stderr nor has a timeout.
"""

from __future__ import annotations

import atexit
import errno
import functools
import itertools
import logging
import os
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Callable, NamedTuple, cast

import execnet

from .. import remote
from ..exc import ConnectionLost
from . import execnet_internals
from .execnet_internals import ExecnetGateway, is_gateway
from .gateway_io import CLOSE_TIMEOUT, SSH_EXIT_TIMEOUT, TERM_TIMEOUT, GatewayIO, Relay, RelayLost, own_io
from .interrupts import uninterrupted
from .outbox import SendTimeout

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


_open_gateways: set[ExecnetGateway] = set()
_program_ends = threading.Event()  # set when the interpreter exits
_worker_numbers = itertools.count()
_packing = threading.Lock()


@functools.cache
def _first_modules() -> tuple[str, ...]:
    return tuple(remote.with_imports(*SENT_FIRST))


@functools.cache
def _package() -> str:
    """Return the code that makes the package of the remote side, with execnet's source."""
    execnet_source = remote.without_comments(execnet_internals.remote_source())
    return remote.package(_first_modules(), execnet=execnet_source)


def _first_line(variables: Mapping[str, str], marker: str, worker: str) -> bytes:
    pairs = [(str(name), str(value)) for name, value in variables.items()]
    # without the lock, all threads of a group that connect at the same time would each compress the package
    with _packing:
        package = _package()
    lines = (
        "from __future__ import unicode_literals",
        package,
        "from remoto_remote.boot import boot",
        f"boot(package.SOURCES.sources.pop('execnet'), *{(execnet.__version__, pairs, marker, worker)!a})",
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
        # imported here: both need modules that take as long to import as half of this package
        if relay is None:
            from .process_io import ProcessIO

            return ProcessIO(argv, host, logger)
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
    _register(gateway, group)
    opening.succeed(gateway)
    return gateway, io, noise


new_group = execnet_internals.new_group


def open_spec(text: str, group: execnet.Group) -> ExecnetGateway:
    """Open a gateway by an execnet specification that only execnet understands."""
    gateway = group.makegateway(text)
    _open_gateways.add(gateway)
    return gateway


def _register(gateway: ExecnetGateway, group: execnet.Group) -> None:
    execnet_internals.register(gateway, group)
    _open_gateways.add(gateway)
    for relayed in _relayed_with(gateway):
        relayed.add(gateway)


def _forget(gateway: execnet.Gateway) -> None:
    _open_gateways.discard(gateway)
    for relayed in _relayed_with(gateway):
        relayed.discard(gateway)


def _relayed_with(gateway: execnet.Gateway) -> list[set[execnet.Gateway]]:
    """Return the set of gateways through the same relay, in a list; an empty list without a relay."""
    io = own_io(gateway)
    return [io.relay.relayed] if io is not None and io.relay is not None else []


def close(gateway: execnet.Gateway, timeout: float = CLOSE_TIMEOUT) -> None:
    """Close a gateway and end its processes on this machine. Calling it again has no effect.

    :param timeout: seconds after which a process is killed.
    """
    io = own_io(gateway)
    if io is None:
        _open_gateways.discard(gateway)
        _close_foreign(gateway, timeout)
    elif io.owner != os.getpid():
        io.close_in_child()
    else:
        uninterrupted(partial(_close_together, [gateway], timeout))


def end_ssh(gateways: Sequence[execnet.Gateway]) -> None:
    """End ssh after an interrupt, even if the remote side does not answer. :func:`close` comes next.

    When ssh exits, the remote side ends its commands. Other processes end their own commands, so they are not killed.
    """
    ios = []
    for gateway in gateways:
        io = own_io(gateway)
        if io is not None and io.owner == os.getpid() and io.is_ssh:
            execnet_internals.ask_to_exit(gateway)
            ios.append(io)
    for io in _still_running(ios, SSH_EXIT_TIMEOUT):
        io.kill()


def close_group(group: execnet.Group) -> None:
    """Close all gateways of a group, with a short timeout."""
    for gateway in list(group):
        close(gateway, timeout=1.0)


def _close_foreign(gateway: execnet.Gateway, timeout: float) -> None:
    gateway.exit()
    if is_gateway(gateway):
        execnet_internals.terminate_group(gateway, timeout)


def _close_together(gateways: Sequence[execnet.Gateway], timeout: float) -> None:
    """Close gateways within one time limit. First, within as much time again, close the gateways through them."""
    ios = [cast("GatewayIO", own_io(gateway)) for gateway in gateways]
    relayed = [gateway for io in ios for gateway in list(io.relayed)]
    if relayed:
        _close_together(relayed, timeout)
    for gateway in gateways:
        execnet_internals.ask_to_exit(gateway)
    running = _still_running(ios, timeout)
    for io in _still_running([io for io in running if not io.terminate()], TERM_TIMEOUT):
        io.kill_process()
    deadline = time.monotonic() + max(1.0, timeout)
    for io in running:
        io.reap(max(0.1, deadline - time.monotonic()))
    for gateway, io in zip(gateways, ios):
        io.finish(max(0.1, deadline - time.monotonic()))
        gateway.join(max(0.1, deadline - time.monotonic()))
        _forget(gateway)


def _still_running(ios: Sequence[GatewayIO], timeout: float) -> list[GatewayIO]:
    """Wait for the processes to exit; return those that still run when the timeout, in seconds, expires."""
    deadline = time.monotonic() + timeout
    return [io for io in ios if io.wait_for_exit(max(0.0, deadline - time.monotonic())) is None]


def _close_in_child() -> None:
    """In a child of fork(), close only the descriptors: the parent still uses the connections."""
    global _packing
    _packing = threading.Lock()  # a thread of the parent may hold it
    for gateway in _open_gateways:
        io = own_io(gateway)
        if io is not None:
            io.close_in_child()
    _open_gateways.clear()


os.register_at_fork(after_in_child=_close_in_child)


@atexit.register
def _close_all() -> None:
    """Close all open gateways when the program exits, so that no ssh is left if it never calls exit()."""
    _program_ends.set()
    foreign = [gateway for gateway in list(_open_gateways) if own_io(gateway) is None]
    # closing a relay also closes the gateways through it
    _close_together([gateway for gateway in list(_open_gateways) if (io := own_io(gateway)) and io.relay is None], 1.0)
    for gateway in foreign:
        close(gateway, timeout=1.0)


class RemoteFunction(NamedTuple):
    """A function of ``remoto/remote/``.

    :meth:`start` sends a call as one small message. For each call, execnet's ``remote_exec`` would read and parse the
    source here, and compile it on the remote side.
    """

    module: str
    name: str

    def start(self, gateway: execnet.Gateway, request: Mapping[str, object]) -> execnet.Channel:
        """Call the function on the remote side; return execnet's channel.

        :param request: its keyword arguments. None, False and 0 are their defaults, and not sent.
        """
        io = own_io(gateway)
        needed = _needed(self.module)
        if io is None:
            # another library opened the gateway: the remote side may have none of remoto's modules
            source = _start_package(needed)
        else:
            source = _add_modules(tuple(name for name in needed if name not in io.sent_modules))
        source += f"call = function('{self.module}', '{self.name}')\n"
        if not is_gateway(gateway):
            return gateway.remote_exec(source, module=self.module, function=self.name, request=request)
        given = {name: value for name, value in request.items() if value not in (None, False)}
        channel = execnet_internals.start_task(gateway, source, "call", given)
        if io is not None:
            io.sent_modules.update(needed)
        return channel


@functools.cache
def _needed(module: str) -> tuple[str, ...]:
    return tuple(remote.with_imports(module))


@functools.cache
def _start_package(modules: tuple[str, ...]) -> str:
    return f"{remote.package(modules)}function = package.function\n"


@functools.cache
def _add_modules(modules: tuple[str, ...]) -> str:
    if not modules:
        return "from remoto_remote import function\n"
    packed = remote.packed(remote.named_sources(modules))
    return f"from remoto_remote import add, function, unpack\nadd(unpack('{packed}'))\n"


_RELAY = RemoteFunction("relay", "serve")


def wait_if_program_ends() -> None:
    """In a daemon thread, wait forever if the program is exiting.

    Otherwise the thread would print an error, because its connection is closed.
    """
    if _program_ends.is_set() and threading.current_thread().daemon:
        threading.Event().wait()


def lost(gateway: execnet.Gateway, host: str, command: str) -> ConnectionLost:
    """Return the error for a command whose connection was lost. Wait up to a second for the reason."""
    wait_if_program_ends()
    io = own_io(gateway)
    if io is not None and io.owner != os.getpid():
        return ConnectionLost(host, command, "the connection was opened by another process, before a fork()")
    stderr = ""
    if io is not None:
        last_lines = uninterrupted(io.last_stderr)
        # only now: the wait for the last lines may find the problem
        stderr = "\n".join(filter(None, [io.problem, last_lines]))
    if is_gateway(gateway):
        _wait_for_receiver(gateway)
    return ConnectionLost(host, command, "the connection ended before the command did", stderr)


def raise_cause(error: OSError) -> None:
    """Raise the reason why a message was not sent, unless the connection has ended.

    execnet treats every OSError as an error of the pipe, and raises another OSError instead.

    :raises execnet.TimeoutError: the peer did not accept the message in time.
    :raises BaseException: the exception of a signal handler.
    """
    cause: BaseException | None = error
    if str(error) == "cannot send (already closed?)":
        cause = error.__cause__ or error.__context__  # execnet 1.9 sets no cause
    if isinstance(cause, SendTimeout):
        raise execnet.TimeoutError(str(cause)) from None
    if cause is not None and (not isinstance(cause, OSError) or isinstance(cause, TimeoutError)):
        raise cause


def _wait_for_receiver(gateway: ExecnetGateway) -> None:
    """Wait until the receiver thread has ended, so that has_connection() returns False."""
    # execnet 1.9's join() has no timeout
    deadline = time.monotonic() + CLOSE_TIMEOUT
    while gateway.hasreceiver() and time.monotonic() < deadline:
        time.sleep(0.01)
