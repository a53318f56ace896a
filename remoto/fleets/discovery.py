"""Find containers and pods by label or name, with the client of the engine."""

from __future__ import annotations

import fnmatch
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..backends import BaseConnection
from ..backends.containers import ContainerConnection, ask
from ..backends.docker import DockerConnection
from ..backends.kubernetes import KubernetesConnection
from ..exc import ContainerError
from ..process import CheckResult

if TYPE_CHECKING:
    from ..untyped import AnyJson, AnyKeywords

__all__ = ["Found", "containers", "pods"]

logger = logging.getLogger("remoto")
#: seconds for the client's answer
TIMEOUT = 60.0
_ACTION = "find"
# characters of the client's output to show in an error
_SHOWN = 1000
# the owners that give each pod a name that no other pod gets later
_UNIQUE_NAMES = {"ReplicaSet", "ReplicationController", "DaemonSet", "Job"}
# errors raised if the client's output is not a list
_NO_ANSWER = (ValueError, LookupError, TypeError, RecursionError)


class Found(NamedTuple):
    """A container: its name in results, and the keywords that its connection needs."""

    name: str
    keywords: dict[str, object]


class _Pod(NamedTuple):
    name: str
    namespace: str
    uid: str | None  # None if no other pod gets its name
    state: str
    containers: list[str]


def pods(
    selector: str,
    *,
    namespace: str | None = None,
    context: str | None = None,
    kubeconfig: str | None = None,
    container: str | None = None,
    all_containers: bool = False,
    kind: type[KubernetesConnection] = KubernetesConnection,
) -> list[Found]:
    """Return the running pods that match a label selector, sorted by name.

    :param selector: labels such as ``app=web,tier!=cache``, see ``kubectl get --selector``.
    :param namespace: the namespace of the pods; by default the context's.
    :param context: a context in the client's configuration; by default the current one.
    :param kubeconfig: the path of the client's configuration.
    :param container: the container in each pod; by default the client chooses one.
    :param all_containers: return all containers of each pod.
    :param kind: the class of the connections, with the client.
    :raises ContainerError: the client failed or printed no list of pods, or no matching pod is running.
    """
    if container and all_containers:
        raise ValueError("container and all_containers: expected one of them, not both")
    if not isinstance(selector, str) or not selector.strip():
        raise ValueError(f"selector: expected labels such as 'app=web', not {selector!r}")
    client = [
        kind.executable,
        *(["--kubeconfig", kubeconfig] if kubeconfig else []),
        *(["--context", context] if context else []),
        *(["-n", namespace] if namespace else []),
    ]
    place = f"pods {selector}{f' in namespace {namespace}' if namespace else ''}"
    argv = [*client, "get", "pods", "-l", selector, "-o", "json"]
    answer = _answer(kind, None, argv, place, {})
    try:
        listed = sorted(_pod(item) for item in json.loads("\n".join(answer.stdout))["items"])
    except _NO_ANSWER:
        raise _no_answer(argv, place, answer, "a list of pods as JSON") from None
    shared = {"context": context, "kubeconfig": kubeconfig, "executable": kind.executable}
    found = []
    for pod in listed:
        name = f"{pod.namespace}/{pod.name}"
        if pod.state != "Running":
            logger.warning("skipped: pod %s is not running: %s", name, pod.state)
            continue
        keywords = {**shared, "pod_name": pod.name, "namespace": pod.namespace, "uid": pod.uid}
        names: list[str | None] = [*pod.containers] if all_containers else [container]
        found += [Found(f"{name}/{inner}" if inner else name, {**keywords, "container": inner}) for inner in names]
    return _require_some(found, place)


def _pod(item: AnyJson) -> _Pod:
    """Return a pod from the client's output.

    :raises LookupError, TypeError: it is not a pod.
    """
    metadata = item["metadata"]
    state = "Terminating" if "deletionTimestamp" in metadata else str(item["status"]["phase"])
    containers = [str(container["name"]) for container in item["spec"]["containers"]]
    owners = {str(owner["kind"]) for owner in metadata.get("ownerReferences", ())}
    uid = None if owners & _UNIQUE_NAMES else str(metadata["uid"])
    return _Pod(str(metadata["name"]), str(metadata["namespace"]), uid, state, containers)


