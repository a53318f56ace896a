"""A Kubernetes API server of the tests' own: as much of one as ``kubectl exec`` asks for.

It answers over plain HTTP on a loopback port, with the words of the real one. A container of a pod is whatever runs a
command: ``docker exec -i NAME``, say, or nothing at all for this machine itself.

Exec: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.32/#create-connect-get-exec-pod-v1-core, and for
the channels k8s.io/apimachinery/pkg/util/remotecommand. kubectl older than 1.30 speaks SPDY, which is not here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

SUBPROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
#: the first byte of a message; in v5, CLOSE followed by a channel is the end of that channel
STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255

DISCOVERY: dict[str, dict[str, Any]] = {
    # kubectl leaves this one alone, but the wrapper that comes with Google's SDK chooses among its kubectls by it
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
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]},
            {"name": "pods/exec", "namespaced": True, "kind": "PodExecOptions", "verbs": ["create", "get"]},
        ],
    },
}

NAMESPACE_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)")
POD_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods/(?P<name>[^/]+)(?P<exec>/exec)?")

#: What the clients of engines write for failures that are not the command's. The kubelet hears of those from its runtime,
#: and never mixes them with output; docker has them on stdout, podman on stderr.
RUNTIME_FAILURE = re.compile(
    rb"OCI runtime exec failed: |Error response from daemon: "
    rb"|Error: (?:No such container|no container with name|can only create exec sessions|runc: |crun: )"
)


class Pod(NamedTuple):
    #: by name: what to put before a command to run it there, or None while it isn't running
    containers: Mapping[str, Sequence[str] | None]
    #: the verb that the user lacks: "get" for the pod itself, "create" for exec
    forbidden: str | None


class Kube:
    """The server for the length of a ``with`` block.

    ``kubectl`` and ``oc`` work as plain commands wherever ``environment`` is set. Beside the context of the server, which
    is the current one, there is one named ``unreachable``, where nobody listens.
    """

    executable = "kubectl"
    context = "remoto-tests"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="remoto-kube-"))
        self.pods: dict[tuple[str, str], Pod] = {}
        self.kubeconfig = self.folder / "kubeconfig"
        #: a folder for PATH, with kubectl under OpenShift's name for it
        self.bin = self.folder / "bin"
        self.environment = {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.folder / "cache")}
        self.environment["PATH"] = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        self._server: _Server | None = None

    def add(
        self,
        name: str,
        containers: Mapping[str, Sequence[str] | None],
        namespace: str = "default",
        forbidden: str | None = None,
    ) -> None:
        """Make a pod; see :class:`Pod`."""
        self.pods[namespace, name] = Pod(containers, forbidden)

    def __enter__(self) -> Kube:
        kubectl = shutil.which(self.executable)
        if kubectl is None:
            raise FileNotFoundError(self.executable)
        self.bin.mkdir()
        (self.bin / "oc").symlink_to(kubectl)
        self._server = _Server(self.pods)
        self._write_kubeconfig(self._server.server_port)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        for process in self._server.processes:
            process.kill()
        shutil.rmtree(self.folder)

    def _write_kubeconfig(self, port: int) -> None:
        ports = {self.context: port, "unreachable": 1}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.context,
            "clusters": [
                {"name": name, "cluster": {"server": f"http://127.0.0.1:{port}"}} for name, port in ports.items()
            ],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "tests"}} for name in ports],
            "users": [{"name": "tests", "user": {}}],
        }
        # kubectl reads YAML, of which JSON is a part
        self.kubeconfig.write_text(json.dumps(config, indent=1))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pods: Mapping[tuple[str, str], Pod]) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.pods = pods
        self.processes: set[subprocess.Popen[bytes]] = set()


class _Failure(Exception):
    """An answer other than 200: a Status object, as the real server's apimachinery/pkg/api/errors makes it."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


def _internal_error(message: str) -> _Failure:
    return _Failure(500, "InternalError", f"Internal error occurred: {message}", causes=[{"message": message}])


