"""Tests for containers only: the calls of their clients, and the failures of clients and engines."""

import logging
import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import execnet
import pytest

from remoto import connection
from remoto.exc import CommandError, CommandTimeout, ConnectionLost, ContainerError, StartError
from remoto.process import check, run
from tests.integration.backends import BACKENDS
from tests.integration.leftovers import wait_until
from tests.integration.shipped import functions

LOGGER = logging.getLogger("remoto-test")


def unique_seconds():
    """Return a number of seconds that no other test sleeps."""
    return str(500_000 + int.from_bytes(os.urandom(2), "big"))


def failure(conn, command=("true",)):
    """Return the error of run and check, which must be the same."""
    errors = []
    for function in (run, check):
        with pytest.raises(ContainerError) as caught:
            function(conn, list(command))
        errors.append(caught.value)
    conn.exit()
    assert errors[0].kind == errors[1].kind
    assert all(isinstance(errors[0], base) for base in (StartError, RuntimeError, OSError))
    assert not isinstance(errors[0], execnet.HostNotFound)
    return errors[0]


@pytest.fixture(params=["docker", "podman"])
def engine(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def backend(engine):
    return connection.get(engine.executable)


@pytest.fixture
def container(request, engine):
    return request.getfixturevalue(f"{engine.executable}_python")


@pytest.fixture(params=["docker", "podman", "kubernetes"])
def connect_through(request, tmp_path):
    """Return a function that opens a connection through a script, in which ``{client}`` is the call of the client."""
    open_one = BACKENDS[request.param](request)
    client = {"kubernetes": "kubectl"}.get(request.param, request.param)
    opened = []

    def connect(script, **kw):
        path = tmp_path / client
        path.write_text("#!/bin/sh\n" + script.replace("{client}", f'{client} "$@"'))
        path.chmod(0o755)
        opened.append(open_one(executable=str(path), logger=LOGGER, **kw))
        return opened[-1]

    yield connect
    for conn in opened:
        conn.exit()


def processes(argv):
    """Return the ids of the processes with this command line, on this machine and in its containers."""
    listing = subprocess.run(["ps", "axo", "stat=,pid=,args="], capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=2) for line in listing.splitlines()]
    return [int(row[1]) for row in rows if row[2:] == [argv] and not row[0].startswith("Z")]


def shells(conn):
    """Return the number of remoto's shells in a container, without this command's own."""
    script = "for file in /proc/[0-9]*/cmdline; do tr '\\0\\n' '  ' < $file; echo; done"
    return sum("remoto started" in line for line in check(conn, ["sh", "-c", script]).stdout) - 1


# both streams of the client are delayed by two seconds
LATE = "{ { {client} 2>&1 >&3 3>&- | { sleep 2; cat >&2; } 3>&-; } 3>&1 | { sleep 2; cat; }; }"


def test_command_is_not_started_after_a_timeout_with_kill(connect_through):
    """The timeout expires while the report that the container's shell has started is in transit."""
    command = ["sleep", unique_seconds()]
    assert check(connect_through(LATE), command, timeout=1, kill_on_timeout=True).returncode == -1
    conn = connect_through("exec {client}")
    wait_until(lambda: not shells(conn))
    assert not processes(" ".join(command))


def test_command_is_started_after_a_timeout_without_kill(connect_through):
    conn = connect_through(LATE)
    number = unique_seconds()
    script = f"test $(cat) = in && exec sleep {number}"
    assert check(conn, ["sh", "-c", script], stdin="in", timeout=1).returncode == -1
    conn.exit()
    wait_until(lambda: processes(f"sleep {number}"))
    os.kill(*processes(f"sleep {number}"), signal.SIGKILL)


def test_incomplete_streams_raise_connection_lost(connect_through, tmp_path):
    conn = connect_through(f"{{client}} 2> {tmp_path}/stderr; head -n 2 {tmp_path}/stderr >&2; exit 0")
    with pytest.raises(ConnectionLost, match="first") as caught:
        check(conn, "echo first >&2; echo second >&2")
    assert "first" in caught.value.stderr and "second" not in caught.value.stderr


@pytest.fixture(params=["SIGTERM", "SIGKILL"])
def end_client(request, tmp_path):
    """A function that kills the client of the first command, which writes its process id to a file."""

    def end():
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
        os.kill(int((tmp_path / "pid").read_text()), getattr(signal, request.param))

    return end


def check_in_thread(conn, command, **kw):
    """Start a command; return a function that waits for its error and returns it."""
    errors = []

    def work():
        try:
            check(conn, command, **kw)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()

    def end():
        thread.join(50)
        assert not thread.is_alive()
        return errors[0]

    return end