def containers(
    *,
    host: str | None = None,
    labels: Mapping[str, str | None] | Iterable[str] = (),
    name: str | None = None,
    kind: type[DockerConnection] = DockerConnection,
    connection: AnyKeywords | None = None,
) -> list[Found]:
    """Return the running containers of an engine, sorted by name.

    :param host: the host of the engine, reached over ssh; this machine by default.
    :param labels: the labels to match: a mapping of labels to values, None for any value; or strings such as
        ``app=web``. Docker Compose sets ``com.docker.compose.project``.
    :param name: a pattern for names, such as ``web-*``, see :mod:`fnmatch`.
    :param kind: the class of the connections, with the client.
    :param connection: the keywords of the connection to the host of the engine.
    :raises ContainerError: the client failed or printed no list of containers, or no container that matches is running.
    :raises ConnectError: the engine's host can't be reached.
    """
    filters = [argument for label in _labels(labels) for argument in ("--filter", f"label={label}")]
    argv = [kind.executable, "ps", "--all", *filters, "--format", "{{.ID}}\t{{.State}}\t{{.Names}}"]
    wanted = " ".join([*_labels(labels), *([name] if name else [])])
    place = f"{kind.executable} containers{f' {wanted}' if wanted else ''} on {host or 'localhost'}"
    found = []
    answer = _answer(kind, host, argv, place, connection or {})
    try:
        listed = sorted((names, state) for _, state, names in (line.split("\t", 2) for line in answer.stdout if line))
    except ValueError:
        raise _no_answer(argv, place, answer, "a line for each container") from None
    for names, state in listed:
        own = names.split(",")[0]
        if name is not None and not fnmatch.fnmatchcase(own, name):
            continue
        # podman before 4 prints "Up 3 hours"
        if not re.match(r"running\b|up\b", state, re.IGNORECASE):
            logger.warning("skipped: container %s is not running: %s", own, state)
            continue
        keywords: dict[str, object] = {"hostname": host, "container_name": own, "executable": kind.executable}
        found.append(Found(f"{own} on {host}" if host else own, keywords))
    return _require_some(found, place)


def _labels(labels: Mapping[str, str | None] | Iterable[str]) -> Iterator[str]:
    if isinstance(labels, str):
        labels = [labels]
    given = labels.items() if isinstance(labels, Mapping) else ((label, None) for label in labels)
    for label, value in given:
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"labels: expected strings such as 'app=web', not {label!r}")
        yield label if value is None else f"{label}={value}"


def _answer(
    kind: type[ContainerConnection], host: str | None, argv: Sequence[str], place: str, keywords: AnyKeywords
) -> CheckResult[list[str]]:
    """Return the stdout of the client.

    :raises ContainerError: the client failed.
    """
    with BaseConnection(host or "localhost", **keywords) as conn:
        return ask(conn, kind, argv, place, TIMEOUT, _ACTION)


def _no_answer(argv: Sequence[str], place: str, answer: CheckResult[list[str]], expected: str) -> ContainerError:
    """Return the error for a client that succeeded, but did not print a list."""
    printed = "\n".join([*answer.stdout, *answer.stderr])
    if len(printed) > _SHOWN:
        printed = f"{printed[:_SHOWN]}..."
    advice = f"Is {argv[0]} on PATH the client itself? Run the command in a shell: it must print nothing else."
    reason = f"{argv[0]} printed {'something other than' if printed.strip() else 'nothing instead of'} {expected}"
    return ContainerError(
        reason,
        host=place,
        kind="client",
        command=argv,
        exit_status=answer.returncode,
        stderr=printed,
        advice=advice,
        action=_ACTION,
    )


def _require_some(found: list[Found], place: str) -> list[Found]:
    if not found:
        raise ContainerError("none is running", host=place, kind="container", action=_ACTION)
    return found
