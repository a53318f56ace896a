"""Files: ``rsync`` a folder to hosts, ``put`` a file or folder on one, ``get`` one from there."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Callable, NamedTuple, Union

import execnet

from .backends import BaseConnection
from .connection import Connection
from .exc import ConnectionLost, ContainerError, FileTransferError, RsyncError
from .files import tar as file_tar
from .files.tar import ABANDON_TIMEOUT, _shown
from .gateways.bootstrap import RemoteFunction, lost, raise_cause
from .gateways.execnet_internals import deal_with, set_window
from .gateways.outbox import sending_within
from .gateways.receiving import Window
from .remote import files
from .util import RemoteError, bound

__all__ = ["CopyResult", "get", "put", "rsync", "rsync_conn"]

Path = Union[str, "os.PathLike[Any]"]
Progress = Callable[[int, Union[int, None]], Any]

#: hosts at a time
PARALLEL = 32
_PUT = RemoteFunction("files", "put")
_GET = RemoteFunction("files", "get")


class CopyResult(NamedTuple):
    """What :func:`put` or :func:`get` did."""

    #: the number of files whose contents were copied
    copied: int
    #: the number of files that were the same already: contents' size, time and mode
    unchanged: int
    #: the number of bytes of all contents that were copied
    size: int


def put(
    conn: Any,
    source: Path | bytes | BinaryIO,
    destination: Path,
    *,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """Copy a file, or a folder with all that is in it, from here to where the connection's commands run.

    Each file is written beside its place and then renamed, so that a transfer that fails leaves the old file whole.
    Modes, times and links are kept; what has the same size and time there already is not sent.

    :param conn: a connection, of any backend.
    :param source: a path; or the contents of a file, as bytes or as an object opened for reading bytes. A folder that
        ends with ``/`` stands for its contents.
    :param destination: a path there. Where it is a folder, the copy goes into it, unless it is that of a folder's
        contents. A folder is made where it is missing; a file's is not.
    :param progress: called with the number of bytes sent so far, and of those to be sent: None as long as that is not known,
        as of a pipe. Not called where there is nothing to send.
    :param timeout: seconds without an answer after which this gives up; None or 0 for no bound, or else the connection's
        ``global_timeout``.
    :returns: a :class:`CopyResult`: how many files were copied, and how many were unchanged.
    :raises FileTransferError: also an OSError: something could not be sent or written; it names the host, the path and its
        side: local or remote. What can't be read here does not keep the rest from being sent.
    :raises ConnectionLost: also a RuntimeError: the connection ended first.

    >>> import os, tempfile
    >>> from remoto import Connection
    >>> folder = tempfile.mkdtemp()
    >>> with Connection('localhost') as conn:
    ...     put(conn, b'hello', os.path.join(folder, 'greeting'))
    CopyResult(copied=1, unchanged=0, size=5)
    >>> open(os.path.join(folder, 'greeting')).read()
    'hello'
    """
    _require_connection(conn)
    _require_progress(progress)
    contents = _contents(source)
    far_path = _far_path("destination", destination)
    bound = _bound(conn, timeout)
    if isinstance(contents, bytes):
        what, name = f"put {_shown(contents)}", _name(contents)
        _require_source(contents, f"{what} to {_shown(far_path)}", _where(conn), _advice(source))
    else:
        what, name = "put data", b""
    gateway = _inside(conn)
    if gateway is None:
        return CopyResult(*file_tar.put(conn, what, contents, far_path, name, progress, bound))
    size = None if progress is None or isinstance(contents, bytes) else _size_of(contents)
    return _put(gateway, what, contents, far_path, name, progress=progress, size=size, timeout=bound)


def get(
    conn: Any,
    source: Path,
    destination: Path,
    *,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """Copy a file, or a folder with all that is in it, from where the connection's commands run to here.

    As :func:`put` in the other direction. The far side is not trusted: whatever it sends, nothing is written outside of
    ``destination``. A link that points out of the folder, or has ``..`` behind a name, is left out and told of at the end;
    setuid, setgid and sticky bits never arrive.

    :param conn: a connection, of any backend.
    :param source: a path there. A folder that ends with ``/`` stands for its contents.
    :param destination: a path here, which may be a folder.
    :param progress: called with the number of bytes received so far, and of those to be received: None as long as that is
        not known. Not called where there is nothing to receive.
    :param timeout: as that of :func:`put`.
    :returns: a :class:`CopyResult`.
    :raises FileTransferError: also an OSError: something could not be read or written, or was refused.
    :raises ConnectionLost: also a RuntimeError: the connection ended first.

    >>> import os, tempfile
    >>> from remoto import Connection
    >>> folder = tempfile.mkdtemp()
    >>> with Connection('localhost') as conn:
    ...     _ = put(conn, b'hello', os.path.join(folder, 'there'))
    ...     get(conn, os.path.join(folder, 'there'), os.path.join(folder, 'here'))
    CopyResult(copied=1, unchanged=0, size=5)
    >>> open(os.path.join(folder, 'here')).read()
    'hello'
    """
    path = _far_path("source", source)
    return _get(conn, path, destination, _name(path), progress, timeout)


def get_as(
    conn: Any, source: Path, destination: Path, progress: Progress | None = None, timeout: float | None = None
) -> CopyResult:
    """As :func:`get`, but ``destination`` is always the copy itself, also where it is a folder that is there already."""
    return _get(conn, _far_path("source", source), destination, b"", progress, timeout)


def get_into(
    conn: Any, source: Path, destination: Path, progress: Progress | None = None, timeout: float | None = None
) -> CopyResult:
    """As :func:`get`, but a ``destination`` that ends with ``/`` is made where it is missing, for a file as well."""
    path = _far_path("source", source)
    return _get(conn, path, destination, _name(path), progress, timeout, make=True)


def _get(
    conn: Any,
    source: bytes,
    destination: Path,
    name: bytes,
    progress: Progress | None,
    timeout: float | None,
    make: bool = False,
) -> CopyResult:
    _require_connection(conn)
    _require_progress(progress)
    here = _near_path("destination", destination)
    bound = _bound(conn, timeout)
    gateway = _inside(conn)
    what = f"get {_shown(source)}"
    if gateway is None:
        return CopyResult(*file_tar.get(conn, what, source, here, name, progress, bound, make))
    with _transfer(gateway, what, _GET, {"source": source}, bound) as records:
        receiver = files.Receiver(records, here, name, confine=True, progress=progress, make=make)
        receiver.run()
    if receiver.failures:
        raise _error(gateway, what, receiver.failures)
    return CopyResult(receiver.copied, receiver.unchanged, receiver.received)


def rsync(
    hosts: str | Iterable[str],
    source: Path,
    destination: Path,
    logger: Any = None,
    sudo: bool = False,
    *,
    delete: bool = False,
    progress: Progress | None = None,
    ssh_options: str | None = None,
) -> None:
    """Make a folder on hosts a copy of one here, sending what is not the same there.

    Hosts are served side by side; one that fails does not keep the others from being finished. The name of each file that
    is sent is logged at INFO.

    :param hosts: a host's name, or several.
    :param source: a folder, or a file.
    :param destination: a path there: the folder's copy. It is made where it is missing.
    :param logger: for the connections and the files' names; by default one for each host, named after it.
    :param sudo: write as root, by sudo.
    :param delete: remove what is there in the folder and not here.
    :param progress: called as that of :func:`put`, with the sums for all hosts; the second number grows while hosts are
        still being asked what they need.
    :param ssh_options: further options for ssh, one string.
    :raises RsyncError: also an OSError and an execnet.HostNotFound: some of several hosts failed; it names each.
    :raises ConnectError: there is one host, and it can't be reached.
    :raises FileTransferError: there is one host, and something could not be sent or written; or the source is not there,
        before anything is connected.

    >>> import os, tempfile
    >>> source, destination = tempfile.mkdtemp(), tempfile.mkdtemp()
    >>> with open(os.path.join(source, 'greeting'), 'w') as file:
    ...     _ = file.write('hello')
    >>> rsync('localhost', source, destination)
    >>> open(os.path.join(destination, 'greeting')).read()
    'hello'
    """
    # it takes longer to import than most of remoto
    from concurrent.futures import ThreadPoolExecutor

    if isinstance(hosts, (bytes, bytearray)):
        raise TypeError(f"hosts: expected a name or several, not bytes: {hosts!r}")
    names = [hosts] if isinstance(hosts, str) else list(dict.fromkeys(hosts))
    if names:
        _require_rsync(source, destination, progress, names[0] if len(names) == 1 else f"{len(names)} hosts")
    shares = _Shares(progress) if progress else None
    more: dict[str, Any] = {"ssh_options": ssh_options} if ssh_options else {}
    if isinstance(Connection, type) and issubclass(Connection, BaseConnection):
        more["eager"] = False  # a program's own function in its place need not know that
    connections: list[Any] = []
    stopped = threading.Event()
    failures: dict[str, Exception] = {}

    def serve(host: str) -> None:
        try:
            conn = Connection(host, logger, sudo, **more)
            # before it is open: only what is here can be stopped
            connections.append(conn)
            try:
                if not stopped.is_set():
                    _sync(conn, source, destination, logger, delete, shares.of(host) if shares else None)
            finally:
                conn.exit()
        except Exception as error:
            failures[host] = error

    with ThreadPoolExecutor(max_workers=max(1, min(PARALLEL, len(names)))) as pool:
        try:
            for done in [pool.submit(serve, host) for host in names]:
                done.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            # what the others wait for will not come any more
            for conn in list(connections):
                conn.exit()
            raise
    if failures and len(names) == 1:
        raise failures[names[0]]
    if failures:
        ordered = {host: failures[host] for host in names if host in failures}
        raise RsyncError(ordered, [host for host in names if host not in failures])


def rsync_conn(
    conn: Any,
    source: Path,
    destination: Path,
    logger: Any = None,
    *,
    delete: bool = False,
    progress: Progress | None = None,
) -> None:
    """As :func:`~remoto.file_sync.rsync`, through a connection that is open already, of any backend.

    :param conn: a connection; it stays open.
    :param source: a folder, or a file.
    :param destination: a path there: the folder's copy. It is made where it is missing.
    :param logger: for the files' names; the connection's by default.
    :param delete: remove what is there in the folder and not here.
    :param progress: called with the number of bytes sent so far, and of those to be sent.
    :raises FileTransferError: also an OSError: something could not be sent or written.
    :raises ConnectionLost: also a RuntimeError: the connection ended first.
    """
    _require_connection(conn)
    _require_rsync(source, destination, progress, _where(conn))
    _sync(conn, source, destination, logger, delete, progress)


def _sync(conn: Any, source: Path, destination: Path, logger: Any, delete: bool, progress: Progress | None) -> None:
    gateway = _inside(conn)
    if gateway is None:
        path = _near_path("source", source)
        what = f"rsync {_shown(path)}"
        if delete:
            raise FileTransferError(what, conn.where(), [("", "delete=True needs a Python there")])
        name = b"" if os.path.isdir(path) else _name(path)
        report = (logger or conn.logger).info
        file_tar.put(conn, what, path, _far_path("destination", destination), name, progress, None, report)
        return
    # programs put a class of their own in this one's place, which takes what remoto 1.2 passed and no more
    of_sync: dict[str, Any] = {"progress": progress} if progress else {}
    of_target = {"delete": True} if delete else {}
    sync = _RSync(source, logger=logger or conn.logger, **of_sync)
    sync.timeout = _bound(conn, None)
    sync.add_target(gateway, destination, **of_target)
    sync.send()


class _RSync(execnet.RSync):
    """execnet's RSync, with its calls, over the protocol of :func:`put`.

    execnet's own leaves out what it can't read without a word, refuses names that are not UTF-8, holds whole files in memory,
    writes over the old file, and, in its version 2.1, makes every file executable whose mode has changed.
    """

    #: a class that a program puts in the place of this one may have no use for the source
    reads_source = True

    def __init__(
        self,
        sourcedir: Path,
        callback: Any = None,
        verbose: bool = True,
        logger: Any = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(os.fsdecode(sourcedir), callback, verbose)
        self.logger = logger
        self.timeout: float | None = None
        self._progress = progress
        self._targets: list[tuple[Any, Path, Any, bool]] = []

    def add_target(self, gateway: Any, destdir: Path, finishedcallback: Any = None, **options: Any) -> None:
        self._targets.append((gateway, destdir, finishedcallback, options.get("delete", False)))

    def send(self, raises: bool = True) -> None:
        if raises and not self._targets:
            raise OSError("no targets: add_target has not been called since the last send")
        while self._targets:
            gateway, destination, finished, delete = self._targets.pop(0)
            path = _near_path("sourcedir", self._sourcedir)
            _put(
                gateway,
                f"rsync {_shown(path)}",
                path,
                _far_path("destdir", destination),
                b"" if os.path.isdir(path) else _name(path),
                delete=delete,
                accept=lambda below: self.filter(os.fsdecode(below)),
                report=functools.partial(self._report, gateway),
                progress=self._progress,
                timeout=self.timeout,
            )
            if finished is not None:
                finished()

    def _report(self, gateway: Any, path: bytes) -> None:
        # execnet's name for this is the one that programs override
        self._report_send_file(gateway, _shown(path))

    def _report_send_file(self, gateway: Any, modified_rel_path: str) -> None:
        if self._verbose:
            self.logger.info("syncing file: %s", modified_rel_path)


class _Shares:
    """Adds up the progress of several hosts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._numbers: dict[str, tuple[int, int | None]] = {}

    def of(self, host: str) -> Progress:
        def tell(sent: int, total: int | None) -> None:
            with self._lock:
                self._numbers[host] = (sent, total)
                totals = [total for _, total in self._numbers.values() if total is not None]
                has_total = len(totals) == len(self._numbers)
                self._progress(sum(sent for sent, _ in self._numbers.values()), sum(totals) if has_total else None)

        return tell