@pytest.mark.parametrize("kill", [True, False])
def test_killed_client_raises_connection_lost(connect_through, tmp_path, end_client, kill):
    conn = connect_through(f"test -e {tmp_path}/pid || echo $$ > {tmp_path}/pid; exec {{client}}")
    command = ["sleep", unique_seconds()]
    end = check_in_thread(conn, command, kill_on_timeout=kill)
    wait_until(lambda: processes(" ".join(command)))
    end_client()
    error = end()
    assert isinstance(error, ConnectionLost) and "ended before the command did" in str(error)
    assert ("and the command was killed" in str(error)) is kill
    assert bool(processes(" ".join(command))) is not kill
    for pid in processes(" ".join(command)):
        os.kill(pid, signal.SIGKILL)


# no other client reaches the engine
ONCE = "test -e {0}/pid && {{ echo engine is away >&2; exit 1; }}; echo $$ > {0}/pid; exec {{client}}"


def test_killed_client_of_an_unreachable_engine_raises_connection_lost(connect_through, tmp_path, end_client):
    conn = connect_through(ONCE.format(tmp_path))
    command = ["sleep", unique_seconds()]
    end = check_in_thread(conn, command, kill_on_timeout=True)
    wait_until(lambda: processes(" ".join(command)))
    end_client()
    assert re.search("could not be killed and may still be running.*engine is away", str(end()))
    os.kill(*processes(" ".join(command)), signal.SIGKILL)


def test_timeout_applies_if_the_engine_is_unreachable(connect_through, tmp_path, caplog):
    conn = connect_through(ONCE.format(tmp_path))
    command = ["sleep", unique_seconds()]
    started = threading.Event()

    def wait():
        wait_until(lambda: processes(" ".join(command)))
        started.set()

    thread = threading.Thread(target=wait)
    thread.start()
    with pytest.raises(CommandTimeout):
        check(conn, command, timeout=5, kill_on_timeout=True, raise_on_timeout=True)
    thread.join()
    assert started.is_set()
    assert "the command could not be killed and may still be running: " in caplog.text
    os.kill(*processes(" ".join(command)), signal.SIGKILL)


def test_client_that_loses_stdin_runs_nothing(connect_through, tmp_path):
    conn = connect_through("exec {client} < /dev/null")
    with pytest.raises(ContainerError) as caught:
        check(conn, ["touch", f"{tmp_path}/begun"])
    assert caught.value.exit_status == 98 and "stdin ended before the command was sent" in str(caught.value)


def test_missing_container_raises_container_error(backend):
    error = failure(backend(container_name="no-such-container", logger=LOGGER))
    assert error.kind == "container" and "no-such-container" in error.host
    assert "o such container" in error.stderr or "no container with name" in error.stderr
    assert "no-such-container" in str(error) and error.stderr.splitlines()[0] in str(error)


def test_stderr_of_the_client_is_not_mixed_with_the_output(backend):
    output = []
    with backend(container_name="no-such-container", logger=LOGGER) as conn:
        for function in (run, check):
            with pytest.raises(ContainerError, match="o such container|no container with name"):
                function(conn, ["true"], on_stdout=output.append, on_stderr=output.append)
    assert output == []


def test_error_has_the_command_that_was_tried(backend):
    with backend(container_name="no-such-container", logger=LOGGER) as conn:
        for command, last in ((["echo", "a b"], "echo 'a b'"), ("echo a # don't", "echo a # don't")):
            with pytest.raises(ContainerError) as caught:
                check(conn, command)
            assert caught.value.command == [*conn.command_template(), last]
        with pytest.raises(ContainerError) as caught:
            check(conn, ["echo", "x" * 200_000])
        assert caught.value.kind == "container" and len(str(caught.value)) < 2000


def test_list_of_processes_shows_only_the_command(backend, container):
    """Neither remoto's wrapper nor the environment."""
    with backend(container_name=container, logger=LOGGER) as conn:
        script = "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $file; echo; done"
        listing = check(conn, ["sh", "-c", script, "marker"], extend_env={"SECRET": "hunter2"}).stdout
        assert sum("marker" in line for line in listing) == 1
        assert not any("hunter2" in line or "remoto-" in line for line in listing)


def test_keywords_and_options_of_the_shell_are_not_mistaken_for_programs(backend, container):
    with backend(container_name=container, logger=LOGGER) as conn:
        for word in ("if", "{", "-v", "remoto_fail"):
            with pytest.raises(CommandError):
                check(conn, [word])
        assert check(conn, ["umask"]).returncode == 0
        assert check(conn, "-x foo").returncode == 127


