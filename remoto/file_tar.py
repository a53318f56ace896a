"""Files to and from a container without a Python: a tar goes through a command's stdin or stdout, in blocks."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from queue import Queue
from typing import Any, BinaryIO, Callable

import execnet

from .exc import FileTransferError
from .pipes import ProcessIO
from .process import RUN, STATUS, STDERR, STDOUT, Call
from .remote import files

BLOCK = 256 * 1024
#: blocks between the thread that makes a tar and the one that sends it
AHEAD = 8
NO_TAR = 69
# seconds that a far side may take to remove what it has begun, after this side has given up
ABANDON_TIMEOUT = 5.0

# $1 the destination, $2 the name in it where it is a folder, $3 file or folder. What arrives is beside its place, and is
# moved there at the end; into a folder that is there already, each file by itself.
_PUT = r"""
command -v tar > /dev/null || exit 69
place=${1%/}
[ -n "$place" ] || place=/
if [ -d "$place" ]; then
  if [ -n "$2" ]; then place=${place%/}/$2
  elif [ "$3" = file ]; then echo "$1: Is a directory" >&2; exit 1; fi
fi
case $place in */*) above=${place%/*}/ ;; *) above=./ ;; esac
if [ "$3" = folder ]; then mkdir -p "$above" || exit; fi
[ -d "$above" ] || { echo "$above: No such file or directory" >&2; exit 1; }
work=$above.remoto-$$
mkdir -m 700 "$work" || exit
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
(cd "$work" && tar -xpf -) || exit
content=$work/content
if [ "$3" = file ]; then
  if [ -d "$place" ]; then echo "$place: Is a directory" >&2; exit 1; fi
  mv -f "$content" "$place"
elif [ ! -e "$place" ]; then mv "$content" "$place"
elif [ ! -d "$place" ]; then echo "$place: Not a directory" >&2; exit 1
else
  case $place in /*) ;; *) place=$PWD/$place ;; esac
  cd "$content" || exit
  find . -type d -exec sh -c 'for path; do [ -d "$0/$path" ] || mkdir "$0/$path" || exit; done' "$place" {} + || exit
  find . ! -type d -exec sh -c 'for path; do
    if [ -d "$0/$path" ] && [ ! -L "$0/$path" ]; then rmdir "$0/$path" || exit; fi
    if [ -L "$0/$path" ]; then rm -f "$0/$path"; fi
    mv -f "$path" "$0/$path" || exit
  done' "$place" {} +
fi
"""

_GET = r"""
command -v tar > /dev/null || exit 69
if [ -d "$1" ]; then cd "$1" && exec tar -cf - .; fi
case $1 in
  */) echo "$1: Not a directory" >&2; exit 1 ;;
  */*) cd "${1%/*}/" || exit ;;
esac
[ -e "${1##*/}" ] || { echo "$1: No such file or directory" >&2; exit 1; }
exec tar -chf - "./${1##*/}"
"""

Progress = Callable[[int, int], Any]


def put(
    conn: Any,
    what: str,
    source: Any,
    destination: bytes,
    name: bytes,
    progress: Progress | None,
    timeout: float | None,
    report: Callable[[str], Any] | None = None,
) -> None:
    """As :func:`remoto.file_sync.put`, but everything is sent, whatever is there already.

    :param source: a path in bytes, or an object open for reading bytes.
    :param report: called with a line for each file.
    """
    host = conn.where()
    archive = _Archive(source, progress, report)
    try:
        kind = archive.kind()
    except OSError as error:
        raise FileTransferError(what, host, [(_shown(source), error.strerror or str(error))], error.errno) from None
    what = f"{what} to {_shown(destination)}"
    command = [b"/bin/sh", b"-c", _PUT.encode(), b"sh", destination, name, kind]
    call = _start(conn, what, command, timeout, stdin=True)
    try:
        with _explained(what, host, timeout):
            _finish(what, host, destination, call, call.exchange(archive.blocks()))
    except BaseException:
        archive.stop()
        call.abandon()
        raise
    if archive.failures:
        raise FileTransferError(what, host, archive.failures)


def get(
    conn: Any,
    what: str,
    source: bytes,
    destination: bytes,
    name: bytes,
    progress: Progress | None,
    timeout: float | None,
) -> None:
    """As :func:`remoto.file_sync.get`."""
    host = conn.where()
    call = _start(conn, what, [b"/bin/sh", b"-c", _GET.encode(), b"sh", source], timeout, stdin=None)
    stream = _Stream(call.exchange(()), lambda status, words: _failed(what, host, source, status, words))
    try:
        with _explained(what, host, timeout):
            receiver = files.Receiver(_Records(stream), destination, name, confine=True, progress=progress)
            receiver.records.receiver = receiver
            receiver.run()
    except BaseException:
        call.abandon()
        raise
    if receiver.failures:
        failures = [(_shown(failure.path), failure.text) for failure in receiver.failures]
        raise FileTransferError(what, host, failures, receiver.failures[0].code)


def _start(conn: Any, what: str, command: list[bytes], timeout: float | None, stdin: bool | None) -> Call:
    call = Call(conn, command, timeout, True, what)
    call.start(RUN, None, None, stdin, {})
    return call


def bounded(gateway: Any, seconds: float | None) -> contextlib.AbstractContextManager[None]:
    """In this, what is sent must go on within so many seconds."""
    io = getattr(gateway, "_io", None)
    return io.bounded(seconds) if isinstance(io, ProcessIO) else contextlib.nullcontext()


def give_up(channel: Any) -> None:
    """Close a channel; its connection too where that takes nothing any more, half a message being on its way."""
    io = getattr(channel.gateway, "_io", None)
    try:
        with bounded(channel.gateway, ABANDON_TIMEOUT):
            if not getattr(io, "stalled", False):
                channel.close()
    except OSError:
        pass
    if isinstance(io, ProcessIO) and io.stalled:
        io.kill()


@contextlib.contextmanager
def _explained(what: str, host: str, timeout: float | None) -> Iterator[None]:
    try:
        yield
    except files.Failure as failure:
        raise FileTransferError(what, host, [(_shown(failure.path), failure.text)], failure.code) from None
    except execnet.TimeoutError:
        raise FileTransferError(what, host, [("", f"no answer for {timeout:g} seconds")]) from None
    except tarfile.TarError as error:
        raise FileTransferError(what, host, [("", f"the answer is not a whole tar: {error}")]) from None


def _finish(what: str, host: str, path: bytes, call: Call, answers: Iterator[tuple[int, Any]]) -> None:
    words: list[bytes] = []
    for kind, data in answers:
        if kind == STATUS:
            _failed(what, host, path, data, b"".join(words))
        else:
            words.append(data)


def _failed(what: str, host: str, path: bytes, status: int, words: bytes) -> None:
    """FileTransferError for an exit status other than 0."""
    if status == NO_TAR:
        raise FileTransferError(
            what, host, [("", "there is neither a Python nor a tar there, and files need one of them")]
        )
    if status:
        reason = _shown(words.strip()).replace("\n", "; ") or f"tar ended with exit status {status}"
        raise FileTransferError(what, host, [(_shown(path), reason)])


def _shown(path: Any) -> str:
    return path.decode("utf-8", "backslashreplace") if isinstance(path, bytes) else "data"


class _Archive:
    """A tar of a file, a folder or a stream, made in a thread as it is sent."""

    def __init__(self, source: Any, progress: Progress | None, report: Callable[[str], Any] | None) -> None:
        self._source = source
        self._progress = progress
        self._report = report
        self._queue: Queue[bytes | BaseException | None] = Queue(AHEAD)
        self._stopped = threading.Event()
        self._sent = self._total = 0
        self.failures: list[tuple[str, str]] = []

    def kind(self) -> bytes:
        """``file`` or ``folder``; OSError where it is not there."""
        if not isinstance(self._source, bytes):
            return b"file"
        is_folder = stat.S_ISDIR(os.stat(self._source).st_mode)
        return b"folder" if is_folder else b"file"

    def blocks(self) -> Iterator[bytes]:
        thread = threading.Thread(target=self._make, daemon=True)
        thread.start()
        while True:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                thread.join()
                return
            yield item

    def stop(self) -> None:
        self._stopped.set()
        while not self._queue.empty():
            self._queue.get()

    def write(self, data: bytes) -> int:
        """tarfile calls this."""
        if self._stopped.is_set():
            raise _Stopped
        self._queue.put(data)
        return len(data)

    def _make(self) -> None:
        try:
            if self._progress is not None and isinstance(self._source, bytes):
                self._total = _size(self._source)
            with tarfile.open(
                fileobj=self,
                mode="w|",
                format=tarfile.GNU_FORMAT,
                bufsize=BLOCK,
                errors="surrogateescape",  # type: ignore[call-overload]
            ) as tar:
                if isinstance(self._source, bytes):
                    self._add(tar, os.path.realpath(os.fsdecode(self._source)), "content", "")
                else:
                    self._add_stream(tar, self._source)
        except _Stopped:
            return
        except BaseException as error:
            self._queue.put(error)
            return
        self._queue.put(None)

    def _add(self, tar: tarfile.TarFile, path: str, name: str, below: str) -> None:
        try:
            info = tar.gettarinfo(path, name)
            if info is None:
                raise OSError("neither a file nor a folder nor a link")
            if info.islnk():
                # another name of a file that has been sent: a copy will do
                info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.lstat(path).st_size
            content = open(path, "rb") if info.isreg() else None
            names = sorted(os.listdir(path)) if info.isdir() else []
        except OSError as error:
            if not below:
                raise
            self.failures.append((os.fsencode(path).decode("utf-8", "backslashreplace"), error.strerror or str(error)))
            return
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        if content is None:
            tar.addfile(info)
        else:
            with content:
                if self._report is not None:
                    shown = os.fsencode(below or os.path.basename(path)).decode("utf-8", "backslashreplace")
                    self._report(f"syncing file: {shown}")
                tar.addfile(info, _Counting(content, self._count))
        for inner in names:
            self._add(tar, os.path.join(path, inner), f"{name}/{inner}", os.path.join(below, inner))

    def _add_stream(self, tar: tarfile.TarFile, source: BinaryIO) -> None:
        # a tar tells the size before the contents
        import shutil
        import tempfile

        with tempfile.TemporaryFile() as whole:
            shutil.copyfileobj(source, whole, BLOCK)
            info = tarfile.TarInfo("content")
            info.size = self._total = whole.tell()
            info.mtime = int(time.time())
            whole.seek(0)
            tar.addfile(info, _Counting(whole, self._count))

    def _count(self, size: int) -> None:
        self._sent += size
        if self._progress is not None:
            self._progress(self._sent, max(self._total, self._sent))


class _Stopped(Exception):
    """The sender has given up."""


class _Counting(io.RawIOBase):
    def __init__(self, source: Any, count: Callable[[int], None]) -> None:
        self._source = source
        self._count = count

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._source.read(size)
        self._count(len(data))
        return data


def _size(path: bytes) -> int:
    if not os.path.isdir(path):
        return os.path.getsize(path)
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


class _Stream:
    """What a command writes, as a file; its failure is raised at its end."""

    def __init__(self, answers: Iterator[tuple[int, Any]], check: Callable[[int, bytes], None]) -> None:
        self._answers = answers
        self._check = check
        self._data = b""
        self._words: list[bytes] = []
        self._ended = False

    def read(self, size: int) -> bytes:
        parts = [self._data]
        missing = size - len(self._data)
        while missing > 0 and not self._ended:
            block = self._next()
            parts.append(block)
            missing -= len(block)
        data = b"".join(parts)
        self._data = data[size:]
        return data[:size]

    def _next(self) -> bytes:
        for kind, data in self._answers:
            if kind == STDOUT:
                return bytes(data)
            if kind == STDERR:
                self._words.append(data)
            else:
                self._ended = True
                self._check(data, b"".join(self._words))
        self._ended = True
        return b""

    def finish(self) -> None:
        """Read to the end, which tells whether the command has succeeded."""
        while not self._ended:
            self._next()


class _Records:
    """A tar as the records that the far side's own sender would send; so a receiver's care is for both."""

    def __init__(self, stream: _Stream) -> None:
        self.receiver: Any = None
        self._records = self._read(stream)

    def read(self) -> tuple[int, bytes]:
        return next(self._records)

    def write(self, kind: int, data: bytes = b"") -> None:
        """There is nobody to tell."""

    def flush(self) -> None:
        pass

    def _read(self, stream: _Stream) -> Iterator[tuple[int, bytes]]:
        folders: dict[bytes, int] = {}
        count = 0
        with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK, errors="surrogateescape") as tar:  # type: ignore[call-overload]
            for info in tar:
                name = os.fsencode(info.name)
                parts = [part for part in name.split(b"/") if part not in (b"", b".")]
                is_root = count == 0
                parent = files.NO_PARENT if is_root else folders.get(b"/".join(parts[:-1]), files.NO_PARENT - 1)
                kind, size, target = self._kind(info, name)
                time = int(info.mtime * 1_000_000_000)
                base = b"" if is_root else (parts[-1] if parts else b"")
                head = files.ENTRY_HEAD.pack(parent, kind, info.mode & 0o7777, time, size, len(base))
                yield files.ENTRY, head + base + target
                if kind == files.FOLDER:
                    folders[b"/".join(parts)] = count
                if kind == files.FILE and count in self.receiver.wanted:
                    yield from self._contents(tar, info, count, time)
                count += 1
        stream.finish()
        yield files.LISTED, b""
        yield files.FINISH, b"complete"

    def _kind(self, info: tarfile.TarInfo, name: bytes) -> tuple[int, int, bytes]:
        if info.isdir():
            return files.FOLDER, 0, b""
        if info.issym():
            return files.LINK, 0, os.fsencode(info.linkname)
        if info.isreg():
            return files.FILE, info.size, b""
        if info.islnk():
            raise files.Failure(name, 0, "is one of several names of a file: without a Python there, that can't be got")
        raise files.Failure(name, 0, "neither a file nor a folder nor a link")

    def _contents(
        self, tar: tarfile.TarFile, info: tarfile.TarInfo, index: int, time: int
    ) -> Iterator[tuple[int, bytes]]:
        yield files.BEGIN, files.FILE_HEAD.pack(index, info.mode & 0o7777, time, info.size)
        digest = hashlib.sha256()
        content = tar.extractfile(info)
        assert content is not None
        while True:
            block = content.read(BLOCK)
            if not block:
                break
            digest.update(block)
            yield files.DATA, block
        yield files.END, digest.digest()
