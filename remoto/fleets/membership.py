"""The hosts of a group: the constructor, access to the connections, and smaller groups."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, overload

from ..backends import BaseConnection
from . import members
from .hosts import expand
from .logins import Logins
from .members import Hosts
from .relays import Relays, Via
from .schedule import positive

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..backends.options import ClusterBackend, EngineBackend, HostBackend
    from .options import ContainerGroupOptions, GroupOptions, PodGroupOptions


class Membership:
    """The hosts of a group. See :class:`remoto.group.Group`."""

    @overload
    def __init__(self, hosts: Hosts, backend: HostBackend = ..., **keywords: Unpack[GroupOptions]) -> None: ...
    @overload
    def __init__(self, hosts: Hosts, backend: EngineBackend, **keywords: Unpack[ContainerGroupOptions]) -> None: ...
    @overload
    def __init__(self, hosts: Hosts, backend: ClusterBackend, **keywords: Unpack[PodGroupOptions]) -> None: ...
    # a program's own class may have other keywords
    @overload
    def __init__(
        self,
        hosts: Hosts,
        backend: type[BaseConnection],
        *,
        parallel: int = ...,
        logins: int = ...,
        connect_retries: int = ...,
        via: Via | None = ...,
        executor: Executor | None = ...,
        groups: bool = ...,
        **keywords: object,
    ) -> None: ...
    def __init__(
        self,
        hosts: Hosts,
        backend: str | type[BaseConnection] = "ssh",
        *,
        parallel: int = 64,
        logins: int = 8,
        connect_retries: int = 2,
        via: Via | None = None,
        executor: Executor | None = None,
        groups: bool = False,
        **keywords: object,
    ) -> None:
        self._parallel = positive("parallel", parallel)
        if isinstance(connect_retries, bool) or not isinstance(connect_retries, int) or connect_retries < 0:
            raise ValueError(f"connect_retries: expected 0 or a positive int, not {connect_retries!r}")
        self._login_limits = positive("logins", logins), connect_retries
        self._logins = Logins(*self._login_limits)
        self._owner = os.getpid()
        if executor is not None and not isinstance(executor, Executor):
            kind = type(executor).__name__
            raise TypeError(f"executor: expected a concurrent.futures.Executor, not {kind}: {executor!r}")
        self._executor = executor
        self._groups = groups
        self._relays = Relays(via, groups, keywords)
        self._members = members.members_of(hosts, backend, keywords, self._relays.of, groups)
        self._is_part = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} hosts>"

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __contains__(self, host: object) -> bool:
        return host in self._members

    def __getitem__(self, host: str) -> BaseConnection:
        return self._members[host].conn

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, except those that were passed in. The next use reopens them.

        A group from :meth:`only` or :meth:`without` closes none, since the connections belong to the whole group.
        """
        if not self._is_part:
            members.close_all(self._members.values())

    def _connect(self, conn: BaseConnection) -> None:
        """Open a connection when the limit on logins allows it."""
        if self._owner != os.getpid():  # in a child of fork(), the parent's threads never end their logins
            self._logins, self._owner = Logins(*self._login_limits), os.getpid()
        self._logins.connect(conn)

    def _forget_errors(self) -> None:
        for member in self._members.values():
            if member.make is not None and member.make.relay is not None:
                member.make.relay.forget_error()
            member.forget_error()

    def only(self, *hosts: str) -> Self:
        """Return a smaller group of these hosts, which shares the connections.

        :param hosts: names or patterns.
        :raises KeyError: a host is not in the group.
        """
        return self._part(self._known(hosts))

    def without(self, *hosts: str) -> Self:
        """Return a smaller group without these hosts, which shares the connections.

        :param hosts: names or patterns.
        :raises KeyError: a host is not in the group.
        :raises ValueError: no host is left.
        """
        excluded = set(self._known(hosts))
        return self._part([host for host in self._members if host not in excluded])

    def _known(self, hosts: Iterable[str]) -> list[str]:
        hosts = list(hosts)
        for host in hosts:
            if not isinstance(host, str):
                raise TypeError(f"hosts: expected names as arguments, not {type(host).__name__}: {host!r:.200}")
        # the name of a connection or container may look like a pattern
        names = [
            name for host in hosts for name in ([host] if host in self._members else expand(host, groups=self._groups))
        ]
        unknown = [name for name in names if name not in self._members]
        if unknown:
            raise KeyError(f"not in the group: {', '.join(unknown)}")
        return names

    def _part(self, names: Sequence[str]) -> Self:
        if not names:
            raise ValueError("hosts: no host is left")
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._is_part = True
        chosen = set(names)
        part._members = {name: member for name, member in self._members.items() if name in chosen}
        return part
