"""The hosts of a group, and their connections."""

from __future__ import annotations

import contextlib
import errno
import importlib
import inspect
import os
import resource
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Callable, NamedTuple, Union

from .. import connection
from ..backends import BaseConnection
from ..backends.containers import ContainerConnection
from ..backends.relayed import relay_failure
from ..exc import ConnectError, ConnectionLost
from .hosts import entries, names_of, require_size
from .schedule import Workers

if TYPE_CHECKING:
    from ..untyped import AnyKeywords

# built by a program at run time, so no type checker can check them
_Keywords = Mapping[str, object]
#: the hosts of a group, in any form that the constructor accepts
Hosts = Union[str, Mapping[str, _Keywords], Iterable[Union[str, tuple[str, _Keywords], BaseConnection]]]
#: file descriptors of this program for each connection while it is opened: three pipes, and one to wait for the process
DESCRIPTORS = 4
# descriptors for other files that the program opens meanwhile
_SPARE = 32
# connections to close at the same time
_CLOSING = 64


class Member:
    """A host of a group. Its connection is opened on first use, and reopened after it was lost.

    :param make: returns an unopened connection; None for a connection that belongs to the program.
    """

    def __init__(self, name: str, conn: BaseConnection, make: Maker | None) -> None:
        self.name = name
        self.conn = conn
        self.make = make
        # the error that made it unreachable
        self._error: ConnectError | None = None
        self._was_open = False
        self._connecting = threading.Lock()
        self._owner = os.getpid()
        # for a program's own connection: the channel of the command before the current one
        self._before: object = None

    @property
    def is_open(self) -> bool:
        return self.conn.has_connection()

    @property
    def was_lost(self) -> bool:
        return self._was_open and not self.conn.has_connection()

    @property
    def needs_descriptors(self) -> bool:
        """True if a connection is yet to be opened that needs descriptors; through a relay it needs none."""
        has_relay = self.make is not None and self.make.relay is not None
        return self.conn.needs_descriptors and not self.is_open and not has_relay

    def connect(self, connect: Callable[[BaseConnection], None]) -> BaseConnection:
        """Return the open connection.

        :param connect: opens a connection.
        :raises ConnectError: it can't be opened. The same error is raised again until :meth:`forget_error` is called.
        :raises ConnectionLost: the program's own connection is closed.
        """
        if self._owner != os.getpid():  # a child of fork(): a lock that a thread of the parent held is never released
            self._connecting, self._owner = threading.Lock(), os.getpid()
        with self._connecting:
            if self._error is not None:
                # without the frames of earlier calls
                raise self._error.with_traceback(None)
            if not self.conn.has_connection():
                if self._was_open and self.make is not None:
                    self._renew(self.make)
                try:
                    if self.make is not None and self.make.relay is not None:
                        self._connect_relay(self.make, self.make.relay, connect)
                    connect(self.conn)
                except ConnectError as error:
                    self._error = error
                    raise
            self._was_open = True
            return self.conn

    def _connect_relay(self, make: Maker, relay: Member, connect: Callable[[BaseConnection], None]) -> None:
        """Open the connection to the relay if it is not open, and use it.

        :raises HostError: the relay can't be reached, or was lost.
        """
        try:
            via = relay.connect(connect)
        except (ConnectError, ConnectionLost) as error:
            raise relay_failure(relay.conn, self.conn.hostname, error) from error
        if self.conn.via is not via:
            self._renew(make)

    def _renew(self, make: Maker) -> None:
        self.conn.exit()
        self.conn = make()
        self._was_open = False

    def remember(self, error: ConnectError) -> None:
        """Remember the error of an unreachable container. A container without Python can still run commands."""
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

    def close(self, at_once: bool = False) -> None:
        """Close the connection, unless it is the program's. The next use opens another one.

        :param at_once: after an interrupt: do not wait for a host that does not answer.
        """
        if self.make is not None:
            if at_once:
                self.conn.end_ssh()
            # before acquiring the lock, which a thread that is opening the connection holds
            self.conn.exit()
            with self._connecting:
                self._was_open = True

    def abandon(self) -> None:
        """End the wait for the host: close the connection, or only the channel of a program's own connection."""
        if self.make is not None:
            self.close(at_once=True)
        elif self.conn.channel is not self._before:
            with contextlib.suppress(OSError):  # the connection is lost
                self.conn.channel.close()