def test_program_that_exists_but_cannot_be_started_is_reported(backend, container):
    with backend(container_name=container, logger=LOGGER) as conn:
        check(conn, "printf '#!/no/such\n' > /tmp/script; chmod +x /tmp/script")
        with pytest.raises(CommandError) as caught:
            check(conn, ["/tmp/script"])
        assert "/tmp/script" in caught.value.traceback


def test_variable_that_the_shell_reserves_is_reported(backend, container):
    with backend(container_name=container, logger=LOGGER) as conn:
        run(conn, "ln -sf bash /bin/sh", stop_on_nonzero=False)
        try:
            with pytest.raises(CommandError) as caught:
                check(conn, ["true"], extend_env={"UID": "1000"})
            assert "variable" in caught.value.traceback
            assert check(conn, ["sh", "-c", "echo $BASH_VERSION $NAME"], env={"NAME": "x"}).stdout[0].endswith(" x")
            # the hardest cases of the contract, with bash: a process that ignores SIGTERM, a daemon of another shell
            assert check(conn, "trap '' TERM; sleep 100", timeout=0.5, kill_on_timeout=True).returncode == -1
        finally:
            run(conn, "ln -sf dash /bin/sh")


def test_cdpath_is_ignored(backend, container):
    with backend(container_name=container, env={"CDPATH": "/usr"}, logger=LOGGER) as conn:
        assert check(conn, ["pwd"], cwd="/usr/bin").stdout == ["/usr/bin"]
        with pytest.raises(CommandError):
            check(conn, ["pwd"], cwd="no-such-directory")


def test_kill_on_timeout_works_with_a_slow_client(engine, backend, tmp_path):
    """Nothing is left in the container, although starting the client takes longer than killing a command may."""
    client = tmp_path / "slow"
    client.write_text(f'#!/bin/sh\nsleep 2.5\nexec {engine.executable} "$@"\n')
    client.chmod(0o755)
    name = engine.run("shell")
    with backend(container_name=name, executable=str(client), logger=LOGGER) as conn:
        command = ["sh", "-c", "trap '' TERM; echo begun; sleep 100; sleep 100"]
        begun = []
        assert run(conn, command, timeout=6, kill_on_timeout=True, on_stdout=begun.append) == -1
        assert begun == ["begun"]
    wait_until(lambda: "sleep 100" not in engine.client("exec", name, "ps"))
    engine.remove(name)


def test_variables_of_any_name_reach_the_command(backend, container):
    names = ["remoto_mark", "remoto_line", "remoto_end", "line", "end", "name", "directory", "status", "IFS"]
    variables = {name: f"7{name}" for name in names}
    script = "; ".join(f'echo "${name}"' for name in names[:-1])
    with backend(container_name=container, env=variables, logger=LOGGER) as conn:
        for env in (None, variables):
            assert check(conn, ["sh", "-c", script], env=env).stdout == [variables[name] for name in names[:-1]]
            assert check(conn, script, env=env).stdout == [variables[name] for name in names[:-1]]
            assert check(conn, ["sh", "-c", "exit 127"], env=env) == ([], [], 127)


def test_too_long_argument_is_reported(backend, container):
    with backend(container_name=container, logger=LOGGER) as conn:
        for command in (["cat", "x" * 140_000], "true " + "x" * 140_000, ["cat", *["x" * 100_000] * 90]):
            with pytest.raises(CommandError) as caught:
                check(conn, command)
            assert "Argument list too long" in caught.value.reason
        with pytest.raises(CommandError) as caught:
            check(conn, ["cat"], extend_env={"LONG": "x" * 140_000})
        assert "Argument list too long" in caught.value.reason


def test_arguments_of_many_lines_take_no_longer_than_others(backend, container):
    """Quadratic time would be minutes."""
    many = "\n".join(["x"] * 60_000)
    with backend(container_name=container, logger=LOGGER) as conn:
        result = check(conn, ["sh", "-c", "shift 3; printf '%s' \"$1\"", "sh", many, many, many, many], timeout=40)
        assert (len(result.stdout), result.returncode) == (60_000, 0)


def test_missing_program_named_like_the_client_is_reported_as_missing(backend, engine, container):
    with backend(container_name=container, logger=LOGGER) as conn, pytest.raises(CommandError) as caught:
        check(conn, [engine.executable])
    assert caught.value.reason == f"No such file or directory: '{engine.executable}'"