class _Request(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        try:
            if url.path in DISCOVERY:
                self._answer(200, DISCOVERY[url.path])
            elif match := NAMESPACE_PATH.fullmatch(url.path):
                # kubectl asks for it where it has been told that there is no such pod
                self._answer(200, self._namespace(match["namespace"]))
            elif match := POD_PATH.fullmatch(url.path):
                pod = self._pod(match["namespace"], match["name"], "create" if match["exec"] else "get")
                if match["exec"]:
                    self._exec(match["name"], pod, parse_qs(url.query, keep_blank_values=True))
                else:
                    self._answer(200, self._document(match["namespace"], match["name"], pod))
            else:
                raise _Failure(404, "NotFound", "the server could not find the requested resource")
        except _Failure as failure:
            self._answer(failure.code, failure.status)

    # kubectl asks this way, for SPDY, when WebSocket was refused for whatever reason, and shows this second answer
    do_POST = do_GET

    def _namespace(self, name: str) -> dict[str, Any]:
        if name not in {"default", *(namespace for namespace, _ in self.server.pods)}:
            raise _Failure(404, "NotFound", f'namespaces "{name}" not found', name=name, kind="namespaces")
        return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}

    def _pod(self, namespace: str, name: str, verb: str) -> Pod:
        pod = self.server.pods.get((namespace, name))
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

    def _document(self, namespace: str, name: str, pod: Pod) -> dict[str, Any]:
        return {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [{"name": container} for container in pod.containers]},
            "status": {"phase": "Running"},
        }

    def _exec(self, name: str, pod: Pod, query: Mapping[str, list[str]]) -> None:
        container = query.get("container", list(pod.containers))[0]
        if container not in pod.containers:
            raise _Failure(400, "BadRequest", f"container {container} is not valid for pod {name}")
        prefix = pod.containers[container]
        if prefix is None:
            raise _internal_error(f'unable to upgrade connection: container not found ("{container}")')
        if self.headers.get("Upgrade") != "websocket":
            raise _Failure(400, "BadRequest", "Upgrade request required")
        channels = _Channels(self)
        self.close_connection = True
        if channels.open:
            _Command([*prefix, *query["command"]], "stdin" in query, channels, self.server.processes).serve()

    def _answer(self, code: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Channels:
    """The WebSocket of one exec; used by several threads. What can't be sent, since the client went away, is dropped."""

    def __init__(self, request: _Request) -> None:
        self._socket = request.connection
        self._lock = threading.Lock()
        self._protocol = ServerProtocol(subprotocols=SUBPROTOCOLS, max_size=None)
        lines = [request.requestline, *(f"{name}: {value}" for name, value in request.headers.items()), "", ""]
        self._protocol.receive_data("\r\n".join(lines).encode("latin-1"))
        (handshake,) = self._protocol.events_received()
        self._protocol.send_response(self._protocol.accept(handshake))
        self._flush()
        #: whether both sides agreed to talk
        self.open = self._protocol.handshake_exc is None

    def send(self, channel: int, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError, InvalidState):
            self._protocol.send_binary(bytes([channel]) + data)
            self._flush()

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError, InvalidState):
            self._protocol.send_close(1000)
            self._flush()

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """What the client sends, until one of the two sides has closed."""
        message = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self._protocol.receive_data(data)
                events = self._protocol.events_received()
                with contextlib.suppress(OSError):
                    self._flush()
            for frame in events:
                assert isinstance(frame, Frame)
                if frame.opcode is Opcode.CLOSE:
                    return
                if frame.opcode in (Opcode.BINARY, Opcode.CONT):
                    message += frame.data
                    if frame.fin:
                        yield message[0], message[1:]
                        message = b""

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)


class _Command:
    """One exec: a process here, whose streams are the channels."""

    def __init__(
        self, command: Sequence[str], with_stdin: bool, channels: _Channels, processes: set[subprocess.Popen[bytes]]
    ) -> None:
        self._channels = channels
        self._processes = processes
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        processes.add(self._process)

    def serve(self) -> None:
        # as with the real one, the client's departure is the end of its input and nothing more
        threading.Thread(target=self._feed, daemon=True).start()
        said = {
            channel: threading.Thread(target=self._carry, args=(channel, stream), daemon=True)
            for channel, stream in ((STDOUT, self._process.stdout), (STDERR, self._process.stderr))
        }
        self._runtime_failure: bytes = b""
        for thread in said.values():
            thread.start()
        for thread in said.values():
            thread.join()
        status = self._process.wait()
        self._processes.discard(self._process)
        self._channels.send(STATUS, json.dumps(self._status(status)).encode())
        self._channels.close()

    def _carry(self, channel: int, stream: IO[bytes]) -> None:
        with stream:
            while data := os.read(stream.fileno(), 65536):
                if RUNTIME_FAILURE.match(data):
                    self._runtime_failure = data
                else:
                    self._channels.send(channel, data)

    def _feed(self) -> None:
        stdin = self._process.stdin
        for channel, data in self._channels.messages():
            if stdin is None:
                continue
            try:
                if channel == STDIN:
                    stdin.write(data)
                    stdin.flush()
                elif channel == CLOSE and data == bytes([STDIN]):
                    stdin.close()
            except (OSError, ValueError):
                continue  # the command does not read; the rest of the messages still has to be
        if stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                stdin.close()

    def _status(self, status: int) -> dict[str, Any]:
        document: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if self._runtime_failure:
            message = self._runtime_failure.decode(errors="replace").strip()
            document.update(_internal_error(f"error executing command in container: {message}").status)
        elif status:
            code = status if status > 0 else 128 - status
            cause = {"reason": "ExitCode", "message": str(code)}
            message = f"command terminated with non-zero exit code: exit status {code}"
            document.update(status="Failure", reason="NonZeroExitCode", message=message, details={"causes": [cause]})
        return document
