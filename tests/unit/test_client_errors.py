"""Recognise the stderr of docker, podman, kubectl and oc. tests/integration/test_containers.py has the real ones."""

import pytest

from remoto.backends.docker import DockerConnection
from remoto.backends.kubernetes import KubernetesConnection
from remoto.backends.openshift import OpenshiftConnection
from remoto.backends.podman import PodmanConnection

ID = "0123456789abcdef"
#: a failure of the container runtime, as kubectl shows it over WebSocket
KUBELET = (
    "Internal error occurred: Internal error occurred: error executing command in container: failed to exec in "
    "container: "
)
#: of docker and podman
OF_ENGINES = [
    ("container", "Error response from daemon: No such container: x"),
    ("container", 'Error: no container with name or ID "x" found: no such container'),
    ("stopped", "Error response from daemon: container 0123 is not running"),
    ("stopped", "Error response from daemon: Container 0123 is restarting, wait until the container is running"),
    ("stopped", "Error response from daemon: Container 0123 is paused, unpause the container before exec"),
    ("stopped", "Error: can only create exec sessions on running containers: container state improper"),
    ("user", "unable to find user nobody-there: no matching entries in passwd file"),
    ("permission", "permission denied while trying to connect to the Docker daemon socket at unix:///x.sock: ..."),
    ("unreachable", "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?"),
    ("unreachable", "failed to connect to the docker API at unix:///x.sock: no such file or directory"),
    (
        "unreachable",
        "Cannot connect to Podman.\nError: unable to connect to Podman socket: no such file or directory",
    ),
    ("client", "unable to resolve docker endpoint: open /home/me/.docker/ca.pem: no such file or directory"),
]
#: of kubectl and oc
OF_CLUSTERS = [
    ("container", 'Error from server (NotFound): pods "x" not found'),
    ("container", 'Error from server (NotFound): namespaces "x" not found'),
    ("container", "Error from server (BadRequest): container third is not valid for pod two"),
    ("stopped", "error: cannot exec into a container in a completed pod; current phase is Succeeded"),
    ("stopped", 'error: Internal error occurred: unable to upgrade connection: container not found ("main")'),
    ("stopped", "Error from server (BadRequest): pod web-0 does not have a host assigned"),
    ("stopped", f"error: {KUBELET}failed to load task: no running task found: task {ID} not found: not found"),
    ("stopped", f'error: {KUBELET}failed to create exec "{ID}": task {ID} not found: not found'),
    (
        "stopped",
        f'error: {KUBELET}failed to start exec "{ID}": OCI runtime exec failed: exec failed: unable to start '
        "container process: error executing setns process: namespace path: lstat /proc/4711/ns/ipc: "
        "no such file or directory",
    ),
    (
        "stopped",
        f'error: {KUBELET}failed to start exec "{ID}": OCI runtime exec failed: exec failed: cannot exec in a '
        "stopped container: unknown",
    ),
    (
        "stopped",
        f'error: {KUBELET}failed to start exec "{ID}": OCI runtime exec failed: exec failed: cannot exec in a '
        "paused container (use --ignore-paused to override): unknown",
    ),
    ("permission", 'Error from server (Forbidden): pods "x" is forbidden: User "a" cannot create resource'),
    ("permission", "error: You must be logged in to the server (Unauthorized)"),
    (
        "permission",
        "error: You must be logged in to the server (the server has asked for the client to provide credentials)",
    ),
    ("permission", "Please enter Username: error: EOF"),
    (
        "permission",
        'error: unable to upgrade connection: pods "x" is forbidden: User "a" cannot create resource "pods/exec"',
    ),
    (
        "unreachable",
        "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?",
    ),
    ("unreachable", "Unable to connect to the server: dial tcp: lookup nope: no such host"),
    (
        "unreachable",
        "Error from server: error dialing backend: dial tcp 10.0.0.2:10250: connect: connection refused",
    ),
    (
        "unreachable",
        "Error from server: error dialing backend: tls: failed to verify certificate: x509: certificate signed by "
        "unknown authority",
    ),
    (
        "unreachable",
        "error: Internal error occurred: unable to upgrade connection: rpc error: code = Unavailable desc = "
        'connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: '
        'connect: connection refused"',
    ),
    (
        "unreachable",
        "error: error reading from error stream: next reader: websocket: close 1006 (abnormal closure): unexpected EOF",
    ),
    (
        "client",
        "Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown "
        "authority",
    ),
    ("client", 'error: context "x" does not exist'),
    ("client", "error: stat /no/such/file: no such file or directory"),
    ("client", "error: unable to read client-cert /x.crt for y due to open /x.crt: no such file or directory"),
]
#: of runc and crun, shown by all clients
OF_RUNTIMES = [
    ("shell", 'OCI runtime exec failed: exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown'),
    ("shell", "Error: crun: executable file `/bin/sh` not found in $PATH: No such file or directory"),
    ("interpreter", 'OCI runtime exec failed: exec: "python9": executable file not found in $PATH: unknown'),
    (
        "other",
        'OCI runtime exec failed: chdir to cwd ("/gone") set in config.json failed: no such file or directory',
    ),
    ("other", "something that nobody has seen yet: no such file or directory"),
]


@pytest.mark.parametrize("client", [DockerConnection, PodmanConnection])
@pytest.mark.parametrize(("kind", "words"), [*OF_ENGINES, *OF_RUNTIMES])
def test_stderr_of_an_engine_decides_the_kind(client, kind, words):
    assert client.diagnosed(words)[0] == kind


@pytest.mark.parametrize("client", [KubernetesConnection, OpenshiftConnection])
@pytest.mark.parametrize(("kind", "words"), [*OF_CLUSTERS, *OF_RUNTIMES])
def test_stderr_of_a_cluster_decides_the_kind(client, kind, words):
    assert client.diagnosed(words)[0] == kind
