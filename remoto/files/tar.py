"""Files to and from a container without a Python: a tar goes through a command's stdin or stdout, in blocks."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import os
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from queue import Queue
from typing import Any, BinaryIO, Callable, NoReturn, Union

import execnet

from .. import remote
from ..commands.answers import STATUS, STDERR, STDOUT
from ..commands.call import RUN, Call
from ..exc import FileTransferError
from ..remote import files

BLOCK = 256 * 1024
#: blocks between the thread that makes a tar and the one that sends it
AHEAD = 8
NO_TAR = 69
#: bytes: a path has 4096 at most
LONGEST_HEADER = 64 * 1024
#: of the year 9999, the last that touch knows
LAST_SECOND = 253402300799
NEITHER = "neither a file nor a folder nor a link"
# seconds that a far side may take to remove what it has begun, after this side has given up
ABANDON_TIMEOUT = 5.0
_MALFORMED = (*files.MALFORMED, TypeError, RecursionError)

#: characters of a path in an error: no system takes a longer one
LONGEST_PATH = 4096

Progress = Callable[[int, Union[int, None]], Any]
# files copied, files unchanged, bytes
Counts = tuple[int, int, int]


def put(
    conn: Any,
    what: str,
    source: Any,
    destination: bytes,
    name: bytes,
    progress: Progress | None,
    timeout: float | None,
    report: Callable[[str], Any] | None = None,
) -> Counts:
    """As :func:`remoto.file_sync.put`, but everything is sent, whatever is there already.

    :param source: a path in bytes, or an object open for reading bytes.
    :param report: called with a line for each file.
    """
    host = conn.where()
    archive = _Archive(source, progress, report)
    try:
        kind = archive.prepare()
    except OSError as error:
        failed = [(_shown(source) if isinstance(source, bytes) else "", error.strerror or str(error))]
        raise FileTransferError(what, host, failed, error.errno, side="local") from None
    what = f"{what} to {_shown(destination)}"
    call = _start(
        conn, what, [b"/bin/sh", b"-c", _script("tar_put.sh"), b"sh", destination, name, kind], timeout, stdin=True
    )
    try:
        with _explained(what, host, call):
            _finish(what, host, destination, call, call.exchange(archive.blocks()))
    except BaseException as error:
        archive.stop()
        _abandon(call)
        if isinstance(error, _MALFORMED) and error is not archive.error:
            raise transfer_error(what, host, [files.malformed(error)]) from None
        raise
    if archive.failures:
        raise FileTransferError(what, host, archive.failures, side="local")
    return archive.copied, 0, archive.sent


def get(
    conn: Any,
    what: str,
    source: bytes,
    destination: bytes,
    name: bytes,
    progress: Progress | None,
    timeout: float | None,
    make: bool = False,
) -> Counts:
    """As :func:`remoto.file_sync.get`; with ``make`` as :func:`remoto.file_sync.get_into`."""
    host = conn.where()
    call = _start(conn, what, [b"/bin/sh", b"-c", _script("tar_get.sh"), b"sh", source], timeout, stdin=None)
    stream = _Stream(call.exchange(()), lambda status, words: _failed(what, host, source, status, words))
    try:
        with _explained(what, host, call):
            receiver = files.Receiver(_Records(stream), destination, name, confine=True, progress=progress, make=make)
            receiver.records.receiver = receiver
            receiver.run()
    except BaseException:
        _abandon(call)
        raise
    if receiver.failures:
        raise transfer_error(what, host, receiver.failures)
    return receiver.copied, receiver.unchanged, receiver.received


@functools.cache
def _script(filename: str) -> bytes:
    return remote.text(filename).encode("ascii")


def _start(conn: Any, what: str, command: list[bytes], timeout: float | None, stdin: bool | None) -> Call:
    call = Call(conn, command, timeout, True, what)
    call.start(RUN, None, None, stdin, {})
    return call


@contextlib.contextmanager
def _explained(what: str, host: str, call: Call) -> Iterator[None]:
    try:
        yield
    except files.Failure as failure:
        raise transfer_error(what, host, [failure]) from None
    except execnet.TimeoutError:
        raise FileTransferError(what, host, [("", f"no answer for {call.timeout:g} seconds")]) from None


def transfer_error(what: str, host: str, failures: list[Any]) -> FileTransferError:
    """Return the error for what one of the two ends has failed at."""
    pairs = [(_shown(failure.path), failure.text) for failure in failures]
    side = "remote" if isinstance(failures[0], files.TheirFailure) else "local"
    return FileTransferError(what, host, pairs, failures[0].code, side=side)


def _abandon(call: Call) -> None:
    """End the command there, wait until it has removed what it has begun, and close."""
    call.end(ABANDON_TIMEOUT)
    call.abandon()


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
        said = _shown(words.strip()).replace("\n", "; ").removeprefix(f"{_shown(path)}: ")
        failed = [(_shown(path), said or f"tar ended with exit status {status}")]
        raise FileTransferError(what, host, failed, side="remote")


def _shown(path: bytes) -> str:
    shown = path.decode("utf-8", "backslashreplace")
    return shown if len(shown) <= LONGEST_PATH else f"{shown[:LONGEST_PATH]}..."


def _quoted(path: str) -> bytes:
    return b"'" + os.fsencode(path).replace(b"'", b"'\\''") + b"'"


class _Archive:
    """A tar of a file, a folder or a stream, made in a thread as it is sent."""

    def __init__(self, source: Any, progress: Progress | None, report: Callable[[str], Any] | None) -> None:
        self._source = source
        self._progress = progress
        self._report = report
        self._queue: Queue[bytes | BaseException | None] = Queue(AHEAD)
        self._stopped = threading.Event()
        self.sent = self.copied = self._total = 0
        self._moves: list[bytes] = []
        self._folders: list[bytes] = []
        self.failures: list[tuple[str, str]] = []
        self.error: BaseException | None = None

    def prepare(self) -> bytes:
        """``file``, ``data`` or ``folder``; OSError where it can't be read, before anything is begun there."""
        if not isinstance(self._source, bytes):
            self._source = _whole(self._source)
            return b"data"
        mode = os.stat(self._source).st_mode
        if stat.S_ISDIR(mode):
            return b"folder"
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NEITHER)
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
                self.failures.append((_shown(os.fsencode(path)), error.strerror or str(error)))
                continue
            # from here on it can't be left out any more
            if content is None:
                self._add_other(tar, info, below)
            else:
                with content:
                    self._add_file(tar, info, content, path, below)
            pending += [(os.path.join(path, name), os.path.join(below, name)) for name in names]
        for name, lines in (("merge", self._moves), ("folders", self._folders[::-1])):
            _add_text(tar, name, b"".join(lines))

    def _info(self, tar: tarfile.TarFile, path: str, below: str) -> tarfile.TarInfo:
        info = tar.gettarinfo(path, f"content/{below}" if below else "content")
        if info is None or not (info.isreg() or info.islnk() or info.isdir() or info.issym()):
            raise OSError(errno.EINVAL, NEITHER)
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        if info.islnk():
            # another name of a file that has been sent: a copy will do
            info.type, info.linkname = tarfile.REGTYPE, ""
        return info

    def _add_other(self, tar: tarfile.TarFile, info: tarfile.TarInfo, below: str) -> None:
        """A folder or a link."""
        if info.isdir():
            seconds = max(0, min(int(info.mtime), LAST_SECOND))
            when = time.strftime("%Y%m%d%H%M.%S", time.gmtime(seconds)).encode()
            self._folders.append(b"t %o %s %s\n" % (stat.S_IMODE(info.mode), when, _quoted(below or ".")))
            # until the end, it must take files
            info.mode |= stat.S_IRWXU
        if below:
            self._moves.append(b"%s %s\n" % (b"d" if info.isdir() else b"m", _quoted(below)))
        tar.addfile(info)

    def _add_file(self, tar: tarfile.TarFile, info: tarfile.TarInfo, content: Any, path: str, below: str) -> None:
        before = os.fstat(content.fileno())
        start = content.read(BLOCK)
        info.size = before.st_size
        source = content
        if len(start) != min(before.st_size, BLOCK):
            # a file of /proc or /sys, of which stat does not tell the size; one that has changed is noticed below
            start += content.readall()
            info.size = len(start)
            self._total += info.size - before.st_size
            source = io.BytesIO(start)
        source.seek(0)
        if self._report is not None:
            self._report(f"syncing file: {_shown(os.fsencode(below or os.path.basename(path)))}")
        if below:
            self._moves.append(b"m %s\n" % _quoted(below))
        # what has been sent can't be taken back: unlike with a Python there, this is the end of the transfer
        changed = files.Failure(os.fsencode(path), errno.EBUSY, "changed while it was sent")
        tar.addfile(info, _Counting(source, self._count, changed))
        after = os.fstat(content.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise changed
        self.copied += 1

    def _add_data(self, tar: tarfile.TarFile, whole: BinaryIO) -> None:
        # a tar tells the size before the contents
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
    """The sender has given up."""


class _Counting(io.RawIOBase):
    """What tarfile reads a file from. It asks for no more than there is to be."""

    def __init__(self, source: Any, count: Callable[[int], None], short: Exception) -> None:
        self._source = source
        self._count = count
        self._short = short

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._source.read(size)
        if len(data) < size:
            raise self._short
        self._count(len(data))
        return data


def _opened(path: str) -> Any:
    content = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
        content.close()
        raise OSError(errno.EINVAL, NEITHER)
    return content


def _whole(source: BinaryIO) -> BinaryIO:
    """A copy of all that a stream gives."""
    import tempfile

    whole: Any = tempfile.TemporaryFile()
    try:
        while block := source.read(BLOCK):
            if not isinstance(block, bytes):
                raise TypeError(f"not an open binary file: it gives {type(block).__name__}")
            whole.write(block)
    except BaseException:
        whole.close()
        raise
    return whole  # type: ignore[no-any-return]


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
            continue  # it has just gone, or will be told of when it is its turn
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


class _Info(tarfile.TarInfo):
    """A member of a tar. It takes no more memory than names can need, and no more room than was received."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        # tarfile reads the data of a long name, or of a pax header, in one
        if self.size > LONGEST_HEADER and self.type not in tarfile.REGULAR_TYPES:
            raise ValueError(f"a header of {self.size} bytes")
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        if member.issparse():
            self._refuse_sparse(member)
        return member

    def _refuse_sparse(self, member: object, *_: object) -> NoReturn:
        # a few bytes of it stand for a file of any size
        name = member.name if isinstance(member, tarfile.TarInfo) else self.name
        raise files.TheirFailure(os.fsencode(name), 0, "refused: a sparse file in the tar")

    # tarfile would read the list of its parts first, which may be without end
    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


class _Records:
    """A tar as the records that the far side's own sender would send; so a receiver's care is for both."""

    def __init__(self, stream: _Stream) -> None:
        self.receiver: Any = None
        self._records = self._read(stream)

    def read(self) -> tuple[int, bytes]:
        try:
            return next(self._records)
        except tarfile.TarError as error:
            raise files.Failure(b"", 0, f"the answer is not a whole tar: {error}") from None
        except (*_MALFORMED, StopIteration) as error:
            raise files.malformed(error) from None

    def write(self, kind: int, data: bytes = b"") -> None:
        """There is nobody to tell."""

    def flush(self) -> None:
        pass

    def _read(self, stream: _Stream) -> Iterator[tuple[int, bytes]]:
        folders: dict[bytes, int] = {}
        count, complete = 0, b"complete"
        with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK, errors="surrogateescape", tarinfo=_Info) as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                # tarfile keeps a list of all
                tar.members.clear()  # type: ignore[attr-defined]
                name = os.fsencode(info.name)
                parts = [part for part in name.split(b"/") if part not in (b"", b".")]
                left_out = self._left_out(info)
                if left_out:
                    complete = b""
                    yield files.SKIP, files.Failure(b"/".join(parts), 0, left_out).pack()
                    continue
                is_root = count == 0
                parent = files.NO_PARENT if is_root else folders.get(b"/".join(parts[:-1]), files.NO_PARENT - 1)
                kind, size, target = self._kind(info)
                time = max(-files.LAST_TIME, min(int(info.mtime * 1_000_000_000), files.LAST_TIME))
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
        yield files.FINISH, complete

    def _left_out(self, info: tarfile.TarInfo) -> str:
        """Why something can't be received; empty where it can."""
        if info.islnk():
            return "is one of several names of a file: without a Python there, only the first can be got"
        return "" if info.isdir() or info.issym() or info.isreg() else NEITHER

    def _kind(self, info: tarfile.TarInfo) -> tuple[int, int, bytes]:
        if info.isdir():
            return files.FOLDER, 0, b""
        if info.issym():
            return files.LINK, 0, os.fsencode(info.linkname)
        return files.FILE, info.size, b""

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
