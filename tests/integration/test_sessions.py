"""Persistent connections to containers: sessions open, fall back, are lost, and end. The contract tests run over it."""

import logging
import os
import subprocess
import threading

import pytest

from remoto import connection, file_sync
from remoto.exc import ConnectionLost, ContainerError
from remoto.process import check, run
from tests.integration.leftovers import children, wait_until
from tests.integration.shipped import functions

PYTHONS = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'python.*import sys;exec' || true"


def docker_connection(name, **keywords):
    return connection.get("docker")(container_name=name, **keywords)


@pytest.fixture
def container(docker):
    """A container with a Python, for one test."""
    name = docker.run("python")
    yield name
    docker.remove(name)


@pytest.fixture
def conn(container):
    with docker_connection(container, persistent="require") as conn:
        yield conn


def python_of(conn):
    """The process id, in the container, of the session's Python."""
    return int(check(conn, ["sh", "-c", "echo $PPID"]).stdout[0])


def test_commands_functions_and_files_share_one_python(conn, docker, container, tmp_path):
    pid = python_of(conn)
    conn.remote_import_system = "legacy"
    assert conn.import_module(functions).pid() == pid == python_of(conn)
    file_sync.put(conn, b"hello", "/tmp/there")
    file_sync.get(conn, "/tmp/there", tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == b"hello"
    assert docker.client("exec", container, "sh", "-c", PYTHONS).strip() in ("1", "2")


def test_nothing_is_started_in_the_container_before_the_first_use(conn, docker, container):
    assert docker.client("top", container).count("python") == 0


def test_the_log_is_that_of_a_connection_without_a_session(container, caplog):
    logs = []
    for persistent in (False, True):
        caplog.clear()
        with docker_connection(container, persistent=persistent) as conn:
            run(conn, ["sh", "-c", "echo one; echo two >&2; exit 3"], stop_on_nonzero=False)
            run(conn, "echo three")
            check(conn, ["id", "-un"], stdin="x", cwd="/tmp", extend_env={"A": "b"})
        logs.append([(record.levelname, record.getMessage()) for record in caplog.records])
    assert logs[0] == logs[1]


def test_the_connection_s_own_gateway_stays_on_the_engine_s_machine(conn, container):
    check(conn, ["true"])
    name = conn.execute("import socket; channel.send(socket.gethostname())").receive()
    assert name == os.uname().nodename and check(conn, ["hostname"]).stdout == [container]


def test_a_user_and_variables_apply(container):
    keywords = {"persistent": "require", "user": "nobody", "env": {"A": "b c"}}
    with docker_connection(container, **keywords) as conn:
        assert check(conn, 'id -un; echo "$A"').stdout == ["nobody", "b c"]


def test_a_container_without_python_is_served_by_the_client(docker_shell, caplog):
    caplog.set_level(logging.DEBUG)
    with docker_connection(docker_shell, persistent=True) as conn:
        assert check(conn, ["echo", "a"]).stdout == check(conn, ["echo", "a"]).stdout == ["a"]
        file_sync.put(conn, b"x", "/tmp/x")
    reasons = [
        record for record in caplog.records if "no python3, python or python2.7 was found" in record.getMessage()
    ]
    assert [record.levelname for record in reasons if "each command calls docker" in record.getMessage()] == ["DEBUG"]


def test_require_makes_a_container_without_python_an_error(docker_shell):
    with docker_connection(docker_shell, persistent="require") as conn:
        for _ in range(2):
            with pytest.raises(ContainerError, match="no python3, python or python2.7 was found") as raised:
                check(conn, ["true"])
            assert raised.value.kind == "interpreter"


@pytest.mark.parametrize("persistent", [True, "require"])
def test_a_missing_container_is_the_same_error_as_without_a_session(docker, persistent):
    with docker_connection("no-such-container", persistent=persistent) as conn:
        with pytest.raises(ContainerError, match="there is no such container") as raised:
            check(conn, ["true"])
        assert raised.value.kind == "container"


def test_a_session_whose_python_is_killed_is_lost_and_opened_again_once(conn):
    first = python_of(conn)
    with pytest.raises(ConnectionLost):
        run(conn, ["sh", "-c", "kill -9 $PPID; sleep 60"])
    second = python_of(conn)
    assert second != first
    assert python_of(conn) == second


@pytest.mark.parametrize("action", ["restart", "stop", "kill", "rm --force"])
def test_a_container_that_ends_in_the_middle_of_a_command_is_a_lost_connection(conn, docker, container, action):
    ready = threading.Event()

    def end(line):
        ready.set()
        subprocess.run(["docker", *action.split(), container], check=True, capture_output=True, timeout=60)

    with pytest.raises(ConnectionLost) as raised:
        check(conn, "echo ready; sleep 300", on_stdout=end, timeout=120)
    assert ready.is_set() and container in str(raised.value)
    if action == "restart":
        assert check(conn, ["echo", "again"]).stdout == ["again"]
    else:
        with pytest.raises(ContainerError):
            check(conn, ["true"])


def test_a_container_that_is_removed_in_the_middle_of_a_call_is_a_lost_connection(conn, docker, container):
    conn.remote_import_system = "legacy"
    numbers = conn.import_module(functions).numbers(10**9)
    assert next(numbers) == 0
    subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True, timeout=60)
    with pytest.raises(ConnectionLost):
        for _ in numbers:
            pass