def _put(
    gateway: Any,
    what: str,
    source: bytes | BinaryIO,
    destination: bytes,
    name: bytes,
    *,
    delete: bool = False,
    timeout: float | None = None,
    **sender: Any,
) -> CopyResult:
    what = f"{what} to {_shown(destination)}"
    request = {"destination": destination, "name": name, "delete": delete}
    with _transfer(gateway, what, _PUT, request, timeout) as records:
        end = files.Sender(records, source, **sender)
        try:
            end.run()
        except BaseException:
            _abandon(records)
            raise
    if end.failures:
        raise _error(gateway, what, end.failures)
    return CopyResult(end.copied, end.unchanged, end.sent)


@contextlib.contextmanager
def _transfer(
    gateway: Any, what: str, function: RemoteFunction, request: dict[str, Any], timeout: float | None
) -> Iterator[Any]:
    """The records of a transfer; its errors become remoto's own, and its channel is closed at the end."""
    host, channel = _host(gateway), None
    try:
        try:
            channel = sending_within(timeout, function.start, gateway, request)
        except OSError as error:
            raise_cause(error)
            raise files.Gone from None
        set_window(channel, Window())
        yield _Records(channel, timeout)
    except files.Failure as failure:
        raise _error(gateway, what, [failure]) from None
    except files.Gone:
        raise _lost(gateway, host, what) from None
    except execnet.TimeoutError:
        raise FileTransferError(what, host, [("", f"no answer for {timeout:g} seconds")]) from None
    except execnet.RemoteError as error:
        raise FileTransferError(what, host, [("", RemoteError(str(error)).exception_line)]) from error
    finally:
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.close()


