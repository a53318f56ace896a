"""Groups of the pods and containers that labels describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Callable

from ..backends import BaseConnection
from ..backends.docker import DockerConnection
from ..backends.kubernetes import KubernetesConnection
from . import found
from . import members as rooms
from .found import Found
from .members import Member
from .membership import Membership

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..backends.options import ClusterBackend, EngineBackend
    from ..untyped import AnyKeywords
    from .options import FoundContainersOptions, FoundPodsOptions

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


class LabelledMembership(Membership):
    """The constructors that find the hosts of a group by labels. See :class:`remoto.group.Group`."""

    # searches again; None for a group of named hosts
    _find: Callable[[], dict[str, Member]] | None = None

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
