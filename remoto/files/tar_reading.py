"""Read the tar archive that a command in a container writes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import Callable, NoReturn

from ..commands.answers import Block, Exited
from ..remote import records
from ..remote.digest import Digest
from ..remote.receiver import Receiver
from ..remote.records import (
    BEGIN,
    BLOCK,
    DATA,
    DIRECTORY,
    END,
    ENTRY,
    ENTRY_HEAD,
    FILE,
    FILE_HEAD,
    FINISH,
    LAST_TIME,
    LINK,
    LISTED,
    NO_PARENT,
    NOT_COPIED,
    SKIP,
    Failure,
    PeerFailure,
    malformed,
)
from ..remote.wire import STDOUT

#: bytes; a path has 4,096 at most
LONGEST_HEADER = 64 * 1024
MALFORMED = (*records.MALFORMED, TypeError, RecursionError)


class Stream:
    """The stdout of a command, as a file. Reading past the end raises the command's failure."""

    def __init__(self, answers: Iterator[Block | Exited], check: Callable[[int, bytes], None]) -> None:
        self._answers = answers
        self._check = check
        self._data = b""
        self._stderr: list[bytes] = []
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
        for answer in self._answers:
            if isinstance(answer, Exited):
                self._ended = True
                self._check(answer.status, b"".join(self._stderr))
            elif answer.stream == STDOUT:
                return answer.data
            else:
                self._stderr.append(answer.data)
        self._ended = True
        return b""

    def finish(self) -> None:
        """Read to the end. Raise if the command failed."""
        while not self._ended:
            self._next()


class _Info(tarfile.TarInfo):
    """A member of a tar archive, with limits on the memory for its header and on the disk space for its contents."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        # tarfile reads a long name or a pax header into memory
        if self.size > LONGEST_HEADER and self.type not in tarfile.REGULAR_TYPES:
            raise ValueError(f"a header of {self.size} bytes")
        member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        if member.issparse():
            self._refuse_sparse(member)
        return member

    def _refuse_sparse(self, member: object, *_: object) -> NoReturn:
        # a few bytes can stand for a file of any size
        name = member.name if isinstance(member, tarfile.TarInfo) else self.name
        raise PeerFailure(os.fsencode(name), 0, "refused: a sparse file in the tar")

    # tarfile would first read the list of parts, which may be endless
    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar archive. Clear tarfile's list of them, which would grow."""
    # open() has read the first one; if there is none, next() fails in Python 3.9
    info = tar.next() if tar.members else None  # type: ignore[attr-defined]
    while info is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        yield info
        info = tar.next()


class Records:
    """The members of a tar archive as the records of a Sender, so that a Receiver checks them in the same way."""

    def __init__(self, stream: Stream) -> None:
        self.receiver: Receiver
        self._records = self._read(stream)

    def read(self) -> tuple[int, bytes]:
        try:
            return next(self._records)
        except tarfile.TarError as error:
            raise Failure(b"", 0, f"incomplete or malformed tar: {error}") from None
        except (*MALFORMED, StopIteration) as error:
            raise malformed(error) from None

    def write(self, kind: int, data: bytes = b"") -> None:
        """Do nothing: tar receives no records."""

    def flush(self) -> None:
        pass

    def _read(self, stream: Stream) -> Iterator[tuple[int, bytes]]:
        directories: dict[bytes, int] = {}
        count, complete = 0, b"complete"
        with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK, errors="surrogateescape", tarinfo=_Info) as tar:  # type: ignore[call-overload]
            for info in _members(tar):
                name = os.fsencode(info.name)
                parts = [part for part in name.split(b"/") if part not in (b"", b".")]
                left_out = self._left_out(info)
                if left_out:
                    complete = b""
                    yield SKIP, Failure(b"/".join(parts), 0, left_out).pack()
                    continue
                is_root = count == 0
                parent = NO_PARENT if is_root else directories.get(b"/".join(parts[:-1]), NO_PARENT - 1)
                kind, size, target = self._kind(info)
                time = max(-LAST_TIME, min(int(info.mtime * 1_000_000_000), LAST_TIME))
                base = b"" if is_root else (parts[-1] if parts else b"")
                head = ENTRY_HEAD.pack(parent, kind, info.mode & 0o7777, time, size, len(base))
                yield ENTRY, head + base + target
                if kind == DIRECTORY:
                    directories[b"/".join(parts)] = count
                if kind == FILE and count in self.receiver.wanted:
                    yield from self._contents(tar, info, count, time)
                count += 1
        stream.finish()
        yield LISTED, b""
        yield FINISH, complete

    def _left_out(self, info: tarfile.TarInfo) -> str:
        """Return why a member must be skipped; empty if it need not."""
        if info.islnk():
            return "is a hard link: without Python in the container, only the first name of a file is copied"
        return "" if info.isdir() or info.issym() or info.isreg() else NOT_COPIED

    def _kind(self, info: tarfile.TarInfo) -> tuple[int, int, bytes]:
        if info.isdir():
            return DIRECTORY, 0, b""
        if info.issym():
            return LINK, 0, os.fsencode(info.linkname)
        return FILE, info.size, b""

    def _contents(
        self, tar: tarfile.TarFile, info: tarfile.TarInfo, index: int, time: int
    ) -> Iterator[tuple[int, bytes]]:
        yield BEGIN, FILE_HEAD.pack(index, info.mode & 0o7777, time, info.size)
        digest = Digest()
        content = tar.extractfile(info)
        assert content is not None
        while True:
            block = content.read(BLOCK)
            if not block:
                break
            digest.update(block)
            yield DATA, block
        yield END, digest.value()
