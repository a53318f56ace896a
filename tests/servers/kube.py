"""The tests' own Kubernetes API server: the parts that ``kubectl`` needs for exec, run, wait and delete.

It answers over plain HTTP on a loopback port, with the texts of a real server. A container of a pod is a prefix that
runs a command, such as ``docker exec -i NAME``; it is empty for this machine itself. A second port, over TLS, accepts a
single token.

Exec: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.32/#create-connect-get-exec-pod-v1-core, and for
the channels k8s.io/apimachinery/pkg/util/remotecommand. SPDY, which kubectl before 1.30 uses, is not supported.

usage: python -m tests.servers.kube KUBECONFIG [COMMAND...]

Write a kubeconfig file and serve until stdin ends; COMMAND is put before each command of a pod to run it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .guard import guarded
from .kube_exec import STATUS, Channels, Command, internal_error, runtime_failure

DISCOVERY: dict[str, dict[str, Any]] = {
    # kubectl ignores this one, but the wrapper of Google's SDK uses it to choose a kubectl
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": "namespaces",
                "singularName": "namespace",
                "namespaced": False,
                "kind": "Namespace",
                "verbs": ["get"],
            },
            {
                "name": "pods",
                "singularName": "pod",
                "namespaced": True,
                "kind": "Pod",
                "verbs": ["create", "delete", "get", "list"],
            },
            {"name": "pods/exec", "namespaced": True, "kind": "PodExecOptions", "verbs": ["create", "get"]},
        ],
    },
}

NAMESPACE_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)")
PODS_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods")
POD_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods/(?P<name>[^/]+)(?P<exec>/exec)?")

TOKEN = "remoto-tests-token"


@dataclass(frozen=True)
class Pod:
    """A pod that :meth:`Kube.add` created."""

    #: by name: the prefix that runs a command in the container; None if it is not running, as after a crash
    containers: Mapping[str, Sequence[str] | None]
    #: the verb that the user lacks: "get" for the pod itself, "create" for exec
    forbidden: str | None = None
    #: Pending: not scheduled on a node yet
    phase: str = "Running"
    #: seconds from the answer 101 until a command starts
    start_delay: float = 0.0
    #: the error of the container runtime for each command, instead of starting it
    runtime_failure: str = ""
    #: the answer of the kubelet instead of 101
    upgrade_failure: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    #: True after its deletion was requested
    terminating: bool = False
    #: different for each pod, also for one that replaces another of the same name
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    #: the kind of the object that created it, such as StatefulSet
    owner: str = ""


class Kube:
    """The server, as a context manager.

    ``kubectl`` and ``oc`` work as plain commands with the variables in ``environment``. The current context is the
    server's. Four others fail: ``unreachable``, a closed port; and, on the port with TLS, ``no-credentials``,
    ``wrong-credentials`` and ``unknown-ca``.
    """

    executable = "kubectl"
    context = "remoto-tests"

    def __init__(self, images: Mapping[str, Sequence[str]] | None = None) -> None:
        """
        :param images: for pods created by ``kubectl run``: the prefix that runs a command, by the name of the image.
        """
        self.directory = Path(tempfile.mkdtemp(prefix="remoto-kube-"))
        self.pods: dict[tuple[str, str], Pod] = {}
        self.images = dict(images or {})
        self.kubeconfig = self.directory / "kubeconfig"
        #: a directory for PATH, with kubectl under the name oc
        self.bin = self.directory / "bin"
        self.environment = {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.directory / "cache")}
        self.environment["PATH"] = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        self._stack = ExitStack()
        self.commands: dict[Command, tuple[str, str]] = {}

    def add(
        self, name: str, containers: Mapping[str, Sequence[str] | None], namespace: str = "default", **state: Any
    ) -> None:
        """Create a pod, see :class:`Pod`."""
        self.pods[namespace, name] = Pod(containers, **state)

    def remove(self, name: str, namespace: str = "default") -> None:
        """Delete a pod; kill its commands."""
        del self.pods[namespace, name]
        for command, place in list(self.commands.items()):
            if place == (namespace, name):
                command.kill()

    def __enter__(self) -> Kube:
        with ExitStack() as stack:
            stack.enter_context(guarded(self.directory))
            stack.callback(shutil.rmtree, self.directory)
            kubectl = shutil.which(self.executable)
            if kubectl is None:
                raise FileNotFoundError(self.executable)
            self.bin.mkdir()
            (self.bin / "oc").symlink_to(kubectl)
            # closed after the servers, when no more commands can begin
            stack.callback(self._kill_commands)
            port = self._serve(stack, _Server(self))
            secure = self._serve(stack, _Server(self, self._certificate()))
            self._write_kubeconfig(port, secure)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _serve(self, stack: ExitStack, server: _Server) -> int:
        # it listens since it was created: early connections wait
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server.server_port

    def _kill_commands(self) -> None:
        for command in list(self.commands):
            command.kill()

    def _certificate(self) -> ssl.SSLContext:
        """Return a TLS context for the loopback address; write the certificate to ``directory`` as ``ca.pem``."""
        certificate, key = self.directory / "ca.pem", self.directory / "key.pem"
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-keyout", key, "-out", certificate]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-subj", "/CN=remoto-tests", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def _write_kubeconfig(self, port: int, secure_port: int) -> None:
        secure = {"server": f"https://127.0.0.1:{secure_port}"}
        trusted = {**secure, "certificate-authority": str(self.directory / "ca.pem")}
        clusters: dict[str, dict[str, Any]] = {
            self.context: {"server": f"http://127.0.0.1:{port}"},
            "unreachable": {"server": "http://127.0.0.1:1"},
            "no-credentials": trusted,
            "wrong-credentials": trusted,
            "unknown-ca": secure,
        }
        users = {name: {"token": TOKEN} for name in clusters}
        users.update({"no-credentials": {}, "wrong-credentials": {"token": "wrong"}})
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.context,
            "clusters": [{"name": name, "cluster": cluster} for name, cluster in clusters.items()],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in clusters],
            "users": [{"name": name, "user": user} for name, user in users.items()],
        }
        # kubectl reads YAML, which includes JSON
        self.kubeconfig.write_text(json.dumps(config, indent=1))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # connections may wait while the machine is busy: the default, 5, is too few
    request_queue_size = 128

    def __init__(self, kube: Kube, tls: ssl.SSLContext | None = None) -> None:
        self.kube = kube
        self.tls = tls
        super().__init__(("127.0.0.1", 0), _Request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: a client may exit during a request."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Failure(Exception):
    """An answer other than 200: a Status object, as the real server's apimachinery/pkg/api/errors makes it."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = {**internal_error(""), "message": message, "reason": reason, "details": details, "code": code}


