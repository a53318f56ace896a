"""Call the functions of remoto/remote/ on the remote side, and say why a call was lost."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping

import execnet

from .. import remote
from ..exc import ConnectionLost
from . import execnet_internals
from .closing import wait_if_program_ends
from .execnet_internals import ExecnetGateway, is_gateway
from .gateway_io import CLOSE_TIMEOUT, own_io
from .interrupts import uninterrupted
from .outbox import SendTimeout


class RemoteFunction:
    """A function of ``remoto/remote/``.

    :meth:`start` sends a call as one small message. For each call, execnet's ``remote_exec`` would read and parse the
    source here, and compile it on the remote side.
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

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
        channel = execnet_internals.start_task(gateway, source, "call", _given(request))
        if io is not None:
            io.sent_modules.update(needed)
        return channel


class CommandFunction(RemoteFunction):
    """A function that runs a command.

    From the second command of a gateway on, its channel stays open for the next one, and so does the remote thread. The
    first command needs no other module than those that the remote side has.
    """

    def start(self, gateway: execnet.Gateway, request: Mapping[str, object]) -> execnet.Channel:
        io = own_io(gateway)
        if io is None or not io.has_run_command or not io.sent_modules.issuperset(_needed(self.module)):
            channel = super().start(gateway, request)
            if io is not None:
                io.has_run_command = True
            return channel
        given = {"module": self.module, "name": self.name, **_given(request)}
        while io.idle_channels:
            try:
                channel = io.idle_channels.pop()
            except IndexError:
                break  # another thread has taken it
            if not channel.isclosed():
                channel.send(given)
                return channel
        channel = _SERVE_COMMANDS.start(gateway, {"first": given})
        execnet_internals.keep_open(channel, io.idle_channels)
        return channel


_SERVE_COMMANDS = RemoteFunction("commands", "serve")


def _given(request: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in request.items() if value not in (None, False)}


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