@pytest.mark.parametrize(
    ("command", "cwd", "reason"),
    [
        (["/etc/passwd"], None, "Permission denied: '/etc/passwd'"),
        (["/etc"], None, "Permission denied: '/etc'"),
        (["true"], "/etc/passwd", "Not a directory: '/etc/passwd'"),
        (["true"], "/no/such", "No such file or directory: '/no/such'"),
    ],
    ids=["file", "directory", "cwd-file", "no-cwd"],
)
def test_error_has_the_reason_why_a_command_could_not_be_started(backend, container, command, cwd, reason):
    with backend(container_name=container, logger=LOGGER) as conn, pytest.raises(CommandError) as caught:
        check(conn, command, cwd=cwd)
    assert caught.value.reason == reason


def test_stopped_container_raises_container_error(engine, backend):
    name = engine.run("shell")
    engine.stop(name)
    error = failure(backend(container_name=name, logger=LOGGER))
    assert error.kind == "stopped" and name in str(error)
    engine.remove(name)


def test_paused_container_is_stopped(engine, backend):
    name = engine.run("shell")
    engine.client("pause", name)
    try:
        error = failure(backend(container_name=name, logger=LOGGER))
    finally:
        engine.client("unpause", name)
    assert error.kind == "stopped" and name in str(error)
    engine.remove(name)


def test_container_stopped_during_a_command_raises_connection_lost(engine, backend):
    for function in (run, check):
        name = engine.run("shell")
        conn = backend(container_name=name, logger=LOGGER)
        started = threading.Event()
        caught = []

        def work(conn=conn, function=function, started=started, caught=caught):
            try:
                script = "yes secret | head -n 100000; echo begun >&2; sleep 100"
                function(conn, ["sh", "-c", script], on_stderr=lambda line: started.set())
            except RuntimeError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert started.wait(50)
        engine.stop(name)
        thread.join(50)
        assert not thread.is_alive() and isinstance(caught[0], ConnectionLost)
        assert name in str(caught[0]) and "sleep 100" in str(caught[0])
        # the client's stderr, not the command's output
        assert "secret\n" not in caught[0].stderr and len(str(caught[0])) < 2000
        conn.exit()
        engine.remove(name)


@pytest.mark.parametrize("system", ["json", "legacy"])
def test_container_stopped_during_a_function_raises_an_error(engine, backend, system):
    name = engine.run("python")
    conn = backend(container_name=name, logger=LOGGER)
    conn.remote_import_system = system
    remote = conn.import_module(functions)
    assert remote.same(1) == 1
    caught = []

    def work():
        try:
            remote.touch_and_nap("/tmp/begun", 100)
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: engine.client("exec", name, "ls", "/tmp").split() == ["begun"])
    engine.stop(name)
    thread.join(50)
    assert not thread.is_alive() and isinstance(caught[0], ConnectionLost) and name in str(caught[0])
    # the next call has the reason
    with pytest.raises(RuntimeError, match=name):
        remote.same(1)
    conn.exit()
    engine.remove(name)


def test_missing_client_raises_container_error(backend, container):
    conn = backend(container_name=container, executable="no-such-client", logger=LOGGER)
    error = failure(conn)
    assert error.kind == "client" and container in error.host and "no-such-client" in str(error)
    with backend(container_name=container, executable="no-such-client", logger=LOGGER) as conn:
        for system in ("json", "legacy"):
            conn.remote_import_system = system
            with pytest.raises(RuntimeError, match="no-such-client"):
                conn.import_module(functions).same(1)


def test_python_missing_in_the_container_is_reported(backend, container):
    with backend(container_name=container, logger=LOGGER) as conn:
        for system in ("json", "legacy"):
            conn.remote_import_system = system
            with pytest.raises(RuntimeError) as caught:
                conn.import_module(functions, "/opt/python9").same(1)
        assert isinstance(caught.value, ContainerError) and caught.value.kind == "interpreter"
        assert "/opt/python9" in caught.value.stderr and container in str(caught.value)


def test_user_missing_in_the_container_is_reported(backend, container):
    error = failure(backend(container_name=container, user="nobody-there", logger=LOGGER))
    assert error.kind == "user" and "nobody-there" in error.stderr


def test_exit_cancels_the_opening_of_a_gateway_in_a_container(backend, container, tmp_path):
    client = tmp_path / "stalls"
    client.write_text("#!/bin/sh\nexec sleep 100\n")
    client.chmod(0o755)
    conn = backend(container_name=container, executable=str(client), logger=LOGGER)
    conn.remote_import_system = "legacy"
    caught = []

    def work():
        try:
            conn.import_module(functions, "/usr/bin/python3").same(1)
        except ConnectionLost as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: conn._opening)
    conn.exit()
    thread.join(50)
    assert caught and not thread.is_alive()