class _InternalError(_Failure):
    def __init__(self, message: str) -> None:
        super().__init__(500, "InternalError", "")
        self.status = internal_error(message)


class _Request(BaseHTTPRequestHandler):
    server: _Server
    # seconds for TLS and for receiving a request; an exec has no timeout
    timeout = 60

    def setup(self) -> None:
        if self.server.tls is not None:
            # in the connection's own thread, so that a client that never answers delays no others
            self.request.settimeout(self.timeout)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.server.tls is not None:
            # close this one: the server closes only the original socket, which TLS has replaced
            self.request.close()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        try:
            if self.server.tls is not None and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise _Failure(401, "Unauthorized", "Unauthorized")
            if url.path in DISCOVERY:
                self._answer(200, DISCOVERY[url.path])
            elif match := NAMESPACE_PATH.fullmatch(url.path):
                # kubectl requests it after the error that the pod does not exist
                self._answer(200, self._namespace(match["namespace"]))
            elif match := PODS_PATH.fullmatch(url.path):
                self._pods(match["namespace"], parse_qs(url.query))
            elif match := POD_PATH.fullmatch(url.path):
                namespace, name = match["namespace"], match["name"]
                pod = self._pod(namespace, name, "create" if match["exec"] else "get")
                if match["exec"]:
                    self._exec(namespace, name, pod, parse_qs(url.query, keep_blank_values=True))
                    return
                if self.command == "DELETE":
                    self.server.kube.remove(name, namespace)
                self._answer(200, _document(namespace, name, pod))
            else:
                raise _Failure(404, "NotFound", "the server could not find the requested resource")
        except _Failure as failure:
            self._answer(failure.code, failure.status)

    # kubectl falls back to POST, for SPDY, if WebSocket was refused for any reason, and shows this second answer
    do_POST = do_DELETE = do_GET

    def _namespace(self, name: str) -> dict[str, Any]:
        if name not in {"default", *(namespace for namespace, _ in self.server.kube.pods)}:
            raise _Failure(404, "NotFound", f'namespaces "{name}" not found', name=name, kind="namespaces")
        return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}

    def _pods(self, namespace: str, query: Mapping[str, list[str]]) -> None:
        """Create a pod for ``kubectl run``, or list pods."""
        pods = self.server.kube.pods
        if self.command == "POST":
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = document["metadata"]["name"]
            pods[namespace, name] = _pod_of(document["spec"], self.server.kube.images)
            self._answer(201, _document(namespace, name, pods[namespace, name]))
            return
        if "sendInitialEvents" in query:
            # kubectl then repeats the request without it
            raise _Failure(
                422, "Invalid", "sendInitialEvents is forbidden unless the WatchList feature gate is enabled"
            )
        if "labelSelector" in query:
            _matches(query["labelSelector"][0], {})  # refuse an invalid one, even without any pod
            chosen = [
                _document(namespace, name, pod)
                for (place, name), pod in pods.items()
                if place == namespace and _matches(query["labelSelector"][0], pod.labels)
            ]
            self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": chosen})
            return
        name = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
        items = [_document(namespace, name, pods[namespace, name])] if (namespace, name) in pods else []
        self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})

    def _pod(self, namespace: str, name: str, verb: str) -> Pod:
        pod = self.server.kube.pods.get((namespace, name))
        if pod is None:
            raise _Failure(404, "NotFound", f'pods "{name}" not found', name=name, kind="pods")
        if pod.forbidden == verb:
            resource = "pods/exec" if verb == "create" else "pods"
            message = (
                f'pods "{name}" is forbidden: User "tests" cannot {verb} resource "{resource}"'
                f' in API group "" in the namespace "{namespace}"'
            )
            raise _Failure(403, "Forbidden", message, name=name, kind="pods")
        return pod

    def _exec(self, namespace: str, name: str, pod: Pod, query: Mapping[str, list[str]]) -> None:
        container = query.get("container", list(pod.containers))[0]
        if container not in pod.containers:
            raise _Failure(400, "BadRequest", f"container {container} is not valid for pod {name}")
        if pod.phase == "Pending":
            raise _Failure(400, "BadRequest", f"pod {name} does not have a host assigned")
        prefix = pod.containers[container]
        problem = f'container not found ("{container}")' if prefix is None else pod.upgrade_failure
        if problem or prefix is None:
            raise _InternalError(f"unable to upgrade connection: {problem}")
        if self.headers.get("Upgrade") != "websocket":
            raise _Failure(400, "BadRequest", "Upgrade request required")
        self.connection.settimeout(None)
        channels = Channels(self)
        self.close_connection = True
        if not channels.open:
            return
        if pod.runtime_failure:
            channels.send(STATUS, json.dumps(runtime_failure(pod.runtime_failure)).encode())
            channels.close()
            return
        time.sleep(pod.start_delay)
        command = Command([*prefix, *query["command"]], "stdin" in query, channels)
        self.server.kube.commands[command] = (namespace, name)
        try:
            command.serve()
        finally:
            del self.server.kube.commands[command]

    def _answer(self, code: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _pod_of(spec: Mapping[str, Any], images: Mapping[str, Sequence[str]]) -> Pod:
    """Return the state of a pod.

    This cluster runs nothing: ``true`` has succeeded, ``false`` has crashed, and any other command is running.
    """
    (container,) = spec["containers"]
    name, command = container["name"], [*container.get("command", []), *container.get("args", [])]
    if "nodeSelector" in spec:
        return Pod({name: None}, phase="Pending")
    if command == ["true"]:
        return Pod({name: None}, phase="Succeeded")
    if command == ["false"]:
        return Pod({name: None})
    if container["image"] not in images:
        raise _Failure(400, "BadRequest", f"no such image: {container['image']}")
    return Pod({name: images[container["image"]]})


def _document(namespace: str, name: str, pod: Pod) -> dict[str, Any]:
    ready = pod.phase == "Running" and None not in pod.containers.values()
    state = {"running": {}} if ready else {"waiting": {"reason": "CrashLoopBackOff"}}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": pod.uid,
            "labels": dict(pod.labels),
            **({"ownerReferences": [{"kind": pod.owner, "controller": True}]} if pod.owner else {}),
            **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if pod.terminating else {}),
        },
        "spec": {"containers": [{"name": container} for container in pod.containers]},
        "status": {
            "phase": pod.phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": container, "state": state} for container in pod.containers],
        },
    }


def _matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Return True if labels satisfy ``a=b``, ``a!=b`` and ``a``, separated by commas, as kubectl normalises them."""
    for part in selector.split(","):
        found = re.fullmatch(r"([\w./-]+)(!=|==?|)([\w.-]*)", part)
        if not found:
            raise _Failure(400, "BadRequest", f"unable to parse requirement: found '{part}', expected: identifier")
        label, operator, value = found.groups()
        has = labels.get(label) == value if operator else label in labels
        if has == (operator == "!="):
            return False
    return True


class _AnyImage(dict[str, Sequence[str]]):
    def __contains__(self, image: object) -> bool:
        return True

    def __missing__(self, image: str) -> Sequence[str]:
        return sys.argv[2:]


if __name__ == "__main__":
    with Kube() as kube:
        kube.images = _AnyImage()
        shutil.copyfile(kube.kubeconfig, sys.argv[1])
        print("ready", flush=True)
        sys.stdin.read()
