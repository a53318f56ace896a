"""Transfers through a gateway. ``remoto/remote/files.py`` is the remote side."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import BinaryIO, Callable, NamedTuple

import execnet

from ..exc import ConnectionLost, FileTransferError
from ..gateways.execnet_internals import io_of, release, send_joined, set_window
from ..gateways.flow_control import Window
from ..gateways.outbox import sending_within
from ..gateways.process_io import LARGE_PIPE, PIPE, ProcessIO
from ..gateways.remote_calls import RemoteFunction, lost, raise_cause
from ..remote.receiver import Receiver
from ..remote.records import BLOCK, FINISH, ChannelClosed, Failure, Records
from ..remote.sender import Sender
from ..util import RemoteError
from .errors import shown, transfer_error

# seconds to wait, after a failure, for the remote side to remove incomplete files
ABANDON_TIMEOUT = 5.0
_PUT = RemoteFunction("files", "put")
_GET = RemoteFunction("files", "get")


class CopyResult(NamedTuple):
    """The result of :func:`put` or :func:`get`."""

    #: the number of files copied
    copied: int
    #: the number of files not copied, since they have the same size, time and mode on both sides
    unchanged: int
    #: the number of bytes copied
    size: int


def put(
    gateway: execnet.Gateway,
    what: str,
    source: bytes | BinaryIO,
    destination: bytes,
    name: bytes,
    *,
    delete: bool = False,
    timeout: float | None = None,
    **sender: object,
) -> CopyResult:
    what = f"{what} to {shown(destination)}"
    request = {"destination": destination, "name": name, "delete": delete}
    with _transfer(gateway, what, _PUT, request, timeout) as records:
        end = Sender(records, source, **sender)
        try:
            end.run()
        except BaseException:
            _abandon(records)
            raise
    if end.failures:
        raise _error(gateway, what, end.failures)
    return CopyResult(end.copied, end.unchanged, end.sent)


def get(
    gateway: execnet.Gateway,
    what: str,
    source: bytes,
    destination: bytes,
    name: bytes,
    *,
    timeout: float | None = None,
    **receiver: object,
) -> CopyResult:
    with _transfer(gateway, what, _GET, {"source": source}, timeout) as records:
        end = Receiver(records, destination, name, confine=True, **receiver)
        end.run()
    if end.failures:
        raise _error(gateway, what, end.failures)
    return CopyResult(end.copied, end.unchanged, end.received)


@contextlib.contextmanager
def _transfer(
    gateway: execnet.Gateway, what: str, function: RemoteFunction, request: dict[str, object], timeout: float | None
) -> Iterator[_Records]:
    """Start the remote side and yield the records. Raise remoto's errors; close the channel at the end."""
    host, channel, io = _host(gateway), None, io_of(gateway)
    try:
        try:
            channel = sending_within(timeout, function.start, gateway, request)
        except OSError as error:
            raise_cause(error)
            raise ChannelClosed from None
        set_window(channel, Window())
        if isinstance(io, ProcessIO):
            io.set_pipe_size(function is _PUT, LARGE_PIPE)
        yield _Records(channel, timeout)
    except Failure as failure:
        raise _error(gateway, what, [failure]) from None
    except ChannelClosed:
        raise _lost(gateway, host, what) from None
    except execnet.TimeoutError:
        raise FileTransferError(what, host, [("", f"no answer for {timeout:g} seconds")], errno.ETIMEDOUT) from None
    except execnet.RemoteError as error:
        raise FileTransferError(what, host, [("", RemoteError(str(error)).exception_line)]) from error
    finally:
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.close()
        if isinstance(io, ProcessIO):
            # the pipes of a user share a limit: pipe-user-pages-soft of proc(5)
            io.set_pipe_size(function is _PUT, PIPE)


class _Records(Records):
    """Records with a timeout for sending, and a limit on the memory for received messages."""

    # each message costs switches between threads and processes
    block_size = 2 * BLOCK

    def __init__(self, channel: execnet.Channel, timeout: float | None) -> None:
        super().__init__(channel, timeout)  # type: ignore[no-untyped-call]
        # waits until the last message, which was sent from the other memory, is written
        self._wait: Callable[[], None] = lambda: None
        self._other_memory: memoryview | None = None

    def acknowledge(self) -> None:
        release(self.channel, len(self.message))
        super().acknowledge()  # type: ignore[no-untyped-call]

    def send(self, parts: list[bytes | memoryview]) -> None:
        # read the next block while this one is written, into the memory of the message before, which must be written
        wait, self._wait = self._wait, send_joined(self.channel, parts)
        wait()
        self.memory, self._other_memory = self._other_memory, self.memory

    def flush(self) -> None:
        try:
            sending_within(self.timeout, super().flush)
        except ChannelClosed as closed:
            if isinstance(closed.__context__, OSError):
                raise_cause(closed.__context__)
            raise


def _abandon(records: _Records) -> None:
    """Make the remote receiver remove incomplete files; wait until it has done so."""
    records.parts, records.size = [], 0
    records.write(FINISH)  # type: ignore[no-untyped-call]
    records.timeout = ABANDON_TIMEOUT
    try:
        records.flush()
        records.channel.waitclose(ABANDON_TIMEOUT)
    except (ChannelClosed, EOFError, OSError, execnet.RemoteError, execnet.TimeoutError):
        pass  # it removes them when the connection ends, too


def _lost(gateway: execnet.Gateway, host: str, what: str) -> ConnectionLost:
    stderr = lost(gateway, host, what).stderr
    return ConnectionLost(host, what, "the connection ended before the transfer did", stderr)


def _error(gateway: execnet.Gateway, what: str, failures: list[Failure]) -> FileTransferError:
    return transfer_error(what, _host(gateway), failures)


def _host(gateway: execnet.Gateway) -> str:
    return str(getattr(gateway, "remoteaddress", gateway))
