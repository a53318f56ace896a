"""execnet's IO over the pipes of a process on a relay, which go through a channel of the relay's gateway.

``remote/relay.py`` is the peer, ``remote/relay_wire.py`` has the messages. execnet's own ``via=`` is not used: one
blocked write stalls all of its gateways, and stderr is lost.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Callable

from ..remote.relay_wire import EXITED, FAILED, KILL, MESSAGE, STDERR, STDIN, STDOUT, WINDOWS
from ..util import shown
from .execnet_internals import data_message, error_of, release, set_window
from .flow_control import Window
from .gateway_io import GatewayIO, RelayLost, own_io, relay_lost
from .interrupts import Event, take
from .io_loop import Loop
from .outbox import Outbox
from .process_io import A_DAY
from .stderr import Stderr

if TYPE_CHECKING:
    import execnet

    from .gateway_io import Relay

#: bytes of stdin that may be sent before the process has read them
WINDOW = 1024 * 1024
# bytes of stdin in a message, so that messages for other hosts can be sent in between
BLOCK = 64 * 1024
# bytes of stdout to receive before acknowledging them
ACKNOWLEDGE = 256 * 1024
# bytes that the relay may send unacknowledged: twice its windows, and as much again for the overhead of messages
_AHEAD = 4 * sum(WINDOWS.values())
#: the exit status of the relay's processes after it was lost
_HANGUP = -signal.SIGHUP


class RelayIO(GatewayIO):
    """execnet's IO over the pipes of a process on a relay.

    :param start: starts ``remote/relay.py`` with a request, and returns its channel.
    :param keepalive: seconds between ssh's probes, if ssh's configuration on the relay has no interval; 0 if the
        program is not ssh.
    :raises RelayLost: the connection to the relay is closed, or was lost.
    """

    def __init__(
        self,
        start: Callable[[execnet.Gateway, Mapping[str, object]], execnet.Channel],
        relay: Relay,
        argv: Sequence[str],
        host: str,
        logger: logging.Logger,
        keepalive: int,
    ) -> None:
        super().__init__(argv, host)
        io = own_io(relay.gateway)
        if io is None:
            raise RelayLost(f"remoto did not open the gateway of the relay {relay.name}")
        self.relay: GatewayIO = io
        self._relay_name = relay.name
        # blocks of stdout; the last one is empty
        self._blocks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._unacknowledged = 0
        self._exited = Event()
        self._status: int | None = None
        self._start_error: OSError | None = None
        self._closed = False
        self.outbox: RelayOutbox = RelayOutbox(host, self._loop, partial(self._post, STDIN))
        self.stderr: RelayStderr = RelayStderr(logger, self._loop, partial(self._acknowledge, STDERR))
        request = {"argv": [os.fsencode(argument) for argument in self.argv], "keepalive": keepalive}
        try:
            self._channel = start(relay.gateway, request)
        except OSError:
            raise RelayLost(relay_lost(self._relay_name), self._stderr_of_relay()) from None
        set_window(self._channel, Window(_AHEAD))
        self._channel.setcallback(self._receive, endmarker=None)

    def _post(self, kind: int, value: int | bytes) -> None:
        """Send a message to the relay, without waiting for it.

        :raises OSError: the connection to the relay is closed, or was lost.
        """
        self.relay.outbox.send(data_message(self._channel, (kind, value)), wait=False)

    # called in the receiver thread of the relay's gateway: these must not wait

    def _receive(self, item: object) -> None:
        if item is None:
            self._end_of_channel()
            return
        kind, value = item if isinstance(item, tuple) and len(item) == 2 else (None, None)
        if isinstance(value, str):
            value = value.encode("latin-1", "replace")  # execnet decodes bytes from Python 2 as Latin-1
        if kind == STDOUT and isinstance(value, bytes):
            self._blocks.put(value)
        elif kind == STDERR and isinstance(value, bytes):
            self._loop.call(partial(self.stderr.receive, value))
        elif kind == STDIN and isinstance(value, int):
            self._loop.call(partial(self.outbox.acknowledge, value))
        elif kind == EXITED and isinstance(value, int):
            self._status = value
            self._exited.set()
        elif kind == FAILED and isinstance(value, int):
            self._start_error = OSError(value, os.strerror(value))
        else:
            self._fail(f"the relay {self._relay_name} sent an invalid message: {shown(item)}")

    def _end_of_channel(self) -> None:
        if not (self._closed or self._exited.is_set() or self._start_error is not None):
            self._fail(error_of(self._channel) or relay_lost(self._relay_name))
        if self._status is None:
            self._status = _HANGUP
        self._exited.set()
        self._blocks.put(b"")
        self._loop.call(self._close_pipes)

    def _fail(self, problem: str) -> None:
        self.problem = self.problem or problem
        self._blocks.put(b"")

    # see GatewayIO

    def _read_block(self, timeout: float | None) -> bytes:
        try:
            data = take(self._blocks, None if timeout is None else min(timeout, A_DAY))
        except queue.Empty:
            raise TimeoutError(timeout) from None
        if not data:
            self._blocks.put(data)  # for the next read
            return data
        self._unacknowledged += len(data) + MESSAGE
        if self._unacknowledged >= ACKNOWLEDGE:
            self._acknowledge(STDOUT, self._unacknowledged)
            self._unacknowledged = 0
        return data

    def _acknowledge(self, stream: int, size: int) -> None:
        release(self._channel, size)
        try:
            self._post(stream, size)
        except OSError:
            pass  # the connection to the relay was lost: the end of the channel reports it

    def handshake(self, payload: bytes, marker: bytes, timeout: float | None) -> bytes:
        try:
            return super().handshake(payload, marker, timeout)
        except (EOFError, OSError) as error:
            if self._start_error is not None:
                raise self._start_error from None
            if self.problem and not isinstance(error, TimeoutError):
                raise RelayLost(self.problem, self._stderr_of_relay()) from None
            raise

    def close_read(self) -> None:
        self._blocks.put(b"")

    def wait(self) -> int:
        self._exited.wait()
        return self._status or 0

    def terminate(self) -> bool:
        try:
            self._post(KILL, 0)
        except OSError:
            pass  # the connection to the relay was lost, and the process has ended, too
        return True

    def kill_process(self) -> None:
        self.terminate()

    def reap(self, timeout: float) -> None:
        self._exited.wait(timeout)

    def wait_for_exit(self, timeout: float) -> int | None:
        return self._status if self._exited.wait(timeout) else None

    def finish(self, timeout: float) -> None:
        super().finish(timeout)
        self._closed = True
        try:
            self._channel.close()
        except OSError:
            pass  # the connection to the relay was lost

    def close_in_child(self) -> None:
        """Do nothing: there are no descriptors to close."""

    def last_stderr(self) -> str:
        stderr = super().last_stderr()
        if self.problem:
            stderr = "\n".join(filter(None, [stderr, self._stderr_of_relay()]))
        return stderr

    def _stderr_of_relay(self) -> str:
        """Return the last stderr lines of the relay's ssh, after the reason if the relay itself was behind one."""
        stderr = self.relay.last_stderr()
        return "\n".join(filter(None, [self.relay.problem, stderr]))


