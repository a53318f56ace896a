"""Persistent connections to containers: sessions open, fall back, are lost, and end. The contract tests run over it."""

import logging
import os
import signal
import threading
import traceback

import execnet
import pytest

from remoto import connection, file_sync
from remoto.backends.docker import DockerConnection
from remoto.exc import ConnectionLost, ContainerError
from remoto.process import check, run
from tests.integration.leftovers import children, descriptors, wait_until
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


def test_log_is_the_same_as_without_a_session(container, caplog):
    logs = []
    for persistent in (False, True):
        caplog.clear()
        with docker_connection(container, persistent=persistent) as conn:
            run(conn, ["sh", "-c", "echo one; echo two >&2; exit 3"], stop_on_nonzero=False)
            run(conn, "echo three")
            check(conn, ["id", "-un"], stdin="x", cwd="/tmp", extend_env={"A": "b"})
        logs.append([(record.levelname, record.getMessage()) for record in caplog.records])
    # two lines written to two streams at the same time may arrive in any order
    lines = [("DEBUG", "one"), ("WARNING", "two")]
    first, second = ([line for line in log if line not in lines] for log in logs)
    assert first == second and all(line in log for line in lines for log in logs)


def test_gateway_of_the_connection_stays_on_the_host_of_the_engine(conn, container):
    check(conn, ["true"])
    name = conn.execute("import socket; channel.send(socket.gethostname())").receive()
    assert name == os.uname().nodename and check(conn, ["hostname"]).stdout == [container]


def test_user_and_variables_apply_in_a_session(container):
    keywords = {"persistent": "require", "user": "nobody", "env": {"A": "b c"}}
    with docker_connection(container, **keywords) as conn:
        assert check(conn, 'id -un; echo "$A"').stdout == ["nobody", "b c"]


def test_container_without_python_falls_back_to_the_client(docker_shell, caplog):
    caplog.set_level(logging.DEBUG)
    with docker_connection(docker_shell, persistent=True) as conn:
        assert check(conn, ["echo", "a"]).stdout == check(conn, ["echo", "a"]).stdout == ["a"]
        file_sync.put(conn, b"x", "/tmp/x")
    reasons = [
        record for record in caplog.records if "no python3, python or python2.7 was found" in record.getMessage()
    ]
    assert [record.levelname for record in reasons if "each command calls docker" in record.getMessage()] == ["DEBUG"]


def test_require_raises_an_error_for_a_container_without_python(docker_shell):
    lengths = []
    with docker_connection(docker_shell, persistent="require") as conn:
        for _ in range(3):
            with pytest.raises(ContainerError, match="no python3, python or python2.7 was found") as raised:
                check(conn, ["true"])
            assert raised.value.kind == "interpreter" and "persistent=True instead" in str(raised.value)
            lengths.append(len(traceback.extract_tb(raised.tb)))
    assert lengths[1] == lengths[2]


@pytest.mark.parametrize("persistent", [True, "require"])
def test_missing_container_raises_the_same_error_as_without_a_session(docker, persistent):
    with docker_connection("no-such-container", persistent=persistent) as conn:
        with pytest.raises(ContainerError, match="no such container") as raised:
            check(conn, ["true"])
        assert raised.value.kind == "container"


def test_connect_timeout_limits_the_opening_of_a_session(docker_python, tmp_path):
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\nexec sleep 60\n")
    client.chmod(0o755)
    # enough to start the Python on this machine under load: the limit is its, too
    keywords = {"persistent": "require", "executable": str(client), "connect_timeout": 5}
    with docker_connection(docker_python, **keywords) as conn:
        with pytest.raises(ContainerError, match="no answer within 5 seconds") as raised:
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
        assert children() - before
    wait_until(lambda: children() <= before)
    wait_until(lambda: "python" not in docker.client("top", container))
    with pytest.raises(ConnectionLost, match="the connection is closed"):
        check(conn, ["true"])


def test_engine_behind_ssh_serves_sessions(docker, docker_python, sshd, tmp_path):
    client = tmp_path / "docker"
    client.write_text(f'#!/bin/sh\nDOCKER_HOST={docker.environment["DOCKER_HOST"]} exec docker "$@"\n')
    client.chmod(0o755)
    with docker_connection(docker_python, hostname="node1", persistent="require", executable=str(client)) as conn:
        assert python_of(conn) == python_of(conn)


@pytest.mark.parametrize("persistent", ["yes", 2, None, ""])
def test_other_values_of_persistent_are_refused(persistent):
    with pytest.raises(ValueError, match="persistent: expected True, False or 'require'"):
        docker_connection("web", persistent=persistent, eager=False)


@pytest.fixture
def client(tmp_path):
    """Return a function that writes a client: a line for /bin/sh, whose arguments are the command in the container."""

    def write(line):
        path = tmp_path / "client"
        path.write_text(f"#!/bin/sh\nshift 3\n{line}\n")
        path.chmod(0o755)
        return str(path)

    return write


