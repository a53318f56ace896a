"""Transfers to and from containers without Python: a tar archive goes through the stdin or stdout of a command."""

from __future__ import annotations

import contextlib
import errno
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Callable

import execnet

from .. import remote
from ..commands.answers import Block, Exited
from ..commands.call import RUN, Call
from ..exc import FileTransferError
from ..remote.receiver import Receiver
from ..remote.records import Failure, malformed
from .arguments import Progress
from .errors import shown, transfer_error
from .tar_reading import MALFORMED, Records, Stream
from .tar_writing import Archive
from .transfer import ABANDON_TIMEOUT, CopyResult

if TYPE_CHECKING:
    from ..backends import BaseConnection

NO_TAR = 69


def put(
    conn: BaseConnection,
    what: str,
    source: bytes | BinaryIO,
    destination: bytes,
    name: bytes,
    progress: Progress | None,
    timeout: float | None,
    report: Callable[[str], object] | None = None,
) -> CopyResult:
    """Like :func:`remoto.file_sync.put`, but send all files, even unchanged ones.

    :param source: a path as bytes, or a file opened in binary mode.
    :param report: called with a line for each file.
    """
    host = conn.where()
    archive = Archive(source, progress, report)
    try:
        kind = archive.prepare()
    except OSError as error:
        failed = [(shown(source) if isinstance(source, bytes) else "", error.strerror or str(error))]
        raise FileTransferError(what, host, failed, error.errno, side="local") from None
    what = f"{what} to {shown(destination)}"
    call = _start(
        conn, what, [b"/bin/sh", b"-c", _script("tar_put.sh"), b"sh", destination, name, kind], timeout, stdin=True
    )
    try:
        with _explained(what, host, call):
            _finish(what, host, destination, call, call.exchange(archive.blocks()))
    except BaseException as error:
        archive.stop()
        _abandon(call)
        if isinstance(error, MALFORMED) and error is not archive.error:
            raise transfer_error(what, host, [malformed(error)]) from None
        raise
    if archive.failures:
        raise FileTransferError(what, host, archive.failures, side="local")
    return CopyResult(archive.copied, 0, archive.sent)


def get(
    conn: BaseConnection,
    what: str,
    source: bytes,
    destination: bytes,
    name: bytes,
    progress: Progress | None,
    timeout: float | None,
    make: bool = False,
) -> CopyResult:
    """Like :func:`remoto.file_sync.get`; with ``make`` like :func:`remoto.file_sync.get_into`."""
    host = conn.where()
    call = _start(conn, what, [b"/bin/sh", b"-c", _script("tar_get.sh"), b"sh", source], timeout, stdin=None)
    stream = Stream(call.exchange(()), lambda status, stderr: _failed(what, host, source, status, stderr))
    try:
        with _explained(what, host, call):
            receiver = Receiver(Records(stream), destination, name, confine=True, progress=progress, make=make)
            receiver.records.receiver = receiver
            receiver.run()
    except BaseException:
        _abandon(call)
        raise
    if receiver.failures:
        raise transfer_error(what, host, receiver.failures)
    return CopyResult(receiver.copied, receiver.unchanged, receiver.received)


@functools.cache
def _script(filename: str) -> bytes:
    return remote.text(filename).encode("ascii")


def _start(conn: BaseConnection, what: str, command: list[bytes], timeout: float | None, stdin: bool | None) -> Call:
    call = Call(conn, command, timeout, True, what)
    with _explained(what, conn.where(), call):
        call.start(RUN, None, None, stdin, {})
    return call


@contextlib.contextmanager
def _explained(what: str, host: str, call: Call) -> Iterator[None]:
    try:
        yield
    except Failure as failure:
        raise transfer_error(what, host, [failure]) from None
    except execnet.TimeoutError:
        raise FileTransferError(
            what, host, [("", f"no answer for {call.timeout:g} seconds")], errno.ETIMEDOUT
        ) from None


def _abandon(call: Call) -> None:
    """Kill the command, wait until it has removed incomplete files, and close its channel."""
    call.kill_command(ABANDON_TIMEOUT)
    call.abandon()


def _finish(what: str, host: str, path: bytes, call: Call, answers: Iterator[Block | Exited]) -> None:
    stderr: list[bytes] = []
    for answer in answers:
        if isinstance(answer, Exited):
            _failed(what, host, path, answer.status, b"".join(stderr))
        else:
            stderr.append(answer.data)


def _failed(what: str, host: str, path: bytes, status: int, stderr: bytes) -> None:
    """Raise for an exit status other than 0."""
    if status == NO_TAR:
        raise FileTransferError(
            what, host, [("", "found neither Python nor tar in the container: a file transfer needs one of them")]
        )
    if status:
        reason = shown(stderr.strip()).replace("\n", "; ").removeprefix(f"{shown(path)}: ")
        failed = [(shown(path), reason or f"tar failed with exit status {status}")]
        raise FileTransferError(what, host, failed, side="remote")