class _Records(files.Records):  # type: ignore[misc]
    """On this side, what is sent has the same bound as what is received, and what is received is limited."""

    def acknowledge(self) -> None:
        deal_with(self.channel, len(self.message))
        super().acknowledge()

    def flush(self) -> None:
        try:
            sending_within(self.timeout, super().flush)
        except files.Gone as gone:
            if isinstance(gone.__context__, OSError):
                raise_cause(gone.__context__)
            raise


def _abandon(records: Any) -> None:
    """Let the receiver there remove what it has begun, and wait for that."""
    records.parts = []
    records.write(files.FINISH)
    records.timeout = ABANDON_TIMEOUT
    try:
        records.flush()
        records.channel.waitclose(ABANDON_TIMEOUT)
    except (files.Gone, EOFError, OSError, execnet.RemoteError, execnet.TimeoutError):
        pass  # it has gone, and when its connection ends it does the same


def _lost(gateway: Any, host: str, what: str) -> ConnectionLost:
    words = lost(gateway, host, what).stderr
    return ConnectionLost(host, what, "the connection ended before the transfer did", words)


def _error(gateway: Any, what: str, failures: list[Any]) -> FileTransferError:
    return file_tar.transfer_error(what, _host(gateway), failures)


def _host(gateway: Any) -> str:
    return str(getattr(gateway, "remoteaddress", gateway))


