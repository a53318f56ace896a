"""Copy files: ``rsync`` a directory to hosts, ``put`` a file or directory on a host, ``get`` one from it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO, TypedDict

from .backends import BaseConnection
from .commands.target import target_of
from .connection import Connection
from .exc import ContainerError, FileTransferError, RsyncError
from .files import tar, transfer
from .files.arguments import (
    Path,
    Progress,
    advice,
    contents_of,
    local_path,
    name_in_directory,
    remote_path,
    require_connection,
    require_progress,
    require_source,
    size_of,
    timeout_of,
)
from .files.errors import shown
from .files.listing import Listing
from .files.rsync import RSync as _RSync
from .files.rsync import Shares, to_hosts
from .files.transfer import CopyResult

if TYPE_CHECKING:
    import execnet

    from .log import AnyLogger

    class _More(TypedDict, total=False):
        ssh_options: str
        eager: bool


__all__ = ["CopyResult", "get", "put", "rsync", "rsync_conn"]


def put(
    conn: BaseConnection,
    source: Path | bytes | BinaryIO,
    destination: Path,
    *,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """Copy a local file, or a directory and everything in it, to the remote side.

    Each file is received into a temporary file and then renamed, so a failed transfer leaves the old file unchanged.
    Modes, times and symbolic links are kept. A file with the same size and time on the remote side is not sent.

    :param conn: a connection of any backend.
    :param source: a path, bytes, or a file opened in binary mode. A directory that ends with ``/`` means its contents.
    :param destination: a remote path. If it is an existing directory, the copy goes into it, unless the source is a
        directory's contents. Missing parent directories are created for a directory, but not for a file.
    :param progress: called with the number of bytes sent and the total, which is None while it is unknown, as for a
        pipe. Not called if there is nothing to send.
    :param timeout: seconds to wait for an answer of the remote side. None or 0 means the connection's
        ``global_timeout``, or no limit if it has none.
    :returns: a :class:`CopyResult`: the numbers of files copied, of files unchanged, and of bytes.
    :raises FileTransferError: also an OSError: something could not be read, sent or written. If one file of several
        can't be read, the others are still sent.
    :raises ConnectionLost: also a RuntimeError: the connection was lost.

    >>> import os, tempfile
    >>> from remoto import Connection
    >>> directory = tempfile.mkdtemp()
    >>> with Connection('localhost') as conn:
    ...     put(conn, b'hello', os.path.join(directory, 'greeting'))
    CopyResult(copied=1, unchanged=0, size=5)
    >>> open(os.path.join(directory, 'greeting')).read()
    'hello'
    """
    return put_listed(conn, source, destination, None, progress=progress, timeout=timeout)


def put_listed(
    conn: BaseConnection,
    source: Path | bytes | BinaryIO,
    destination: Path,
    listing: Listing | None,
    *,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """Like :func:`put`, but with a list of the source that several transfers share.

    :param listing: None if the source is not a path, or to list it for this transfer only.
    """
    require_connection(conn)
    require_progress(progress)
    contents = contents_of(source)
    place = remote_path("destination", destination)
    timeout = timeout_of(conn, timeout)
    if isinstance(contents, bytes):
        what, name = f"put {shown(contents)}", name_in_directory(contents)
        require_source(contents, f"{what} to {shown(place)}", target_of(conn).where(), advice(source))
    else:
        what, name = "put data", b""
    gateway = _inside(conn)
    if gateway is None:
        return tar.put(conn, what, contents, place, name, progress, timeout)
    size = None if progress is None or isinstance(contents, bytes) else size_of(contents)
    return transfer.put(
        gateway, what, contents, place, name, progress=progress, size=size, timeout=timeout, listing=listing
    )


def get(
    conn: BaseConnection,
    source: Path,
    destination: Path,
    *,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """Copy a file, or a directory and everything in it, from the remote side.

    Like :func:`put` in the other direction. The remote side is not trusted: nothing is written outside the
    destination. A link that points outside the directory, or has ``..`` after a name, is skipped and reported at the
    end. Setuid, setgid and sticky bits are dropped.

    :param conn: a connection of any backend.
    :param source: a remote path. A directory that ends with ``/`` means its contents.
    :param destination: a local path. If it is an existing directory, the copy goes into it, unless the source is a
        directory's contents.
    :param progress: called with the number of bytes received and the total, which is None while it is unknown. Not
        called if there is nothing to receive.
    :param timeout: seconds to wait for an answer of the remote side, as for :func:`put`.
    :returns: a :class:`CopyResult`: the numbers of files copied, of files unchanged, and of bytes.
    :raises FileTransferError: also an OSError: something could not be read or written, or was refused.
    :raises ConnectionLost: also a RuntimeError: the connection was lost.

    >>> import os, tempfile
    >>> from remoto import Connection
    >>> directory = tempfile.mkdtemp()
    >>> with Connection('localhost') as conn:
    ...     _ = put(conn, b'hello', os.path.join(directory, 'remote'))
    ...     get(conn, os.path.join(directory, 'remote'), os.path.join(directory, 'local'))
    CopyResult(copied=1, unchanged=0, size=5)
    >>> open(os.path.join(directory, 'local')).read()
    'hello'
    """
    path = remote_path("source", source)
    return _get(conn, path, destination, name_in_directory(path), progress, timeout)


def get_as(
    conn: BaseConnection,
    source: Path,
    destination: Path,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """Like :func:`get`, but ``destination`` is always the copy itself, even if it is an existing directory."""
    return _get(conn, remote_path("source", source), destination, b"", progress, timeout)


def get_into(
    conn: BaseConnection,
    source: Path,
    destination: Path,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> CopyResult:
    """Like :func:`get`, but create a missing ``destination`` that ends with ``/``, even for a file."""
    path = remote_path("source", source)
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
    here = local_path("destination", destination)
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
    logger: AnyLogger | None = None,
    sudo: bool = False,
    *,
    delete: bool = False,
    progress: Progress | None = None,
    ssh_options: str | None = None,
) -> None:
    """Make a directory on hosts a copy of a local one. Send only files that differ.

    Hosts are served in parallel. If one fails, the others still finish. The source is listed once for all of them. The
    name of each file sent is logged at INFO.

    :param hosts: a hostname, or several.
    :param source: a local directory or file.
    :param destination: the remote path of the copy. Missing directories are created.
    :param logger: the logger for the connections and the names of files; by default one for each host, named after it.
    :param sudo: write as root.
    :param delete: remove remote files that the source does not have.
    :param progress: called with the number of bytes sent to all hosts and the total. The total grows until each host
        has reported what it needs.
    :param ssh_options: further options for ssh, as one string.
    :raises RsyncError: also an OSError and an execnet.HostNotFound: some of several hosts failed.
    :raises ConnectError: the only host could not be reached.
    :raises FileTransferError: the source does not exist; or, with one host, something could not be sent or written.

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
    if not names:
        return
    _require_rsync(source, destination, progress, names[0] if len(names) == 1 else f"{len(names)} hosts")
    listing = Listing(source)
    shares = Shares(progress) if progress else None
    more: _More = {"ssh_options": ssh_options} if ssh_options else {}
    if isinstance(Connection, type) and issubclass(Connection, BaseConnection):
        more["eager"] = False  # a program may have patched Connection by a function without it
    failures = to_hosts(
        names,
        lambda host: Connection(host, logger, sudo, **more),
        lambda conn, host: _sync(
            conn, source, destination, listing, logger, delete, shares.of(host) if shares else None
        ),
    )
    if failures and len(names) == 1:
        raise failures[names[0]]
    if failures:
        raise RsyncError(failures, [host for host in names if host not in failures])