def test_a_container_that_is_removed_in_the_middle_of_a_put_is_a_lost_connection(conn, docker, container):
    check(conn, ["true"])

    def end(sent, total):
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, timeout=60)

    with pytest.raises(ConnectionLost):
        file_sync.put(conn, os.urandom(1024) * 200_000, "/tmp/large", progress=end)


def test_a_timeout_applies_while_the_container_is_paused(conn, docker, container):
    check(conn, ["true"])
    docker.client("pause", container)
    try:
        assert check(conn, ["true"], timeout=0.5).timed_out
        assert run(conn, ["true"], timeout=0.5) == -1
    finally:
        docker.client("unpause", container)
    assert check(conn, ["echo", "a"], timeout=30).stdout == ["a"]


def test_connect_timeout_limits_the_opening_of_a_session(docker_python, tmp_path):
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\nexec sleep 60\n")
    client.chmod(0o755)
    keywords = {"persistent": "require", "executable": str(client), "connect_timeout": 0.5}
    with docker_connection(docker_python, **keywords) as conn:
        with pytest.raises(ContainerError, match="no answer within 0.5 seconds") as raised:
            check(conn, ["true"])
        assert raised.value.kind == "timeout"


def test_kill_on_timeout_ends_the_command_inside(conn, docker, container):
    assert check(conn, "sleep 4321 & sleep 4321", timeout=1, kill_on_timeout=True).timed_out
    wait_until(lambda: "sleep 4321" not in docker.client("top", container))


def test_threads_share_one_session(conn):
    found = []
    threads = [threading.Thread(target=lambda: found.append(python_of(conn))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8 and len(set(found)) == 1


def test_exit_ends_the_session_and_leaves_nothing(docker, container):
    before = children()
    with docker_connection(container, persistent="require") as conn:
        check(conn, ["true"])
        assert children() > before
    wait_until(lambda: children() <= before)
    wait_until(lambda: "python" not in docker.client("top", container))
    with pytest.raises(ConnectionLost, match="the connection is closed"):
        check(conn, ["true"])


def test_an_engine_behind_ssh_serves_sessions(docker, docker_python, sshd, tmp_path):
    client = tmp_path / "docker"
    client.write_text(f'#!/bin/sh\nDOCKER_HOST={docker.environment["DOCKER_HOST"]} exec docker "$@"\n')
    client.chmod(0o755)
    with docker_connection(docker_python, hostname="node1", persistent="require", executable=str(client)) as conn:
        assert python_of(conn) == python_of(conn)


@pytest.mark.parametrize("persistent", ["yes", 2, None, ""])
def test_another_value_is_refused(persistent):
    with pytest.raises(ValueError, match="persistent: expected True, False or 'require'"):
        docker_connection("web", persistent=persistent, eager=False)