def _where(conn: Any) -> str:
    return str(conn.where() if hasattr(type(conn), "where") else conn.hostname)


def _name(path: bytes) -> bytes:
    """What a copy is called in a folder; nothing where the folder's contents are meant."""
    name = os.path.basename(path)
    return b"" if name in (b".", b"..") else name


def _inside(conn: Any) -> Any:
    """The gateway for the transfer; None where that is a container without a Python."""
    try:
        return conn.inside()
    except ContainerError as error:
        if error.kind != "interpreter":
            raise
        return None


def _bound(conn: Any, timeout: float | None) -> float | None:
    """Seconds, as commands.call.Call has them."""
    general = getattr(conn, "global_timeout", None)
    return bound("timeout", timeout or (general if isinstance(general, (int, float)) else None))


# what is wrong with arguments is told before anything starts


def _require_connection(conn: Any) -> None:
    if not hasattr(conn, "inside"):
        raise TypeError(f"conn: expected a connection, not {type(conn).__name__}: {conn!r}")


def _require_progress(progress: object) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"progress: expected a function, not {type(progress).__name__}: {progress!r}")


def _contents(source: Any) -> bytes | BinaryIO:
    """Return the path of what ``put`` is to send, or an object to read it from."""
    if isinstance(source, (str, os.PathLike)):
        return _near_path("source", source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if isinstance(source, io.TextIOBase) or isinstance(getattr(source, "encoding", None), str):
        raise TypeError(f"source: expected a file opened for reading bytes, not text: {source!r}")
    if isinstance(source, type) or not callable(getattr(source, "read", None)):
        expected = "a path, bytes or a file opened for reading bytes"
        raise TypeError(f"source: expected {expected}, not {type(source).__name__}: {source!r}")
    if isinstance(source, io.IOBase) and (source.closed or not source.readable()):
        raise ValueError(f"source: a file that is closed, or not opened for reading: {source!r}")
    return source  # type: ignore[no-any-return]


def _require_rsync(source: Path, destination: Path, progress: object, host: str) -> None:
    _require_progress(progress)
    path = _near_path("source", source)
    _far_path("destination", destination)
    # a class that a program has put in its place may have no use for the source
    if getattr(_RSync, "reads_source", False) is True:
        _require_source(path, f"rsync {_shown(path)}", host)


def _size_of(stream: BinaryIO) -> int | None:
    """Return the number of bytes that are left to read; None where that can't be told."""
    try:
        position = stream.tell()
        size = stream.seek(0, io.SEEK_END) - position
    except (AttributeError, TypeError, ValueError, OSError):
        return None
    # an error of this one must come out: what was passed over would not be sent
    stream.seek(position)
    # files of /proc and /sys have no size
    return size if size > 0 else None


def _require_source(path: bytes, what: str, host: str, advice: str = "") -> None:
    try:
        os.stat(path)
    except OSError as error:
        reason = (error.strerror or str(error)) + advice
        raise FileTransferError(what, host, [(_shown(path), reason)], error.errno, side="local") from None


def _advice(source: object) -> str:
    """Return what to add to the error where a text was probably meant to be the contents."""
    is_text = isinstance(source, str) and ("/" not in source or source.split() != [source])
    return " (a str is a path; contents are bytes)" if is_text else ""


def _near_path(name: str, path: Any) -> bytes:
    return os.fsencode(_checked_path(name, path))


def _far_path(name: str, path: Any) -> bytes:
    text = _checked_path(name, path)
    if not text:
        raise ValueError(f"{name}: the path is empty")
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _checked_path(name: str, path: Any) -> str | bytes:
    try:
        text: str | bytes = os.fspath(path)
    except TypeError:
        raise TypeError(f"{name}: expected a path, not {type(path).__name__}: {path!r}") from None
    if (b"\0" if isinstance(text, bytes) else "\0") in text:  # type: ignore[operator]
        raise ValueError(f"{name}: a path can't hold NUL: {path!r}")
    return text