def rsync_conn(
    conn: BaseConnection,
    source: Path,
    destination: Path,
    logger: AnyLogger | None = None,
    *,
    delete: bool = False,
    progress: Progress | None = None,
) -> None:
    """Like :func:`~remoto.file_sync.rsync`, over an open connection of any backend.

    :param conn: a connection, which stays open.
    :param source: a local directory or file.
    :param destination: the remote path of the copy. Missing directories are created.
    :param logger: the logger for the names of files; the connection's by default.
    :param delete: remove remote files that the source does not have.
    :param progress: called with the number of bytes sent and the total.
    :raises FileTransferError: also an OSError: something could not be sent or written.
    :raises ConnectionLost: also a RuntimeError: the connection was lost.
    """
    rsync_listed(conn, source, destination, None, logger, delete=delete, progress=progress)


def rsync_listed(
    conn: BaseConnection,
    source: Path,
    destination: Path,
    listing: Listing | None,
    logger: AnyLogger | None = None,
    *,
    delete: bool = False,
    progress: Progress | None = None,
    timeout: float | None = None,
) -> None:
    """Like :func:`rsync_conn`, but use a list of the source that other transfers use as well; None for no such list.

    :param timeout: seconds to wait for an answer of the remote side. None or 0 means the connection's
        ``global_timeout``, or no limit if it has none.
    """
    require_connection(conn)
    _require_rsync(source, destination, progress, target_of(conn).where())
    _sync(conn, source, destination, listing, logger, delete, progress, timeout)


def _sync(
    conn: BaseConnection,
    source: Path,
    destination: Path,
    listing: Listing | None,
    logger: AnyLogger | None,
    delete: bool,
    progress: Progress | None,
    timeout: float | None = None,
) -> None:
    timeout = timeout_of(conn, timeout)
    gateway = _inside(conn)
    if gateway is None:
        path = local_path("source", source)
        what = f"rsync {shown(path)}"
        if delete:
            raise FileTransferError(what, conn.where(), [("", "delete=True requires Python in the container")])
        name = b"" if os.path.isdir(path) else name_in_directory(path)
        report = (logger or conn.logger).info
        tar.put(conn, what, path, remote_path("destination", destination), name, progress, timeout, report)
        return
    # programs patch this class by their own, which may accept only the arguments of remoto 1.2
    logger = logger or conn.logger
    sync = _RSync(source, logger=logger, progress=progress) if progress else _RSync(source, logger=logger)
    sync.timeout = timeout
    sync.listing = listing
    if delete:
        sync.add_target(gateway, destination, delete=True)
    else:
        sync.add_target(gateway, destination)
    sync.send()


def _inside(conn: BaseConnection) -> execnet.Gateway | None:
    """Return the gateway for the transfer; None for a container without Python."""
    try:
        return conn.inside()
    except ContainerError as error:
        if error.kind != "interpreter":
            raise
        return None


def _require_rsync(source: Path, destination: Path, progress: object, host: str) -> None:
    require_progress(progress)
    path = local_path("source", source)
    remote_path("destination", destination)
    # a program may have patched the class by one that does not read the source
    if getattr(_RSync, "reads_source", False) is True:
        require_source(path, f"rsync {shown(path)}", host)
