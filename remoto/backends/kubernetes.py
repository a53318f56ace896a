"""Connections to containers in Kubernetes pods, by kubectl on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..util import checked_text
from .containers import ContainerConnection, checked_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import ContainerOptions


class KubernetesConnection(ContainerConnection):
    """A connection to a container of a running pod.

    :param pod_name: the pod.
    :param namespace: the pod's namespace; by default the context's.
    :param context: a context in the client's configuration; by default the current one.
    :param container: the container in the pod; by default the client chooses one.
    :param kubeconfig: the path of the client's configuration.
    :param executable: the client's name or path; ``kubectl`` by default.
    :param persistent: True starts a Python in the container on first use, which serves all commands, functions and
        files. If the container has none, each command calls the client, or, with ``'require'``, a ContainerError is
        raised.
    :param kw: the keywords of :class:`remoto.backends.BaseConnection`; ``env`` is set in the container.

    >>> conn = KubernetesConnection('web-0', namespace='shop', eager=False)
    >>> conn.cmd(['ls', '-l'])
    ['kubectl', 'exec', '-i', '-n', 'shop', 'web-0', '--', '/bin/sh', '-c', 'ls -l']
    """

    executable = "kubectl"
    named_by = "pod_name=..., and optionally namespace=..., context=..., container=... or kubeconfig=..."

    def __init__(
        self,
        pod_name: str,
        namespace: str | None = None,
        context: str | None = None,
        *,
        container: str | None = None,
        kubeconfig: str | None = None,
        **kw: Unpack[ContainerOptions],
    ) -> None:
        self.pod_name = checked_name("pod", pod_name)
        self.identifier = self.pod_name
        self.namespace = checked_text("namespace", namespace)
        self.context = checked_text("context", context)
        self.container = checked_text("container", container)
        self.kubeconfig = checked_text("kubeconfig", kubeconfig)
        kw.pop("hostname", None)  # type: ignore[typeddict-item]  # remoto 1.2 ignored it
        super().__init__("localhost", **kw)

    def client(self) -> list[str]:
        return [
            self.executable,
            *(["--kubeconfig", self.kubeconfig] if self.kubeconfig else []),
            *(["--context", self.context] if self.context else []),
            *("exec", "-i"),
            *(["-n", self.namespace] if self.namespace else []),
            self.pod_name,
            *(["-c", self.container] if self.container else []),
            "--",
        ]

    def where(self) -> str:
        container = f", container {self.container}" if self.container else ""
        return f"pod {self.namespace + '/' if self.namespace else ''}{self.pod_name}{container}"
