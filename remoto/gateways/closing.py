"""Close execnet gateways, also when the program ends and in a child of fork()."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import cast

import execnet

from . import execnet_internals
from .execnet_internals import ExecnetGateway, is_gateway
from .gateway_io import CLOSE_TIMEOUT, SSH_EXIT_TIMEOUT, TERM_TIMEOUT, GatewayIO, own_io
from .interrupts import uninterrupted

_open_gateways: set[ExecnetGateway] = set()
_program_ends = threading.Event()  # set when the interpreter exits


def register(gateway: ExecnetGateway, group: execnet.Group) -> None:
    # first, since an interrupt may come in between, and close() closes only these
    _open_gateways.add(gateway)
    execnet_internals.register(gateway, group)
    for relayed in _relayed_with(gateway):
        relayed.add(gateway)


def register_foreign(gateway: ExecnetGateway) -> None:
    """Close this gateway of execnet's when the program ends, too."""
    _open_gateways.add(gateway)


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
    elif gateway in _open_gateways:
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


def wait_if_program_ends() -> None:
    """In a daemon thread, wait forever if the program is exiting.

    Otherwise the thread would print an error, because its connection is closed.
    """
    if _program_ends.is_set() and threading.current_thread().daemon:
        threading.Event().wait()