class RelayOutbox(Outbox):
    """The messages for a process on a relay, sent as far as its window allows.

    :param post: sends a block to the relay without waiting; an empty one means EOF.
    """

    def __init__(self, host: str, loop: Loop, post: Callable[[bytes], None]) -> None:
        super().__init__(host, loop)
        self._post = post
        self._window = WINDOW
        self._is_closed = False

    def acknowledge(self, size: int) -> None:
        """Open the window by the bytes that were written to the process. Called in the loop's thread."""
        with self._writing:
            self._window += size
            self._write_queue()

    def _write_some(self, parts: Sequence[memoryview]) -> int:
        if self._window <= 0:
            raise BlockingIOError
        block = bytes(parts[0][:BLOCK])
        self._post(block)
        self._window -= len(block) + MESSAGE
        return len(block)

    def _watch(self, wanted: bool) -> None:
        """Do nothing: :meth:`acknowledge` writes the queue."""

    def _close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            try:
                self._post(b"")
            except OSError:
                pass  # the connection to the relay has ended


class RelayStderr(Stderr):
    """The stderr of a process on a relay.

    :param acknowledge: reports a number of bytes as logged to the relay.
    """

    def __init__(self, logger: logging.Logger, loop: Loop, acknowledge: Callable[[int], None]) -> None:
        super().__init__(logger, loop)
        self._acknowledge = acknowledge
        self._blocks: deque[bytes] = deque()

    def receive(self, block: bytes) -> None:
        """Process a block; an empty one is the end. Called in the loop's thread."""
        self._blocks.append(block)
        self._start_reading()

    def finish(self) -> None:
        self._feed_blocks(lambda: True)
        self._end()

    def _start_reading(self) -> None:
        size = self._feed_blocks(lambda: not self._paused)
        if size:
            self._acknowledge(size)

    def _feed_blocks(self, may_read: Callable[[], bool]) -> int:
        size = 0
        while self._blocks and may_read() and not self._ended.is_set():
            block = self._blocks.popleft()
            size += len(block) + MESSAGE
            if block:
                self._feed(block)
            else:
                self._end()
        return size

    def _stop_reading(self) -> None:
        """Do nothing: received blocks wait, and the window limits their number."""

    def _close(self) -> None:
        """Do nothing: there is no descriptor to close."""