class Maker(NamedTuple):
    """A function that creates the unopened connection of a host. It can be pickled if the keywords can.

    :ivar relay: the relay of the host.
    """

    backend: str | type[BaseConnection]
    keywords: AnyKeywords
    relay: Member | None = None

    def __call__(self) -> BaseConnection:
        keywords = dict(self.keywords)
        if self.relay is not None:
            keywords["via"] = self.relay.conn
        kind = self.backend
        if isinstance(kind, str):
            # look up the class each time, so that remoto.testing.Hosts can replace it
            kind = connection.get(kind, "ssh")
            if kind is BaseConnection:
                kind = importlib.import_module("remoto").Connection
        return kind(**keywords, eager=False)


def close_all(members: Iterable[Member], timeout: float | None = None) -> None:
    """Close connections, then those of their relays; see :func:`close`."""
    members = list(members)
    close(members, timeout)
    relays = {member.make.relay for member in members if member.make is not None}
    close([relay for relay in relays if relay is not None], timeout)


def close(members: Iterable[Member], timeout: float | None = None) -> None:
    """Close connections in parallel.

    :param timeout: after an interrupt: seconds to wait; the rest is closed in the background. None means no limit.
    """
    closing = Workers(list(members), partial(Member.close, at_once=timeout is not None), _CLOSING)
    if timeout is None:
        for _ in closing:
            pass
    else:
        closing.start()
        closing.finish(timeout)


def abandon(members: Sequence[Member]) -> Workers[Member, None]:
    """Abandon members in the background, all in parallel, so that a silent peer does not delay the others.

    :returns: the threads, to wait for.
    """
    closing = Workers(members, Member.abandon, len(members))
    closing.start()
    return closing


def members_of(
    hosts: Hosts,
    backend: str | type[BaseConnection],
    keywords: _Keywords,
    relays_of: Callable[[Sequence[str]], Mapping[str, Member]] = lambda names: {},
    groups: bool = False,
) -> dict[str, Member]:
    """Return the members of a group, by name. Nothing is opened.

    :param relays_of: returns a mapping of hosts to their relays.
    :param groups: look up ``@GROUP`` in ClusterShell's configuration.
    :raises TypeError, ValueError: a host, a keyword or the backend is invalid.
    """
    named_by = _named_by(class_of(backend))
    for keyword in (named_by, "container_id"):
        if keyword in keywords:
            raise TypeError(f"{keyword}: would be the same for every host: pass the hosts as the first argument")
    named: dict[str, _Keywords | BaseConnection] = {}
    twice: list[str] = []
    for name, given in _named(hosts, groups):
        if name in named:
            twice.append(name)
        else:
            named[name] = given
    if not named:
        raise ValueError("hosts: expected at least one host")
    relays = relays_of(list(named))
    members: dict[str, Member] = {}
    for name, given in named.items():
        if isinstance(given, BaseConnection):
            if name in relays:
                raise TypeError(f"via: {name} is already a connection: pass via= when you create it")
            members[name] = Member(name, given, None)
        else:
            make = _maker(backend, named_by, name, {**keywords, **given}, relays.get(name))
            members[name] = Member(name, make(), make)
    if twice:
        warnings.warn(f"hosts: named more than once: {', '.join(dict.fromkeys(twice))}", stacklevel=4)
    return members


