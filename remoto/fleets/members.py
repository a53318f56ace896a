"""The hosts of a group, and their connections."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import inspect
import os
import resource
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, Union

from .. import connection
from ..backends import BaseConnection
from ..backends.containers import ContainerConnection
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
_CLOSING = 64


class Member:
    """A host of a group. Its connection is opened on first use, and once more after it was lost.

    :param make: returns an unopened connection; None for a connection that belongs to the program.
    """

    def __init__(self, name: str, conn: BaseConnection, make: Callable[[], BaseConnection] | None) -> None:
        self.name = name
        self.conn = conn
        self.make = make
        # why it could not be reached
        self._error: ConnectError | None = None
        self._was_open = False
        self._connecting = threading.Lock()
        self._owner = os.getpid()
        # the channel of the command before this one, while a program's own connection is at work
        self._before: Any = None

    @property
    def is_open(self) -> bool:
        return self.conn.has_connection()

    def connect(self, connect: Callable[[BaseConnection], None]) -> BaseConnection:
        """Return the open connection.

        :param connect: opens one.
        :raises ConnectError: it can't be opened. The same error is raised until :meth:`forget_error` was called.
        :raises ConnectionLost: the program's own connection is closed.
        """
        if self._owner != os.getpid():  # a child of fork(): a lock that a thread of the parent held is never released
            self._connecting, self._owner = threading.Lock(), os.getpid()
        with self._connecting:
            if self._error is not None:
                # without the frames of the last time
                raise self._error.with_traceback(None)
            if not self.conn.has_connection():
                if self._was_open and self.make is not None:
                    self._renew(self.make)
                try:
                    connect(self.conn)
                except ConnectError as error:
                    self._error = error
                    raise
            self._was_open = True
            return self.conn

    def _renew(self, make: Callable[[], BaseConnection]) -> None:
        self.conn.exit()
        self.conn = make()
        self._was_open = False

    def remember(self, error: ConnectError) -> None:
        """Remember why a container can't be reached. One without Python can still run commands."""
        if error.action == "connect to":
            self._error = error

    def forget_error(self) -> None:
        self._error = None

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        self._before = self.conn.channel
        try:
            yield
        finally:
            self._before = None

    def close(self) -> None:
        """Close the connection, unless it is the program's. The next use opens another one."""
        if self.make is not None:
            # first: a thread that is opening it holds the lock
            self.conn.exit()
            with self._connecting:
                self._was_open = True

    def abandon(self) -> None:
        """End the wait for what runs: close the connection, or only the command's channel if it is the program's connection."""
        if self.make is not None:
            self.close()
        elif self.conn.channel is not self._before:
            with contextlib.suppress(OSError):  # it is lost as well
                self.conn.channel.close()


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


def abandon(members: Sequence[Member]) -> None:
    """Abandon members in the background, all at the same time: a peer that is silent must not delay the others."""
    Workers(members, Member.abandon, len(members)).start()


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
            make = _maker(backend, _named_by(kind), name, {**keywords, **given})
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
        kind = connection.find(backend, None, stacklevel=2)
    if kind is None:
        raise ValueError(f"backend: unknown: {backend!r}")
    return kind


def _named(hosts: Hosts) -> Iterator[tuple[str, Mapping[str, Any] | BaseConnection]]:
    if isinstance(hosts, BaseConnection):
        raise TypeError(f"hosts: expected several connections in a list, not one: {hosts!r}")
    if isinstance(hosts, bytes) or not isinstance(hosts, Iterable):
        raise TypeError(f"hosts: expected names, not {type(hosts).__name__}: {hosts!r}")
    for item in [hosts] if isinstance(hosts, str) else hosts.items() if isinstance(hosts, Mapping) else hosts:
        if isinstance(item, BaseConnection):
            yield name_of(item), item
        else:
            pattern, keywords = (item, {}) if isinstance(item, str) else _pair(item)
            for name in expand([pattern]):
                yield name, keywords


def _pair(item: Any) -> tuple[str, Mapping[str, Any]]:
    pair = tuple(item) if isinstance(item, (tuple, list)) else ()
    if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], Mapping):
        raise TypeError(f"hosts: expected a name, a name with its keywords, or a connection, not {item!r}")
    return pair


def name_of(conn: BaseConnection) -> str:
    """Return the name of a program's own connection: that of its container, or of its host."""
    return conn.where() if isinstance(conn, ContainerConnection) else conn.hostname


def _maker(
    backend: str | type[BaseConnection], named_by: str, name: str, keywords: Mapping[str, Any]
) -> Callable[[], BaseConnection]:
    if "eager" in keywords:
        raise TypeError("eager: a group opens its connections on first use")
    # keywords may name another host than the result does; partial() can be pickled
    return functools.partial(_unopened, backend, **{named_by: name, **keywords})


def _unopened(backend: str | type[BaseConnection], **keywords: Any) -> BaseConnection:
    kind = backend
    if isinstance(backend, str):
        # looked up each time, so that remoto.testing.Hosts can replace them
        kind = connection.get(backend, "ssh")
        if kind is BaseConnection:
            kind = importlib.import_module("remoto").Connection
    return kind(**keywords, eager=False)  # type: ignore[operator]


def _named_by(kind: type[BaseConnection]) -> str:
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
        text = f"{count} connections need {needed} file descriptors, and the limit is {limit}: raise it with ulimit -n"
        raise OSError(errno.EMFILE, text)


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
