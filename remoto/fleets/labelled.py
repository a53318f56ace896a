"""Groups of pods and containers found by label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Callable

from ..backends import BaseConnection
from ..backends.docker import DockerConnection
from ..backends.kubernetes import KubernetesConnection
from . import discovery, members
from .discovery import Found
from .members import Member
from .membership import Membership

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..backends.options import ClusterBackend, EngineBackend
    from ..untyped import AnyKeywords
    from .options import FoundContainersOptions, FoundPodsOptions

# keywords of a group; and keywords of a container's connection that apply to the engine's host
_GROUP_KEYWORDS = {"parallel", "logins", "connect_retries", "executor", "via"}
_HOST_KEYWORDS = {
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
        """Return a group of the running pods that match a label selector.

        Their names have the form ``shop/web-0``, or ``shop/web-0/app`` with a container. A pod that is not running is
        logged and skipped.

        :param selector: labels such as ``app=web,tier!=cache``.
        :param namespace: the namespace of the pods; by default the context's.
        :param context: a context in the client's configuration; by default the current one.
        :param kubeconfig: the path of the client's configuration.
        :param container: the container in each pod; by default the client chooses one.
        :param all_containers: include all containers of each pod.
        :param backend: ``kubernetes`` or ``openshift``, or a class of connections.
        :param keywords: further keywords of the group and of its connections.
        :raises ContainerError: the client failed, or no matching pod is running.
        """
        kind = members.class_of(backend)
        if not issubclass(kind, KubernetesConnection):
            raise ValueError(f"backend: expected 'kubernetes' or 'openshift', not {backend!r}")

        def find() -> list[Found]:
            return discovery.pods(
                selector,
                namespace=namespace,
                context=context,
                kubeconfig=kubeconfig,
                container=container,
                all_containers=all_containers,
                kind=kind,
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

        Their names have the form ``web``, or ``web on node1``. A container that is not running is logged and skipped.

        :param engine: ``docker`` or ``podman``, or a class of connections.
        :param host: the host of the engine, reached over ssh; this machine by default.
        :param labels: the labels to match: a mapping of labels to values, None for any value; or strings such as
            ``app=web``. Docker Compose sets ``com.docker.compose.project``.
        :param name: a pattern for names, such as ``web-*``.
        :param keywords: further keywords of the group and of its connections.
        :raises ContainerError: the client failed, or no matching container is running.
        """
        kind = members.class_of(engine)
        if not issubclass(kind, DockerConnection):
            raise ValueError(f"engine: expected 'docker' or 'podman', not {engine!r}")
        via = keywords.get("via")
        if via is not None and not isinstance(via, BaseConnection):
            raise TypeError(
                f"via: expected a connection, which finds the containers, too, not {type(via).__name__}: {via!r}"
            )
        to_host = {key: value for key, value in keywords.items() if key in _HOST_KEYWORDS}

        def find() -> list[Found]:
            return discovery.containers(host=host, labels=labels, name=name, kind=kind, connection=to_host)

        return cls._of_found(find, kind, keywords)

    @classmethod
    def _of_found(cls, find: Callable[[], list[Found]], kind: type[BaseConnection], keywords: AnyKeywords) -> Self:
        if "groups" in keywords:
            raise TypeError("groups: not supported for hosts that are found by their labels")

        def find_hosts() -> dict[str, dict[str, object]]:
            return {found.name: found.keywords for found in find()}

        group = cls(find_hosts(), kind, **keywords)
        own = {key: value for key, value in keywords.items() if key not in _GROUP_KEYWORDS}
        group._find = lambda: members.members_of(find_hosts(), kind, own, group._relays.of)
        return group

    def refresh(self) -> None:
        """Search again: add new pods or containers, and close the connections to those that no longer exist.

        A pod that has replaced one of the same name is a new one.

        :raises ContainerError: the client failed, or none is running.
        :raises TypeError: the group was not created by :meth:`pods` or :meth:`containers`.
        """
        if self._find is None:
            raise TypeError("refresh(): only for groups created by Group.pods() or Group.containers()")
        before, now = self._members, self._find()
        kept = {name: member for name, member in before.items() if name in now and member.make == now[name].make}
        removed = [member for name, member in before.items() if name not in kept]
        self._members = {name: kept.get(name, member) for name, member in now.items()}
        self._forget_errors()
        members.close(removed)
