"""Files: ``rsync`` a folder to hosts, ``put`` a file or folder on one, ``get`` one from there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, BinaryIO

from .backends import BaseConnection
from .connection import Connection
from .exc import ContainerError, FileTransferError, RsyncError
from .files import tar, transfer
from .files.arguments import (
    Path,
    Progress,
    advice,
    contents_of,
    far_path,
    name_in_directory,
    near_path,
    require_connection,
    require_progress,
    require_source,
    size_of,
    timeout_of,
    where,
)
from .files.errors import shown
from .files.rsync import RSync as _RSync
from .files.rsync import Shares, to_hosts
from .files.transfer import CopyResult

__all__ = ["CopyResult", "get", "put", "rsync", "rsync_conn"]


def put(
    conn: BaseConnection,
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
    require_connection(conn)
    require_progress(progress)
    contents = contents_of(source)
    place = far_path("destination", destination)
    timeout = timeout_of(conn, timeout)
    if isinstance(contents, bytes):
        what, name = f"put {shown(contents)}", name_in_directory(contents)
        require_source(contents, f"{what} to {shown(place)}", where(conn), advice(source))
    else:
        what, name = "put data", b""
    gateway = _inside(conn)
    if gateway is None:
        return tar.put(conn, what, contents, place, name, progress, timeout)
    size = None if progress is None or isinstance(contents, bytes) else size_of(contents)
    return transfer.put(gateway, what, contents, place, name, progress=progress, size=size, timeout=timeout)


def get(
    conn: BaseConnection,
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
    path = far_path("source", source)
    return _get(conn, path, destination, name_in_directory(path), progress, timeout)


def get_as(
    conn: BaseConnection,
    source: Path,
    destination: Path,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """As :func:`get`, but ``destination`` is always the copy itself, also where it is a folder that is there already."""
    return _get(conn, far_path("source", source), destination, b"", progress, timeout)


def get_into(
    conn: BaseConnection,
    source: Path,
    destination: Path,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """As :func:`get`, but a ``destination`` that ends with ``/`` is made where it is missing, for a file as well."""
    path = far_path("source", source)
    return _get(conn, path, destination, name_in_directory(path), progress, timeout, make=True)


def _get(
    conn: BaseConnection,
    source: bytes,
    destination: Path,
    name: bytes,
    progress: Progress | None,
    timeout: float | None,
    make: bool = False,
) -> CopyResult:
    require_connection(conn)
    require_progress(progress)
    here = near_path("destination", destination)
    timeout = timeout_of(conn, timeout)
    gateway = _inside(conn)
    what = f"get {shown(source)}"
    if gateway is None:
        return tar.get(conn, what, source, here, name, progress, timeout, make)
    return transfer.get(gateway, what, source, here, name, progress=progress, timeout=timeout, make=make)


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
    if isinstance(hosts, (bytes, bytearray)):
        raise TypeError(f"hosts: expected a name or several, not bytes: {hosts!r}")
    names = [hosts] if isinstance(hosts, str) else list(dict.fromkeys(hosts))
    if names:
        _require_rsync(source, destination, progress, names[0] if len(names) == 1 else f"{len(names)} hosts")
    shares = Shares(progress) if progress else None
    more: dict[str, Any] = {"ssh_options": ssh_options} if ssh_options else {}
    if isinstance(Connection, type) and issubclass(Connection, BaseConnection):
        more["eager"] = False  # a program's own function in its place need not know that
    failures = to_hosts(
        names,
        lambda host: Connection(host, logger, sudo, **more),
        lambda conn, host: _sync(conn, source, destination, logger, delete, shares.of(host) if shares else None),
    )
    if failures and len(names) == 1:
        raise failures[names[0]]
    if failures:
        raise RsyncError(failures, [host for host in names if host not in failures])


def rsync_conn(
    conn: BaseConnection,
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
    require_connection(conn)
    _require_rsync(source, destination, progress, where(conn))
    _sync(conn, source, destination, logger, delete, progress)


def _sync(
    conn: BaseConnection, source: Path, destination: Path, logger: Any, delete: bool, progress: Progress | None
) -> None:
    gateway = _inside(conn)
    if gateway is None:
        path = near_path("source", source)
        what = f"rsync {shown(path)}"
        if delete:
            raise FileTransferError(what, conn.where(), [("", "delete=True needs a Python there")])
        name = b"" if os.path.isdir(path) else name_in_directory(path)
        report = (logger or conn.logger).info
        tar.put(conn, what, path, far_path("destination", destination), name, progress, None, report)
        return
    # programs put a class of their own in this one's place, which takes what remoto 1.2 passed and no more
    of_sync: dict[str, Any] = {"progress": progress} if progress else {}
    of_target = {"delete": True} if delete else {}
    sync = _RSync(source, logger=logger or conn.logger, **of_sync)
    sync.timeout = timeout_of(conn, None)
    sync.add_target(gateway, destination, **of_target)
    sync.send()


def _inside(conn: BaseConnection) -> Any:
    """The gateway for the transfer; None where that is a container without a Python."""
    try:
        return conn.inside()
    except ContainerError as error:
        if error.kind != "interpreter":
            raise
        return None


def _require_rsync(source: Path, destination: Path, progress: object, host: str) -> None:
    require_progress(progress)
    path = near_path("source", source)
    far_path("destination", destination)
    # a class that a program has put in its place may have no use for the source
    if getattr(_RSync, "reads_source", False) is True:
        require_source(path, f"rsync {shown(path)}", host)
