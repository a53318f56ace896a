"""Files for :mod:`remoto.testing`: put, get and rsync use a local directory instead of a remote host."""

from __future__ import annotations

import os
import posixpath
import queue
import shutil
import tempfile
import threading
import traceback
import weakref
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Protocol, Union

import execnet

from ..exc import RemotoError
from ..remote import files as files_of_remote_side
from ..remote.records import FAILED, HEAD, Failure, Records

if TYPE_CHECKING:
    from ..untyped import AnyFunction

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
#: the contents of a file, or the error of a transfer
Content = Union[bytes, BaseException]


class Closable(Protocol):
    def exit(self) -> None: ...


class Files(MutableMapping[Path, Content]):
    """Files in a local directory, which is used as the remote host's ``/``."""

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}
        self._directory = ""

    @property
    def directory(self) -> str:
        if not self._directory:
            self._directory = os.path.realpath(tempfile.mkdtemp(prefix="remoto-testing-"))
            weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        return self._directory

    def local_path(self, path: Path) -> str:
        """Return the local path for a remote path. ``..`` cannot leave the directory."""
        text = os.fsdecode(path)
        return self.directory + _absolute(text) + ("/" if text.endswith("/") else "")

    def __getitem__(self, path: Path) -> Content:
        if _absolute(path) in self.errors:
            return self.errors[_absolute(path)]
        try:
            with open(self.local_path(path), "rb") as file:
                return file.read()
        except OSError:
            raise KeyError(path) from None

    def __setitem__(self, path: Path, content: str | Content) -> None:
        self.errors.pop(_absolute(path), None)
        if isinstance(content, BaseException):
            self.errors[_absolute(path)] = content
            return
        data = as_bytes("content", content)
        os.makedirs(os.path.dirname(self.local_path(path)), exist_ok=True)
        with open(self.local_path(path), "wb") as file:
            file.write(data)

    def __delitem__(self, path: Path) -> None:
        if self.errors.pop(_absolute(path), None) is None:
            self[path]
            os.unlink(self.local_path(path))

    def __iter__(self) -> Iterator[str]:
        found = [os.path.join(top, name) for top, _, names in os.walk(self.directory) for name in names]
        return iter(sorted({*self.errors, *(path[len(self.directory) :] for path in found)}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return repr(dict(self))


class Transfer:
    """The channel of a transfer. A thread runs the real remote code in the directory of ``files``."""

    def __init__(self, gateway: Closable, files: Files, function: str, request: Mapping[str, Path]) -> None:
        self._gateway = gateway
        self._inbox: queue.Queue[object] = queue.Queue()
        self._outbox: queue.Queue[object] = queue.Queue()
        name = "destination" if function == "put" else "source"
        path = request[name]
        self._root = os.fsencode(files.directory)
        here = os.fsencode(files.local_path(path))
        if function == "put":
            # programs need not create remote directories in a test
            os.makedirs(os.path.dirname(here), exist_ok=True)
        error = next((error for bad, error in files.errors.items() if _overlap(bad, _absolute(path))), None)
        work = _Fails(path, error).run if error else getattr(files_of_remote_side, function)
        self._thread = threading.Thread(target=self._serve, args=(work, {**request, name: here}), daemon=True)
        self._thread.start()

    def _serve(self, work: AnyFunction[object], request: Mapping[str, object]) -> None:
        try:
            work(_RemoteEnd(self._outbox, self._inbox, self._root), **request)
        except ConnectionError:
            self._gateway.exit()
        except Exception as error:
            self._inbox.put(execnet.RemoteError(traceback_of(error)))
        self._inbox.put(EOFError())

    def receive(self, timeout: float | None = None) -> object:
        return _received(self._inbox, timeout)

    def send(self, item: object) -> None:
        self._outbox.put(item)

    def waitclose(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def close(self) -> None:
        self._outbox.put(EOFError())
        self._thread.join()


class _RemoteEnd:
    """The remote end of a transfer's channel."""

    def __init__(self, inbox: queue.Queue[object], outbox: queue.Queue[object], root: bytes) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._root = root

    def receive(self, timeout: float | None = None) -> object:
        return _received(self._inbox, timeout)

    def send(self, message: bytes) -> None:
        kind, length = HEAD.unpack_from(message)
        if kind == FAILED:
            # report the remote path, not the local one
            failure = Failure.unpack(message[HEAD.size :][:length])
            failure.path = failure.path.replace(self._root, b"", 1)
            message = HEAD.pack(kind, len(failure.pack())) + failure.pack()
        self._outbox.put(message)


class _Fails:
    """The remote side of a transfer that the script makes fail."""

    def __init__(self, path: Path, error: BaseException) -> None:
        self._path = path
        self._error = error

    def run(self, channel: _RemoteEnd, **request: object) -> None:
        error = self._error
        if not isinstance(error, OSError) or isinstance(error, (ConnectionError, RemotoError)):
            raise error
        failure = Failure.of(os.fsencode(self._path), error)
        records = Records(channel)
        records.write(FAILED, failure.pack())
        records.flush()


def _received(inbox: queue.Queue[object], timeout: float | None) -> object:
    try:
        item = inbox.get(timeout=timeout)
    except queue.Empty:
        raise execnet.TimeoutError(f"no item after {timeout} seconds") from None
    if isinstance(item, EOFError):
        inbox.put(item)
    if isinstance(item, BaseException):
        raise item
    return item


def _absolute(path: Path) -> str:
    return posixpath.normpath("/" + os.fsdecode(path).lstrip("/"))


def _overlap(one: str, other: str) -> bool:
    """Return True if the paths are equal, or one is below the other."""
    return posixpath.commonpath([one, other]) in (one, other)


def traceback_of(error: BaseException) -> str:
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    head = [] if error.__traceback__ else ["Traceback (most recent call last):\n"]
    return "".join([*head, *lines])


def as_bytes(name: str, text: object) -> bytes:
    """Return str as bytes, and bytes unchanged.

    :param name: the argument's name, for the error.
    :raises TypeError: it is neither str nor bytes.
    """
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    if isinstance(text, bytes):
        return text
    raise TypeError(f"{name}: expected str or bytes, not {type(text).__name__}: {text!r}")
