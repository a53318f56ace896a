"""Check the arguments of transfers before anything starts."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, Callable, Union, cast

from ..commands.target import Target, target_of
from ..exc import FileTransferError
from ..util import checked_seconds
from .errors import shown

Path = Union[str, "os.PathLike[str]", "os.PathLike[bytes]"]
Progress = Callable[[int, Union[int, None]], object]


def require_connection(conn: object) -> None:
    if not hasattr(conn, "inside"):
        raise TypeError(f"conn: expected a connection, not {type(conn).__name__}: {conn!r}")


def require_progress(progress: object) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"progress: expected a function, not {type(progress).__name__}: {progress!r}")


def contents_of(source: object) -> bytes | BinaryIO:
    """Return the path of the source, or an object to read its contents from."""
    if isinstance(source, (str, os.PathLike)):
        return local_path("source", source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if isinstance(source, io.TextIOBase) or isinstance(getattr(source, "encoding", None), str):
        raise TypeError(f"source: expected a file opened in binary mode, not text: {source!r}")
    if isinstance(source, type) or not callable(getattr(source, "read", None)):
        expected = "a path, bytes or a file opened in binary mode"
        raise TypeError(f"source: expected {expected}, not {type(source).__name__}: {source!r}")
    if isinstance(source, io.IOBase) and (source.closed or not source.readable()):
        raise ValueError(f"source: the file is closed, or not opened for reading: {source!r}")
    return cast("BinaryIO", source)


def size_of(stream: BinaryIO) -> int | None:
    """Return the number of bytes left to read; None if unknown."""
    try:
        position = stream.tell()
        size = stream.seek(0, io.SEEK_END) - position
    except (AttributeError, TypeError, ValueError, OSError):
        return None
    # do not catch an error here: without this seek, nothing would be sent
    stream.seek(position)
    # files in /proc and /sys report the size 0
    return size if size > 0 else None


def require_source(path: bytes, what: str, host: str, advice: str = "") -> None:
    try:
        os.stat(path)
    except OSError as error:
        reason = (error.strerror or str(error)) + advice
        raise FileTransferError(what, host, [(shown(path), reason)], error.errno, side="local") from None


def advice(source: object) -> str:
    """Return a hint if a str was probably meant as contents."""
    is_text = isinstance(source, str) and ("/" not in source or source.split() != [source])
    return " (a str is a path; contents are bytes)" if is_text else ""


def local_path(name: str, path: object) -> bytes:
    return os.fsencode(_checked_path(name, path))


def remote_path(name: str, path: object) -> bytes:
    text = _checked_path(name, path)
    if not text:
        raise ValueError(f"{name}: the path is empty")
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _checked_path(name: str, path: object) -> str | bytes:
    try:
        text = os.fspath(cast("Path", path))
    except TypeError:
        raise TypeError(f"{name}: expected a path, not {type(path).__name__}: {path!r}") from None
    if (b"\0" if isinstance(text, bytes) else "\0") in text:  # type: ignore[operator]
        raise ValueError(f"{name}: embedded null byte: {path!r}")
    return text


def name_in_directory(path: bytes) -> bytes:
    """Return the name of the copy in a directory; empty if the source means a directory's contents."""
    name = os.path.basename(path)
    return b"" if name in (b".", b"..") else name


def timeout_of(conn: Target, timeout: float | None) -> float | None:
    """Return the timeout in seconds, by default the connection's; None means no limit."""
    return checked_seconds("timeout", timeout or target_of(conn).global_timeout)
