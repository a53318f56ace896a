"""Tests for pods only: the calls of kubectl, and failures of kubectl and the API server before and during a command.

The tests of pod states and of a deleted pod use the cluster of the contract tests, which may be a real one.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from remoto import connection
from remoto.exc import ConnectError, ConnectionLost, ContainerError
from remoto.process import check, run
from tests.integration.leftovers import children, wait_until
from tests.integration.shipped import functions

LOGGER = logging.getLogger("remoto-test")
#: errors of containerd, with the text of the kubelet and the API server
ENDED = (
    "failed to load task: no running task found: task 0123 not found: not found",
    'failed to create exec "4567": task 0123 not found: not found',
    'failed to start exec "4567": OCI runtime exec failed: exec failed: unable to start container process: '
    "error executing "
    "setns process: namespace path: lstat /proc/4711/ns/ipc: no such file or directory: unknown",
)
PAUSED = 'failed to start exec "4567": OCI runtime exec failed: exec failed: cannot exec in a paused container: unknown'
NO_RUNTIME = (
    'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix '
    '/run/containerd/containerd.sock: connect: connection refused"'
)


def pod(name, **keywords):
    return connection.get("kubernetes")(name, logger=LOGGER, **keywords)


def failure(conn, **keywords):
    """Return the error of run and check, which must be the same."""
    errors = []
    for function in (run, check):
        with pytest.raises(ContainerError) as caught:
            function(conn, ["true"], **keywords)
        errors.append(caught.value)
    conn.exit()
    assert errors[0].kind == errors[1].kind
    return errors[0]


@pytest.fixture
def pods(kube, docker_shell):
    there = ["docker", "exec", "-i", docker_shell]
    kube.add("two", {"main": ["docker", "exec", "-i", "no-such-container"], "side": there})
    kube.add("waiting", {"main": None})
    kube.add("secret", {"main": there}, forbidden="create")
    kube.add("hidden", {"main": there}, forbidden="get")
    kube.add("elsewhere", {"main": there}, namespace="shop")
    kube.add("slow", {"main": there}, start_delay=0.25)
    return kube


@pytest.mark.parametrize("name", ["kubernetes", "openshift"])
def test_command_runs_in_a_pod(pods, name):
    backend = connection.get(name)
    with backend("elsewhere", namespace="shop", logger=LOGGER) as conn:
        assert check(conn, ["echo", "a b"]) == (["a b"], [], 0)
    with backend("two", container="side", kubeconfig=str(pods.kubeconfig), context=pods.context, logger=LOGGER) as conn:
        assert check(conn, ["sh", "-c", "echo a; echo b >&2; exit 9"]) == (["a"], ["b"], 9)


@pytest.mark.parametrize(
    ("keywords", "kind", "words"),
    [
        ({"pod_name": "no-such-pod"}, "container", 'pods "no-such-pod" not found'),
        ({"pod_name": "elsewhere"}, "container", 'pods "elsewhere" not found'),
        ({"pod_name": "two", "namespace": "shop"}, "container", 'pods "two" not found'),
        ({"pod_name": "two", "namespace": "nowhere"}, "container", 'namespaces "nowhere" not found'),
        ({"pod_name": "two", "container": "third"}, "container", "container third is not valid for pod two"),
        ({"pod_name": "waiting"}, "stopped", "container not found"),
        ({"pod_name": "secret"}, "permission", "is forbidden"),
        ({"pod_name": "hidden"}, "permission", "is forbidden"),
        ({"pod_name": "two", "context": "wrong-credentials"}, "permission", "You must be logged in to the server"),
        ({"pod_name": "two", "context": "unreachable"}, "unreachable", "refused"),
        ({"pod_name": "two", "context": "unknown-ca"}, "client", "certificate signed by unknown authority"),
        ({"pod_name": "two", "context": "no-such-context"}, "client", "no-such-context"),
        ({"pod_name": "two", "kubeconfig": "/no/such/file"}, "client", "/no/such/file"),
        ({"pod_name": "two", "executable": "no-such-kubectl"}, "client", "no-such-kubectl"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value.values()).replace("/", "_"),
)
def test_failure_of_a_pod_has_its_kind(pods, keywords, kind, words):
    name = keywords["pod_name"]
    error = failure(connection.get("kubernetes")(**keywords, logger=LOGGER))
    assert words.lower() in error.stderr.lower()
    assert error.kind == kind
    assert name in error.host and error.stderr.splitlines()[0] in str(error)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        *(({"runtime_failure": words}, "stopped") for words in (*ENDED, PAUSED)),
        ({"upgrade_failure": NO_RUNTIME}, "unreachable"),
    ],
    ids=["no-task", "no-task-at-exec", "no-namespace", "paused", "no-runtime"],
)
def test_failure_of_the_container_runtime_has_its_kind(kube, state, kind):
    kube.add("failing", {"main": []}, **state)
    error = failure(pod("failing"))
    assert error.kind == kind and "failing" in error.host
    assert next(iter(state.values())) in error.stderr


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("pending", "does not have a host assigned"),
        ("succeeded", "current phase is Succeeded"),
        ("crashing", "container not found"),
    ],
)
def test_pod_that_is_not_running_is_stopped(kube_cluster, state, words):
    name = getattr(kube_cluster, state)()
    error = failure(pod(name, **kube_cluster.keywords))
    assert error.kind == "stopped" and words in error.stderr and name in error.host


def test_missing_pod_of_a_cluster_is_reported(kube_cluster):
    error = failure(pod("remoto-tests-no-such-pod", **kube_cluster.keywords))
    assert error.kind == "container"


def test_pod_deleted_during_a_command_raises_connection_lost(kube_cluster, kube_shell):
    name = kube_cluster.run("shell")
    conn = pod(name, **kube_cluster.keywords)
    with pytest.raises(ConnectionLost) as caught:
        run(conn, "echo begun; exec sleep 300", on_stdout=lambda line: kube_cluster.delete(name))
    assert name in str(caught.value) and "sleep 300" in str(caught.value)
    conn.exit()


def test_command_may_start_after_the_answer_of_the_server(pods):
    """A real cluster answers 101 before it starts the command."""
    with pod("slow") as conn:
        assert check(conn, ["cat"], stdin="a\nb\n") == (["a", "b"], [], 0)
        assert check(conn, ["sh", "-c", "exit 9"]).returncode == 9
        assert run(conn, ["true"]) == 0
        with pytest.raises(RuntimeError):
            check(conn, ["no-such-program"])


# without credentials


def test_kubectl_without_credentials_reads_none_of_stdin(pods):
    """kubectl asks for a user name, and reads the answer from stdin."""
    begun = time.monotonic()
    error = failure(pod("slow", context="no-credentials"))
    assert error.kind == "permission" and "Please enter Username:" in error.stderr
    with pod("slow", context="no-credentials") as conn, pytest.raises(ContainerError) as caught:
        check(conn, ["cat"], stdin="root hunter2\n")
    # after an answer, it asks for the password as well
    assert caught.value.kind == "permission" and "Please enter Password:" not in caught.value.stderr
    # three commands; none may wait forever
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("system", ["json", "legacy"])
@pytest.mark.parametrize("python", [None, "python3"])
def test_functions_without_credentials_raise_a_permission_error(pods, system, python):
    with pod("slow", context="no-credentials") as conn:
        conn.remote_import_system = system
        with pytest.raises(ConnectError) as caught:
            conn.import_module(functions, python).same(1)
        assert caught.value.kind == "permission"


# a server that ends, or freezes


@contextlib.contextmanager
def server(directory, *prefix):
    """Return an API server in its own process, and a connection to its pod; ``prefix`` comes before each command."""
    kubeconfig = directory / "kubeconfig"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.kube", str(kubeconfig), *prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout.readline() == b"ready\n"
            environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
            command = ["kubectl", "run", "web", "--image=any", "--", "sleep", "7200"]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)
            with pod("web", kubeconfig=kubeconfig) as conn:
                yield process, conn
        finally:
            process.send_signal(signal.SIGCONT)
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.mark.parametrize("function", [run, check])
def test_api_server_that_dies_during_a_command_raises_connection_lost(kube, docker, tmp_path, function):
    container = docker.run("shell")
    with server(tmp_path, "docker", "exec", "-i", container) as (process, conn):
        with pytest.raises(ConnectionLost) as caught:
            function(conn, "echo begun; exec sleep 300", on_stdout=lambda line: process.kill())
        assert "web" in str(caught.value) and "sleep 300" in str(caught.value)
        assert "unexpected EOF" in caught.value.stderr
        # the next one has the reason
        assert failure(conn).kind == "unreachable"
    docker.remove(container)


def test_api_server_that_dies_before_a_command_is_reported(kube, tmp_path):
    begun = tmp_path / "begun"
    script = 'echo > "$0"; exec sleep 300'
    with server(tmp_path, "sh", "-c", script, str(begun)) as (process, conn):
        caught = []

        def work():
            try:
                check(conn, ["true"])
            except RuntimeError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        wait_until(begun.exists)
        process.kill()
        thread.join(50)
        assert not thread.is_alive()
        assert isinstance(caught[0], ContainerError) and caught[0].kind == "unreachable"


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("function", [run, check])
def test_timeout_applies_to_an_api_server_that_freezes_during_a_command(kube, docker, tmp_path, function, kill):
    container = docker.run("shell")
    before = children()
    frozen = threading.Event()
    # seconds; a busy machine may need more than the first timeout to start a command
    for timeout in (2, 20):
        with server(tmp_path, "docker", "exec", "-i", container) as (process, conn):

            def freeze(line, process=process):
                process.send_signal(signal.SIGSTOP)
                frozen.set()

            command = "echo begun; exec sleep 300"
            result = function(conn, command, on_stdout=freeze, timeout=timeout, kill_on_timeout=kill)
            assert (result if function is run else result.returncode) == -1
            begun = time.monotonic()
            conn.exit()
            assert time.monotonic() - begun < 10
        if frozen.is_set():
            break
    assert frozen.is_set()
    docker.remove(container)
    wait_until(lambda: children() <= before)


def test_timeout_applies_to_a_frozen_api_server(kube, tmp_path):
    with server(tmp_path) as (process, conn):
        process.send_signal(signal.SIGSTOP)
        assert check(conn, ["true"], timeout=1).returncode == -1
        assert run(conn, ["true"], timeout=1) == -1


@pytest.mark.timeout(300)
def test_tests_run_on_the_cluster_that_the_environment_names(kube, docker_shell, tmp_path):
    """They run in a separate test run, even after KUBECONFIG was replaced for the tests' own API server."""
    log = tmp_path / "log"
    with server(tmp_path, "sh", "-c", f'echo >> {log}; exec docker exec -i {docker_shell} "$@"', "sh"):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment["KUBECONFIG"] = str(tmp_path / "kubeconfig")
        environment.update(REMOTO_TEST_REQUIRE="kubectl", REMOTO_TEST_KUBE_CONTEXT=kube.context)
        chosen = "container_runtime or is_not_running or (kubernetes-shell and (each_argument or not_utf_8))"
        files = [__file__, str(Path(__file__).with_name("test_commands.py"))]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *files],
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    # of the contract tests: the states of pods run nothing
    assert log.exists()


def test_message_of_kubectl_about_the_chosen_container_is_not_in_stderr(pods, docker_shell, kube):
    kube.add("several", {"main": ["docker", "exec", "-i", docker_shell], "side": None})
    with pod("several") as conn:
        assert check(conn, ["echo", "x"]) == (["x"], [], 0)
