"""Which hosts a group has: the constructors, access to its connections, and parts of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Callable, overload

from ..backends import BaseConnection
from ..backends.docker import DockerConnection
from ..backends.kubernetes import KubernetesConnection
from . import found
from . import members as rooms
from .found import Found
from .hosts import expand
from .logins import Logins
from .members import Hosts, Member
from .relays import Relays, Via
from .schedule import positive

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..backends.options import ClusterBackend, EngineBackend, HostBackend
    from ..untyped import AnyKeywords
    from .options import (
        ContainerGroupOptions,
        FoundContainersOptions,
        FoundPodsOptions,
        GroupOptions,
        PodGroupOptions,
    )

# keywords of a group, and those of a container's connection that are for the engine's host
_OF_GROUP = {"parallel", "logins", "connect_retries", "executor", "via", "groups"}
_OF_HOST = {
    "logger",
    "sudo",
    "detect_sudo",
    "interpreter",
    "ssh_options",
    "connect_timeout",
    "keepalive",
    "use_ssh",
    "via",
}


class Membership:
    """The hosts of a group. See :class:`remoto.group.Group`."""

    @overload
    def __init__(self, hosts: Hosts, backend: HostBackend = ..., **keywords: Unpack[GroupOptions]) -> None: ...
    @overload
    def __init__(self, hosts: Hosts, backend: EngineBackend, **keywords: Unpack[ContainerGroupOptions]) -> None: ...
    @overload
    def __init__(self, hosts: Hosts, backend: ClusterBackend, **keywords: Unpack[PodGroupOptions]) -> None: ...
    # a program's own class may have keywords of its own
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
        self._relays = Relays(via, groups)
        self._members = rooms.members_of(hosts, backend, keywords, self._relays.of, groups)
        self._is_part = False
        # asks again for the members of a group that was found by labels
        self._find: Callable[[], dict[str, Member]] | None = None

    @classmethod
    def pods(
        cls,
        selector: str,
        *,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: str | None = None,
        container: str | None = None,
        all_containers: bool = False,
        backend: ClusterBackend | type[KubernetesConnection] = "kubernetes",
        **keywords: Unpack[FoundPodsOptions],
    ) -> Self:
        """Return a group of the running pods that a label selector matches.

        Their names are such as ``shop/web-0``, or ``shop/web-0/app`` where a container is named. A pod that is not
        running is logged and left out.

        :param selector: labels, such as ``app=web,tier!=cache``.
        :param namespace: their namespace; the context's own by default.
        :param context: a context of the client's configuration; the current one by default.
        :param kubeconfig: the path of the client's configuration.
        :param container: one container of each pod; by default the client chooses.
        :param all_containers: take each container of each pod.
        :param backend: ``kubernetes`` or ``openshift``, or a class of connections.
        :param keywords: further keywords of a group, and of each connection.
        :raises ContainerError: the client failed, or no pod that matches is running.
        """
        kind = rooms.class_of(backend)
        if not issubclass(kind, KubernetesConnection):
            raise ValueError(f"backend: expected 'kubernetes' or 'openshift', not {backend!r}")

        def find() -> list[Found]:
            return found.pods(
                selector,
                namespace=namespace,
                context=context,
                kubeconfig=kubeconfig,
                container=container,
                all_containers=all_containers,
                executable=kind.executable,
            )

        return cls._of_found(find, kind, keywords)

    @classmethod
    def containers(
        cls,
        engine: EngineBackend | type[DockerConnection] = "docker",
        host: str | None = None,
        labels: Mapping[str, str | None] | Iterable[str] = (),
        name: str | None = None,
        **keywords: Unpack[FoundContainersOptions],
    ) -> Self:
        """Return a group of the running containers of an engine.

        Their names are such as ``web``, or ``web on node1``. A container that is not running is logged and left out.

        :param engine: ``docker`` or ``podman``, or a class of connections.
        :param host: the engine's host, reached over ssh; this machine by default.
        :param labels: labels that they must have: a mapping of labels to values, None for any value; or texts such as
            ``app=web``. Docker Compose sets ``com.docker.compose.project``.
        :param name: a pattern of names, such as ``web-*``.
        :param keywords: further keywords of a group, and of each connection.
        :raises ContainerError: the client failed, or no container that matches is running.
        """
        kind = rooms.class_of(engine)
        if not issubclass(kind, DockerConnection):
            raise ValueError(f"engine: expected 'docker' or 'podman', not {engine!r}")
        via = keywords.get("via")
        if via is not None and not isinstance(via, BaseConnection):
            raise TypeError(
                f"via: expected a connection, which finds the containers, too, not {type(via).__name__}: {via!r}"
            )
        to_host = {key: value for key, value in keywords.items() if key in _OF_HOST}

        def find() -> list[Found]:
            return found.containers(host=host, labels=labels, name=name, executable=kind.executable, connection=to_host)

        return cls._of_found(find, kind, keywords)

    @classmethod
    def _of_found(cls, find: Callable[[], list[Found]], kind: type[BaseConnection], keywords: AnyKeywords) -> Self:
        group = cls({one.name: one.keywords for one in find()}, kind, **keywords)
        own = {key: value for key, value in keywords.items() if key not in _OF_GROUP}
        group._find = lambda: rooms.members_of({one.name: one.keywords for one in find()}, kind, own, group._relays.of)
        return group

    def refresh(self) -> None:
        """Ask the engine or the API server again: close the connections of what is gone, and add what is new.

        :raises ContainerError: the client failed, or none is running.
        :raises TypeError: the group was not made by :meth:`pods` or :meth:`containers`.
        """
        if self._find is None:
            raise TypeError("refresh() is for groups that Group.pods() or Group.containers() has made")
        now = self._find()
        gone = [member for name, member in self._members.items() if name not in now]
        self._members = {name: self._members.get(name, member) for name, member in now.items()}
        self._forget_errors()
        rooms.close(gone)

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
        """Close the connections, except those that were passed in. The next use opens them again.

        A group from :meth:`only` or :meth:`without` closes none: the connections are those of the group it was taken
        from.
        """
        if not self._is_part:
            rooms.close_all(self._members.values())

    def _connect(self, conn: BaseConnection) -> None:
        """Open a connection when it is its turn to log in."""
        if self._owner != os.getpid():  # a child of fork(): the parent's threads, which log in, do not leave here
            self._logins, self._owner = Logins(*self._login_limits), os.getpid()
        self._logins.connect(conn)

    def _forget_errors(self) -> None:
        for member in self._members.values():
            if member.make is not None and member.make.relay is not None:
                member.make.relay.forget_error()
            member.forget_error()

    def only(self, *hosts: str) -> Self:
        """Return a group of some hosts, which shares their connections.

        :param hosts: names or patterns.
        :raises KeyError: a host is not in the group.
        """
        return self._part(self._known(hosts))

    def without(self, *hosts: str) -> Self:
        """Return a group of the other hosts, which shares their connections.

        :param hosts: names or patterns.
        :raises KeyError: a host is not in the group.
        :raises ValueError: no host is left.
        """
        left_out = set(self._known(hosts))
        return self._part([host for host in self._members if host not in left_out])

    def _known(self, hosts: Iterable[str]) -> list[str]:
        # a name of a connection or container may look like a pattern
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