def test_old_python_serves_where_the_installed_execnet_starts_it(pythons, client, tmp_path, caplog):
    if (2, 7) not in pythons:
        pytest.skip("no Python 2.7 on this machine")
    caplog.set_level(logging.DEBUG)
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "python").symlink_to(pythons[2, 7])
    executable = client(f'PATH={directory} exec "$@"')
    served = execnet.__version__.startswith("1.")
    with docker_connection("old", persistent=True, executable=executable) as conn:
        for _ in range(2):
            assert check(conn, ["echo", "a"], extend_env={"PATH": "/bin"}).stdout == ["a"]
    reasons = [record.getMessage() for record in caplog.records if "each command calls" in record.getMessage()]
    assert len(reasons) == (0 if served else 1) and all("Python 2.7" in reason for reason in reasons)


def test_client_that_is_not_installed_is_named(tmp_path):
    executable = str(tmp_path / "no-such-client")
    with docker_connection("web", persistent="require", executable=executable) as conn:
        with pytest.raises(ContainerError, match="no-such-client") as raised:
            check(conn, ["true"])
        assert raised.value.kind == "client" and "Install" in str(raised.value)


def test_lost_sessions_leave_nothing(client):
    with docker_connection("here", persistent="require", executable=client('exec "$@"')) as conn:
        first = python_of(conn)
        before = descriptors(), len(children()), threading.active_count()
        for _ in range(3):
            with pytest.raises(ConnectionLost):
                check(conn, ["sh", "-c", "kill -9 $PPID; sleep 60"])
            assert python_of(conn) != first
        wait_until(lambda: (descriptors(), len(children()), threading.active_count()) <= before)


def test_session_stays_usable_after_ctrl_c(client):
    with docker_connection("here", persistent="require", executable=client('exec "$@"')) as conn:
        first = python_of(conn)
        with pytest.raises(KeyboardInterrupt):
            run(conn, "echo ready; exec sleep 300", kill_on_timeout=True, on_stdout=interrupt)
        assert python_of(conn) == first


def interrupt(line):
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_during_the_opening_leaves_nothing(client, tmp_path):
    started = tmp_path / "started"
    executable = client(f"touch {started}; exec sleep 300")
    with docker_connection("here", persistent="require", executable=executable) as conn:
        conn.connect()
        before = children()

        def interrupt_opening():
            wait_until(started.exists)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt_opening)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            check(conn, ["true"])
        thread.join(50)
        wait_until(lambda: children() <= before)


def test_exit_during_the_opening_ends_the_calls_of_all_threads(client, tmp_path):
    started = tmp_path / "started"
    executable = client(f"touch {started}; exec sleep 300")
    before, errors = children(), []
    conn = docker_connection("here", persistent="require", executable=executable)

    def work():
        with pytest.raises(ConnectionLost, match="the connection is closed") as raised:
            check(conn, ["true"])
        errors.append(raised.value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(started.exists)
    conn.exit()
    for thread in threads:
        thread.join(50)
    assert len(errors) == 4
    wait_until(lambda: children() <= before)


def test_child_of_fork_leaves_the_session_to_its_parent(client):
    with docker_connection("here", persistent="require", executable=client('exec "$@"')) as conn:
        first = python_of(conn)
        child = os.fork()
        if not child:
            status = 1
            try:
                check(conn, ["true"])
            except ConnectionLost:
                conn.exit()
                status = 7
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert python_of(conn) == first


@pytest.mark.parametrize("name", ["kubernetes", "openshift"])
def test_pods_have_sessions_by_each_client(kube, kube_cluster, kube_python, name):
    with connection.get(name)(kube_python, persistent="require", **kube_cluster.keywords) as conn:
        assert python_of(conn) == python_of(conn)
        assert conn.cmd(["true"])[0] == {"kubernetes": "kubectl", "openshift": "oc"}[name]


def inspected(container, logger):
    """Return the answers that a program such as ceph-medic gets from a daemon's container, by its own calls."""
    conn = connection.get("docker")("localhost", container_name=container, logger=logger, threads=1)
    conn.remote_import_system = "json"
    try:
        remote = conn.import_module(functions)
        missing = check(conn, ["no-such-ceph", "--version"], stop_on_error=False, timeout=60)
        return [
            check(conn, ["python3", "--version"]),
            check(conn, ["ls", "-l", "/no such directory"]),
            check(conn, ["cat", "/etc/passwd"], timeout=60),
            missing[:2] if isinstance(missing, tuple) else missing,
            # two commands, since lines of stdout and of stderr are logged as they arrive, in any order
            run(conn, ["echo", "out"]),
            run(conn, ["sh", "-c", "echo err >&2; exit 2"], stop_on_nonzero=False),
            [remote.describe([1, (2, "a b")]), remote.echo("a", key=["b"])],
        ]
    finally:
        conn.exit()


def test_old_program_reports_the_same_when_its_class_is_patched(docker_python, monkeypatch, caplog):
    logger = logging.getLogger("remoto-test")
    caplog.set_level(logging.DEBUG, logger="remoto-test")
    report = inspected(docker_python, logger)
    log = [(record.levelname, record.getMessage()) for record in caplog.records]
    caplog.clear()
    init = DockerConnection.__init__
    monkeypatch.setattr(
        DockerConnection, "__init__", lambda self, *args, **kw: init(self, *args, persistent="require", **kw)
    )
    assert inspected(docker_python, logger) == report
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == log
