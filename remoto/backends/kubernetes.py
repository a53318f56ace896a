"""Connections to containers in Kubernetes pods, by kubectl on this machine."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from ..commands.timeout import TimedOut
from ..exc import ContainerError
from ..util import checked_text
from .base import BaseConnection
from .containers import ContainerConnection, Symptom, ask, checked_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import ContainerOptions


_SYMPTOMS: tuple[Symptom, ...] = (
    (r"pods? \S+ not found|pod does not exist", "container", "no such pod"),
    (r"namespaces? \S+ not found", "container", "no such namespace"),
    (r"container \S+ is not valid for pod", "container", "no such container in the pod"),
    (r"current phase is|completed pod|container not (running|found)|container \S+ not found in pod"
     r"|does not have a host assigned"
     # containerd: the container has just ended
     r"|no running task found|failed to create exec \S+ task \S+ not found", "stopped",
     "the container is not running"),
    (r"please enter username:|client to provide credentials|must be logged in", "permission",
     "the client has no credentials that the API server accepts"),
    # the API server's certificate; after "error dialing backend" it is a kubelet's
    (r"unable to connect to the server: .*x509: ", "client", "the client does not trust the API server's certificate"),
    (r"connection to the server .* refused|unable to connect to the server|error dialing backend"
     r"|was refused - did you specify the right host or port|rpc error: code = unavailable"
     # the server has ended while a command ran
     r"|error reading from error stream|websocket: close 1006", "unreachable", "cannot reach the API server"),
    (r"no configuration has been provided|kubeconfig|^error: stat |unable to read client-", "client",
     "the client's configuration is not valid"),
)  # fmt: skip
#: seconds before the client is asked again whether the pod is still the same
CHECKED_FOR = 5.0
# for the call that asks for the uid, since it is not one of the program's commands
_QUIET = logging.Logger("remoto", logging.CRITICAL)  # noqa: LOG001  # a separate logger, which affects no other one


class KubernetesConnection(ContainerConnection):
    """A connection to a container of a running pod.

    :param pod_name: the pod.
    :param namespace: the pod's namespace; by default the context's.
    :param context: a context in the client's configuration; by default the current one.
    :param container: the container in the pod; by default the client chooses one.
    :param kubeconfig: the path of the client's configuration.
    :param uid: the pod's uid. If another pod of the same name has replaced it, a ContainerError is raised. The client
        is asked for the uid when a Python is started in the pod, and otherwise before a command, at most every five
        seconds.
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
    symptoms = _SYMPTOMS
    named_by = "pod_name=..., and optionally namespace=..., context=..., container=... or kubeconfig=..."

    def __init__(
        self,
        pod_name: str,
        namespace: str | None = None,
        context: str | None = None,
        *,
        container: str | None = None,
        kubeconfig: str | None = None,
        uid: str | None = None,
        **kw: Unpack[ContainerOptions],
    ) -> None:
        self.pod_name = checked_name("pod", pod_name)
        self.identifier = self.pod_name
        self.namespace = checked_text("namespace", namespace)
        self.context = checked_text("context", context)
        self.container = checked_text("container", container)
        self.kubeconfig = checked_text("kubeconfig", kubeconfig)
        self.uid = checked_text("uid", uid)
        self._checked_at = float("-inf")
        kw.pop("hostname", None)  # type: ignore[typeddict-item]  # remoto 1.2 ignored it
        super().__init__("localhost", **kw)

    def client(self) -> list[str]:
        return [
            *self._configured_client(),
            *("exec", "-i"),
            *(["-n", self.namespace] if self.namespace else []),
            self.pod_name,
            *(["-c", self.container] if self.container else []),
            "--",
        ]

    def _configured_client(self) -> list[str]:
        return [
            self.executable,
            *(["--kubeconfig", self.kubeconfig] if self.kubeconfig else []),
            *(["--context", self.context] if self.context else []),
        ]

    def require_unreplaced(self, recently: bool = False, timeout: float | None = None) -> None:
        now = time.monotonic()
        if self.uid is None or (recently and now < self._checked_at + CHECKED_FOR):
            return
        argv = [*self._configured_client(), "get", "pod", self.pod_name]
        argv += [*(["-n", self.namespace] if self.namespace else []), "-o", "jsonpath={.metadata.uid}"]
        # on the client's machine, through the same Python
        machine = BaseConnection(self.hostname, _QUIET, self.sudo, eager=False)
        machine.gateway = self._live_gateway()
        limit = min(filter(None, (timeout, self.connect_timeout)), default=None)
        try:
            found = ask(machine, type(self), argv, self.where(), timeout=limit, action="connect to").stdout
        except ContainerError as error:
            if error.kind == "timeout" and limit == timeout:
                raise TimedOut from None
            raise
        if found != [self.uid]:
            raise ContainerError(
                f"another pod of the same name has replaced this pod: its uid is {' '.join(found)}, not {self.uid}",
                host=self.where(),
                kind="container",
                command=argv,
                exit_status=0,
                advice="Call refresh() of the group to use the new pod.",
            )
        self._checked_at = now

    def where(self) -> str:
        container = f", container {self.container}" if self.container else ""
        return f"pod {self.namespace + '/' if self.namespace else ''}{self.pod_name}{container}"