def test_container_without_a_shell_is_reported(backend, engine, tmp_path):
    """The image has a shell, so the test removes it."""
    name = engine.run("shell")
    engine.client("exec", name, "rm", "/bin/sh")
    error = failure(backend(container_name=name, logger=LOGGER))
    assert error.kind == "shell" and name in str(error)
    engine.remove(name)


def test_user_applies_to_commands_and_functions(backend, container):
    with backend(container_name=container, user="nobody", logger=LOGGER) as conn:
        assert check(conn, ["id", "-un"]).stdout == ["nobody"]
        assert conn.import_module(functions).environment("HOME") is not None
    with backend(container_name=container, user="nobody-there", logger=LOGGER) as conn, pytest.raises(RuntimeError):
        check(conn, ["true"])


def test_container_may_be_named_by_its_id(engine, backend, container):
    identifier = engine.client("inspect", "--format", "{{.Id}}", container).strip()
    with backend(container_id=identifier, logger=LOGGER) as conn:
        assert check(conn, ["echo", "x"]).stdout == ["x"]


def test_variable_that_a_shell_cannot_set_is_refused(backend, container):
    with backend(container_name=container, logger=LOGGER) as conn, pytest.raises(ValueError, match="a-b"):
        check(conn, ["true"], extend_env={"a-b": "1"})


def test_keywords_of_popen_not_supported_in_containers_are_refused(backend, container):
    with backend(container_name=container, logger=LOGGER) as conn, pytest.raises(TypeError, match="umask"):
        check(conn, ["true"], umask=0o77)


@pytest.fixture
def client(engine):
    """A client of the engine that needs no environment variables, for shells behind ssh, and for other users."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / engine.executable
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in engine.environment.items())
        path.write_text(f'#!/bin/sh\n{variables} exec {engine.executable} "$@"\n')
        for item in (path, path.parent):
            item.chmod(0o755)
        yield str(path)


def test_container_on_another_host_is_reached_over_ssh(sshd, backend, container, client):
    with backend("node0", container_name=container, executable=client, env={"FLAVOUR": "a 'b'"}, logger=LOGGER) as conn:
        assert check(conn, ["printf", "<%s>", "a b", "$HOME"]).stdout == ["<a b><$HOME>"]
        assert check(conn, ["sh", "-c", "echo $FLAVOUR"]).stdout == ["a 'b'"]
        for system in ("json", "legacy"):
            conn.remote_import_system = system
            remote = conn.import_module(functions)
            assert remote.environment("FLAVOUR") == "a 'b'"
            assert remote.executable() == "/usr/bin/python3"


@pytest.mark.parametrize("engine", ["docker"], indirect=True)
def test_missing_permission_for_the_socket_of_the_engine_is_reported(sshd, users, docker_python, client):
    conn = connection.get("docker")("unprivileged", container_name=docker_python, executable=client, logger=LOGGER)
    error = failure(conn)
    assert error.kind == "permission" and docker_python in str(error)
    assert "permission denied" in error.stderr
    # with sudo it works
    with connection.get("docker")(
        "unprivileged", container_name=docker_python, executable=client, sudo=True, logger=LOGGER
    ) as conn:
        assert check(conn, ["echo", "x"]).stdout == ["x"]


def test_unreachable_engine_is_reported(docker, docker_python, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    error = failure(connection.get("docker")(container_name=docker_python, logger=LOGGER))
    assert error.kind == "unreachable" and docker_python in str(error)


def test_legacy_keeps_one_python_in_the_container(backend, container):
    with backend(container_name=container, logger=LOGGER) as conn:
        conn.remote_import_system = "legacy"
        remote = conn.import_module(functions)
        pids = {remote.pid() for _ in range(3)} | {conn.import_module(functions).pid()}
        assert len(pids) == 1
        # a Python of an earlier test may be about to exit
        wait_until(lambda: pythons(conn) == 1)
    with backend(container_name=container, logger=LOGGER) as conn:
        wait_until(lambda: pythons(conn) == 0)


def pythons(conn):
    """Return the number of Pythons in a container."""
    listing = check(conn, ["sh", "-c", "cat /proc/[0-9]*/comm"]).stdout
    return sum(name.startswith("python3") for name in listing)


def test_exit_leaves_no_client(docker_python):
    with connection.get("docker")(container_name=docker_python, logger=LOGGER) as conn:
        check(conn, ["true"])
        conn.remote_import_system = "legacy"
        conn.import_module(functions).same(1)
    listing = subprocess.run(["ps", "axo", "ppid=,args="], capture_output=True, text=True).stdout
    mine = [line for line in listing.splitlines() if line.split()[0] == str(os.getpid()) and docker_python in line]
    assert mine == []
