"""Make a tar archive of a file, a directory or a stream."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from queue import Queue
from typing import BinaryIO, Callable

from ..lazy import importing
from ..remote.records import BLOCK, CHANGED, NOT_COPIED, Failure
from .arguments import Progress
from .errors import shown

#: blocks that may wait to be sent
AHEAD = 8
#: the end of the year 9999, the last that touch accepts
LAST_SECOND = 253402300799


class Archive:
    """A tar archive of a file, a directory or a stream. It is made in one thread and sent in another."""

    def __init__(
        self, source: bytes | BinaryIO, progress: Progress | None, report: Callable[[str], object] | None
    ) -> None:
        self._source = source
        self._progress = progress
        self._report = report
        self._queue: Queue[bytes | BaseException | None] = Queue(AHEAD)
        self._stopped = threading.Event()
        self.sent = self.copied = self._total = 0
        self._moves: list[bytes] = []
        self._directories: list[bytes] = []
        self.failures: list[tuple[str, str]] = []
        self.error: BaseException | None = None

    def prepare(self) -> bytes:
        """Check the source, before anything starts in the container. Return ``file``, ``data`` or ``directory``.

        :raises OSError: the source can't be read.
        """
        if not isinstance(self._source, bytes):
            self._source = _whole(self._source)
            return b"data"
        mode = os.stat(self._source).st_mode
        if stat.S_ISDIR(mode):
            return b"directory"
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NOT_COPIED)
        if self._source.endswith(b"/"):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return b"file"

    def blocks(self) -> Iterator[bytes]:
        thread = threading.Thread(target=self._make, daemon=True)
        thread.start()
        while True:
            item = self._queue.get()
            if isinstance(item, BaseException):
                self.error = item
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
        """Queue a block; tarfile calls this."""
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
                    self._add_tree(tar, os.path.realpath(os.fsdecode(self._source)))
                else:
                    self._add_data(tar, self._source)
        except _Stopped:
            return
        except BaseException as error:
            self._queue.put(error)
            return
        self._queue.put(None)

    def _add_tree(self, tar: tarfile.TarFile, root: str) -> None:
        pending = [(root, "")]
        while pending:
            path, below = pending.pop()
            try:
                info = self._info(tar, path, below)
                names = sorted(os.listdir(path), reverse=True) if info.isdir() else []
                content = _opened(path) if info.isreg() else None
            except OSError as error:
                if not below:
                    raise
                self.failures.append((shown(os.fsencode(path)), error.strerror or str(error)))
                continue
            # from here on it can't be skipped
            if content is None:
                self._add_other(tar, info, below)
            else:
                with content:
                    self._add_file(tar, info, content, path, below)
            pending += [(os.path.join(path, name), os.path.join(below, name)) for name in names]
        for name, lines in (("merge", self._moves), ("directories", self._directories[::-1])):
            _add_text(tar, name, b"".join(lines))

    def _info(self, tar: tarfile.TarFile, path: str, below: str) -> tarfile.TarInfo:
        info = tar.gettarinfo(path, f"content/{below}" if below else "content")
        if info is None or not (info.isreg() or info.islnk() or info.isdir() or info.issym()):
            raise OSError(errno.EINVAL, NOT_COPIED)
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        if info.islnk():
            # send a hard link as a copy
            info.type, info.linkname = tarfile.REGTYPE, ""
        return info

    def _add_other(self, tar: tarfile.TarFile, info: tarfile.TarInfo, below: str) -> None:
        """Add a directory or a link."""
        if info.isdir():
            seconds = max(0, min(int(info.mtime), LAST_SECOND))
            when = time.strftime("%Y%m%d%H%M.%S", time.gmtime(seconds)).encode()
            self._directories.append(b"t %o %s %s\n" % (stat.S_IMODE(info.mode), when, _quoted(below or ".")))
            # keep it writable until its contents are there
            info.mode |= stat.S_IRWXU
        if below:
            self._moves.append(b"%s %s\n" % (b"d" if info.isdir() else b"m", _quoted(below)))
        tar.addfile(info)

    def _add_file(self, tar: tarfile.TarFile, info: tarfile.TarInfo, content: io.FileIO, path: str, below: str) -> None:
        before = os.fstat(content.fileno())
        start = content.read(BLOCK)
        info.size = before.st_size
        source: io.FileIO | io.BytesIO = content
        if len(start) != min(before.st_size, BLOCK):
            # a file in /proc or /sys, whose reported size is wrong; a change of another file is noticed below
            start += content.readall()
            info.size = len(start)
            self._total += info.size - before.st_size
            source = io.BytesIO(start)
        source.seek(0)
        if self._report is not None:
            self._report(f"syncing file: {shown(os.fsencode(below or os.path.basename(path)))}")
        if below:
            self._moves.append(b"m %s\n" % _quoted(below))
        # after the start of the member was sent, only the whole transfer can fail
        changed = Failure(os.fsencode(path), errno.EBUSY, CHANGED)
        tar.addfile(info, _Counting(source, self._count, changed))
        after = os.fstat(content.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise changed
        self.copied += 1

    def _add_data(self, tar: tarfile.TarFile, whole: BinaryIO) -> None:
        # the size must be known first: it precedes the contents in the archive
        with whole:
            info = tarfile.TarInfo("content")
            info.size = self._total = whole.seek(0, io.SEEK_END)
            info.mtime = int(time.time())
            whole.seek(0)
            tar.addfile(info, _Counting(whole, self._count, EOFError()))
        self.copied = 1

    def _count(self, size: int) -> None:
        self.sent += size
        total = max(self._total, self.sent)
        if self._progress is not None and total:
            self._progress(self.sent, total)


class _Stopped(Exception):
    """The transfer was stopped."""


class _Counting(io.RawIOBase):
    """A file for tarfile, which counts the bytes read, and raises ``short`` if it ends before the announced size."""

    def __init__(self, source: BinaryIO | io.FileIO, count: Callable[[int], None], short: Exception) -> None:
        self._source = source
        self._count = count
        self._short = short

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._source.read(size)
        if len(data) < size:
            raise self._short
        self._count(len(data))
        return data


def _opened(path: str) -> io.FileIO:
    content = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
        content.close()
        raise OSError(errno.EINVAL, NOT_COPIED)
    return content


def _whole(source: BinaryIO) -> BinaryIO:
    """Copy a stream to a temporary file; return the file."""
    with importing:
        import tempfile

    whole = tempfile.TemporaryFile()
    try:
        while block := source.read(BLOCK):
            if not isinstance(block, bytes):
                raise TypeError(f"expected a file opened in binary mode: read() returned {type(block).__name__}")
            whole.write(block)
    except BaseException:
        whole.close()
        raise
    return whole


def _add_text(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _size(path: bytes) -> int:
    total, pending = 0, [path]
    while pending:
        path = pending.pop()
        try:
            status = os.stat(path) if not total and not pending else os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                total += status.st_size
            elif stat.S_ISDIR(status.st_mode):
                pending += [os.path.join(path, name) for name in os.listdir(path)]
        except OSError:
            continue  # removed meanwhile, or reported when it is sent
    return total


def _quoted(path: str) -> bytes:
    return b"'" + os.fsencode(path).replace(b"'", b"'\\''") + b"'"
