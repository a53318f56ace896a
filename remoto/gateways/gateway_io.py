"""execnet's IO over the pipes of a process, on this machine or on a relay."""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Callable

from . import io_loop
from .execnet_internals import CLOSING, ExecModel, Incoming, io_of
from .outbox import Data, Outbox
from .stderr import Stderr

if TYPE_CHECKING:
    import execnet

#: bytes to keep of the output of the remote shell's start-up files
NOISE_KEPT = 64 * 1024
#: the user ID, or -1 on a system without user IDs
_UID = rb"-?\d{1,10}"
#: seconds to wait for a gateway to close
CLOSE_TIMEOUT = 5.0
#: seconds for ssh to end after an interrupt, before it is killed
SSH_EXIT_TIMEOUT = 0.3
#: seconds between SIGTERM and SIGKILL, for a process that may have to end its children
TERM_TIMEOUT = 0.5


class GatewayIO(ABC):
    """execnet's IO over the pipes of a process.

    In the main thread, call only :meth:`read`, :meth:`write` and :meth:`close_write`, see
    :mod:`remoto.gateways.interrupts`.
    """

    outbox: Outbox
    stderr: Stderr
    #: the IO of the relay that the process runs on
    relay: GatewayIO | None = None

    def __init__(self, argv: Sequence[str], host: str) -> None:
        self.argv = list(argv)
        self.remoteaddress = host
        self.execmodel = ExecModel()
        self.owner = os.getpid()
        self.remote_uid: int | None = None
        #: the modules of remoto/remote/ that the remote Python has
        self.sent_modules: set[str] = set()
        #: True once a command has been started
        self.has_run_command = False
        #: channels that wait for the next command
        self.idle_channels: list[execnet.Channel] = []
        #: the gateways through this one, if it is a relay
        self.relayed: set[execnet.Gateway] = set()
        #: the reason why a received message was refused
        self.problem = ""
        self.incoming = Incoming()
        self._received = bytearray()
        self._loop = io_loop.loop()

    @property
    def is_ssh(self) -> bool:
        return os.path.basename(self.argv[0]) == "ssh"

    # execnet calls these

    def read(self, size: int) -> bytes:
        data = self._read(size)
        if problem := self.incoming.problem(data):
            self.problem = problem
            raise EOFError(problem)
        return data

    def _read(self, size: int) -> bytes:
        received = self._received
        while len(received) < size:
            data = self._read_block(None)
            if not data:
                raise EOFError(f"expected {size} bytes, got {len(received)}")
            received += data
        with memoryview(received) as view:
            data = bytes(view[:size])
        del received[:size]
        return data

    def write(self, data: bytes) -> None:
        """Send a whole message, in the order of the calls.

        :raises remoto.gateways.outbox.SendTimeout: see :func:`remoto.gateways.outbox.sending_within`.
        :raises OSError: the connection is closed, was lost, or belongs to another process.
        """
        self._require_owner()
        self.outbox.send(data, wait=data[0] not in CLOSING)

    def write_parts(self, parts: Sequence[Data]) -> Callable[[], None]:
        """Send the parts of a message; return a function that waits until it is written, see :class:`Outbox`."""
        self._require_owner()
        return self.outbox.send_parts(parts)

    def _require_owner(self) -> None:
        if self.owner != os.getpid():
            raise OSError(f"the connection to {self.remoteaddress} belongs to another process")

    @abstractmethod
    def close_read(self) -> None:
        """Close stdout."""

    def close_write(self) -> None:
        self.outbox.close()

    @abstractmethod
    def wait(self) -> int:
        """Wait for the process; return its exit status."""

    def kill(self) -> None:
        """Kill the process, and its children, such as ssh's ProxyCommand, if it has its own session."""
        if not self.terminate() and self.wait_for_exit(TERM_TIMEOUT) is None:
            self.kill_process()

    # remoto calls these

    @abstractmethod
    def _read_block(self, timeout: float | None) -> bytes:
        """Return a block of stdout; empty at the end.

        :param timeout: seconds to wait for it; None means no limit.
        :raises TimeoutError: nothing was received in time.
        """

    @abstractmethod
    def terminate(self) -> bool:
        """Kill the process and its children, or send it SIGTERM.

        :returns: False if it only got SIGTERM, so that it has to end its children itself.
        """

    @abstractmethod
    def kill_process(self) -> None:
        """Kill the process alone, if it survived :meth:`terminate`."""

    @abstractmethod
    def reap(self, timeout: float) -> None:
        """Wait for the killed process, so that no zombie is left."""

    @abstractmethod
    def wait_for_exit(self, timeout: float) -> int | None:
        """Wait for the process; return its exit status, or None if the timeout, in seconds, expired first."""

    @abstractmethod
    def close_in_child(self) -> None:
        """In a child of fork(), close this process's copies of the descriptors."""

    def handshake(self, payload: bytes, marker: bytes, timeout: float | None) -> bytes:
        """Send the first line and read until the remote Python reports that it is ready.

        :returns: the earlier output, of the remote shell's start-up files.
        :raises EOFError: the process exited first, or its report is invalid; the argument is the output.
        :raises TimeoutError: the timeout expired.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self.outbox.send(payload, wait=False)
        noise = b""
        while True:
            data = self._read_block(None if deadline is None else max(0.0, deadline - time.monotonic()))
            noise = (noise + data)[-NOISE_KEPT:]
            before, _, report = noise.partition(marker + b" ")
            uid, is_complete, after = report.partition(b"\n")
            if not data or (is_complete and not re.fullmatch(_UID, uid)):
                raise EOFError(noise)
            if is_complete:
                self.remote_uid = int(uid)
                # if another process writes to stdout as well, the first message is invalid
                self._received += after
                return before

    def end(self, timeout: float) -> int | None:
        """Wait for the process, kill it after the timeout, and read its last stderr lines.

        :returns: the exit status; None if the process was killed.
        """
        status = self.wait_for_exit(timeout)
        if status is None:
            self.kill()
            self.reap(1.0)
        self.finish(1.0)
        return status

    def finish(self, timeout: float) -> None:
        """Close stdin and stderr after the process has exited, and wait until its last stderr lines are logged."""
        self._loop.call_and_wait(self._close_pipes, timeout)
        self.stderr.flush(timeout)

    def _close_pipes(self) -> None:
        self.outbox.abort()
        self.stderr.finish()

    def give_up(self, timeout: float) -> int | None:
        """Like :meth:`end`, but close stdout as well, since no gateway exists to do that."""
        try:
            return self.end(timeout)
        finally:
            self.close_read()

    def last_stderr(self) -> str:
        """Wait up to a second for the process to exit; return its last stderr lines."""
        self.wait_for_exit(1.0)
        self.stderr.wait_for_end(1.0)
        return self.stderr.text()


class Relay:
    """A host that runs ssh to other hosts.

    :param gateway: the gateway to the relay.
    :param name: the relay's name, for errors.
    """

    def __init__(self, gateway: execnet.Gateway, name: str) -> None:
        self.gateway, self.name = gateway, name


class RelayLost(Exception):
    """The connection to the relay is closed, was lost, or cannot be used for a relay.

    :ivar stderr: the last stderr lines of the relay's ssh.
    """

    def __init__(self, reason: str, stderr: str = "") -> None:
        super().__init__(reason)
        self.stderr = stderr


def relay_lost(name: str) -> str:
    """Return the reason for all errors of a host whose relay was lost."""
    return f"the connection to the relay {name} was lost"


def own_io(gateway: object) -> GatewayIO | None:
    """Return the IO of a gateway that remoto opened; None for another library's gateway, or a mock."""
    io = io_of(gateway)
    return io if isinstance(io, GatewayIO) else None
