"""The hosts of a group, and their connections."""

from __future__ import annotations

import inspect
import os
import resource
import threading
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Union

from ..backends import BaseConnection
from ..backends.containers import ContainerConnection
from ..connection import find
from ..exc import ConnectError
from .hosts import expand
from .schedule import Workers

#: what a group can be made of
Hosts = Union[
    str, Mapping[str, Mapping[str, Any]], Iterable[Union[str, "tuple[str, Mapping[str, Any]]", BaseConnection]]
]
#: file descriptors of this program for each open connection, while it opens: three pipes, and one to wait for its process
DESCRIPTORS = 4
# descriptors for anything else that the program opens meanwhile
_SPARE = 32
# connections that are closed at the same time
_CLOSING = 32


class Member:
    """A host of a group. Its connection is opened on first use, and once more after it was lost.

    :param make: returns an unopened connection; None for a connection that belongs to the program.
    """

    def __init__(self, name: str, conn: BaseConnection, make: Callable[[], BaseConnection] | None) -> None:
        self.name = name
        self.conn = conn
        #: why it could not be reached
        self.error: Exception | None = None
        self._make = make
        self._was_open = False
        self._connecting = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self.conn.has_connection()

    def connect(self, connect: Callable[[BaseConnection], None]) -> BaseConnection:
        """Return the open connection.

        :param connect: opens one.
        :raises ConnectError: it can't be opened. The same error is raised until :meth:`forget_error` was called.
        :raises ConnectionLost: the program's own connection is closed.
        """
        with self._connecting:
            if self.error is not None:
                raise self.error
            if not self.conn.has_connection():
                if self._was_open and self._make is not None:
                    self._renew(self._make)
                try:
                    connect(self.conn)
                except ConnectError as error:
                    self.error = error
                    raise
            self._was_open = True
            return self.conn

    def _renew(self, make: Callable[[], BaseConnection]) -> None:
        self.conn.exit()
        self.conn = make()
        self._was_open = False

    def forget_error(self) -> None:
        self.error = None

    def close(self) -> None:
        """Close the connection, unless it is the program's. The next use opens another one."""
        if self._make is not None:
            # first: a thread that is opening it holds the lock
            self.conn.exit()
            with self._connecting:
                self._was_open = True


def close(members: Iterable[Member], timeout: float | None = None) -> None:
    """Close connections, many at the same time.

    :param timeout: seconds to wait; what is not closed then is closed in the background. None for no limit of its own.
    """
    closing = Workers(list(members), Member.close, _CLOSING)
    if timeout is None:
        for _ in closing:
            pass
    else:
        closing.start()
        closing.finish(timeout)


def members_of(hosts: Hosts, backend: str | type[BaseConnection], keywords: Mapping[str, Any]) -> dict[str, Member]:
    """Return the members of a group, by name. Nothing is opened.

    :raises TypeError, ValueError: a host, a keyword or the backend is of no use.
    """
    kind = class_of(backend)
    members: dict[str, Member] = {}
    twice: list[str] = []
    for name, given in _named(hosts):
        if name in members:
            twice.append(name)
        elif isinstance(given, BaseConnection):
            members[name] = Member(name, given, None)
        else:
            make = _maker(kind, name, {**keywords, **given})
            members[name] = Member(name, make(), make)
    if not members:
        raise ValueError("hosts: no host is named")
    if twice:
        warnings.warn(f"hosts: named more than once: {', '.join(dict.fromkeys(twice))}", stacklevel=4)
    return members


def class_of(backend: str | type[BaseConnection]) -> type[BaseConnection]:
    """Return a backend's class.

    :raises ValueError: there is none of that name.
    """
    if isinstance(backend, type) and issubclass(backend, BaseConnection):
        return backend
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = find(backend, None, stacklevel=2)
    if kind is None:
        raise ValueError(f"backend: unknown: {backend!r}")
    return kind


def _named(hosts: Hosts) -> list[tuple[str, Mapping[str, Any] | BaseConnection]]:
    if isinstance(hosts, BaseConnection):
        raise TypeError(f"hosts: expected several connections in a list, not one: {hosts!r}")
    if isinstance(hosts, Mapping):
        return [_pair(item) for item in hosts.items()]
    if isinstance(hosts, str):
        hosts = [hosts]
    if isinstance(hosts, bytes) or not isinstance(hosts, Iterable):
        raise TypeError(f"hosts: expected names, not {type(hosts).__name__}: {hosts!r}")
    named: list[tuple[str, Mapping[str, Any] | BaseConnection]] = []
    for item in hosts:
        if isinstance(item, BaseConnection):
            named.append((name_of(item), item))
        elif isinstance(item, str):
            named += [(name, {}) for name in expand([item])]
        else:
            named.append(_pair(item))
    return named


def _pair(item: Any) -> tuple[str, Mapping[str, Any]]:
    pair = tuple(item) if isinstance(item, (tuple, list)) else ()
    if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], Mapping):
        raise TypeError(f"hosts: expected a name, a name with its keywords, or a connection, not {item!r}")
    return pair


def name_of(conn: BaseConnection) -> str:
    """Return the name of a program's own connection: that of its container, or of its host."""
    return conn.where() if isinstance(conn, ContainerConnection) else conn.hostname


def _maker(kind: type[BaseConnection], name: str, keywords: Mapping[str, Any]) -> Callable[[], BaseConnection]:
    refused = sorted({"eager"} & set(keywords))
    if refused:
        raise TypeError(f"{refused[0]}: a group opens its connections on first use")
    named = keywords if _keyword_of_name(kind) in keywords else {_keyword_of_name(kind): name, **keywords}

    def make() -> BaseConnection:
        return kind(**named, eager=False)

    return make


def _keyword_of_name(kind: type[BaseConnection]) -> str:
    """Return the keyword of a backend that takes a host's name."""
    parameters = inspect.signature(kind).parameters
    return next((name for name in ("pod_name", "container_name") if name in parameters), "hostname")


def require_descriptors(count: int) -> None:
    """Check that this program may open so many more connections.

    :raises OSError: EMFILE: the limit is too low.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return
    needed = _open_descriptors() + DESCRIPTORS * count + _SPARE
    if needed > limit:
        import errno

        text = f"{count} connections need {needed} file descriptors, and the limit is {limit}: raise it with ulimit -n"
        raise OSError(errno.EMFILE, text)


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