def class_of(backend: str | type[BaseConnection]) -> type[BaseConnection]:
    """Return the class of a backend.

    :raises ValueError: the backend is unknown.
    """
    if isinstance(backend, type) and issubclass(backend, BaseConnection):
        return backend
    if not isinstance(backend, str):
        raise TypeError(f"backend: expected a name or a class of connections, not {backend!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = connection.find(backend, None, stacklevel=2)
    if kind is None:
        raise ValueError(f"backend: unknown: {backend!r}")
    return kind


def _named(hosts: Hosts, groups: bool) -> Iterator[tuple[str, _Keywords | BaseConnection]]:
    if isinstance(hosts, BaseConnection):
        raise TypeError(f"hosts: expected several connections in a list, not one: {hosts!r}")
    if isinstance(hosts, bytes) or not isinstance(hosts, Iterable):
        raise TypeError(f"hosts: expected names, not {type(hosts).__name__}: {hosts!r}")
    listed: list[tuple[str, _Keywords | BaseConnection]] = []
    for item in [hosts] if isinstance(hosts, str) else hosts.items() if isinstance(hosts, Mapping) else hosts:
        if isinstance(item, BaseConnection):
            listed.append((name_of(item), item))
        else:
            text, keywords = (item, {}) if isinstance(item, str) else _pair(item)
            listed += [(entry, keywords) for entry in entries(text, groups)]
    require_size(entry for entry, given in listed if not isinstance(given, BaseConnection))
    for entry, given in listed:
        for name in [entry] if isinstance(given, BaseConnection) else names_of(entry, groups):
            yield name, given


def _pair(item: object) -> tuple[str, _Keywords]:
    pair = tuple(item) if isinstance(item, (tuple, list)) else ()
    if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], Mapping):
        raise TypeError(f"hosts: expected a name, a name with its keywords, or a connection, not {item!r}")
    return pair


def name_of(conn: BaseConnection) -> str:
    """Return the name of a program's own connection: its container or its host."""
    return conn.where() if isinstance(conn, ContainerConnection) else conn.hostname


def _maker(
    backend: str | type[BaseConnection], named_by: str, name: str, keywords: _Keywords, relay: Member | None
) -> Maker:
    if "eager" in keywords:
        raise TypeError("eager: a group opens its connections on first use")
    if relay is not None and "via" in keywords:
        raise TypeError(f"via: {name} already has a relay")
    # keywords may override the hostname; results keep the name
    return Maker(backend, {named_by: name, **keywords}, relay)


def _named_by(kind: type[BaseConnection]) -> str:
    """Return the keyword of a backend for the name of a host."""
    parameters = inspect.signature(kind).parameters
    return next((name for name in ("pod_name", "container_name") if name in parameters), "hostname")


def require_descriptors(members: Iterable[Member]) -> None:
    """Check that the limit of file descriptors allows connections to all members.

    :raises OSError: EMFILE: the limit is too low.
    """
    count = sum(member.needs_descriptors for member in members)
    limit, held = _limit_of_descriptors()
    needed = held + DESCRIPTORS * count
    if needed > limit:
        what = "a connection needs" if count == 1 else f"{count} connections need"
        raise OSError(
            errno.EMFILE, f"{what} {needed} file descriptors, and the limit is {limit}: raise it with ulimit -n"
        )


def affordable(parallel: int, members: Iterable[Member]) -> int:
    """Return how many members can be connected at the same time: ``parallel``, or fewer if descriptors are scarce.

    :raises OSError: EMFILE: not even one can be connected.
    """
    needing = [member for member in members if member.needs_descriptors]
    limit, held = _limit_of_descriptors()
    allowed = (limit - held) // DESCRIPTORS
    if allowed >= min(parallel, len(needing)):
        return parallel
    require_descriptors(needing[:1])
    return int(allowed)


def _limit_of_descriptors() -> tuple[float, int]:
    """Return the limit of file descriptors, and how many are open, or may be opened for other files meanwhile."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (float("inf") if limit == resource.RLIM_INFINITY else limit), _open_descriptors() + _SPARE


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
