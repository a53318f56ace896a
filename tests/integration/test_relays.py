"""Connections through a relay. The contract tests run over one, too: ``ssh_via`` in backends.py."""

import logging
import os
import posixpath
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

import remoto
from remoto import connection
from remoto.exc import ConnectError, ConnectionLost, HostError, StartError
from remoto.file_sync import get, put
from remoto.gateways import relay as windows
from remoto.process import check, run
from tests.integration.leftovers import VARIABLE, children, descriptors, resident, started_with, threads, wait_until

QUIET = logging.Logger("quiet", logging.CRITICAL)
#: reads none of its stdin, which the controller keeps filling
STALL = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"


@pytest.fixture
def own_relay(sshd):
    """A relay on this machine for one test, whose ssh knows the aliases."""
    with remoto.Connection("localhost", logger=QUIET) as conn:
        yield conn


def through(relay, host="node0", **kw):
    return remoto.Connection(host, via=relay, logger=kw.pop("logger", QUIET), **kw)


def pid_of(conn):
    """Return the process that runs the remote Python of a connection."""
    return int(check(conn, ["sh", "-c", "echo $PPID"]).stdout[0])


def in_thread(function, *args, **kw):
    """Call a function in a thread; a function that returns its result, or raises its error."""
    results = []

    def call():
        try:
            results.append((function(*args, **kw), None))
        except BaseException as error:
            results.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()

    def result(seconds=40):
        thread.join(seconds)
        assert results, "it did not end"
        value, error = results[0]
        if error is not None:
            raise error
        return value

    return result


# everything works


def test_relay_may_be_reached_through_a_relay(relay, tmp_path):
    with through(relay, "node2", env={"PATH": os.environ["PATH"]}) as second, through(second, "node3") as conn:
        assert check(conn, ["sh", "-c", "echo a; echo b >&2; exit 3"]) == (["a"], ["b"], 3)
        assert conn.import_module(posixpath).join("a", "b") == "a/b"
        data = os.urandom(3_000_000)
        put(conn, data, tmp_path / "there")
        get(conn, tmp_path / "there", tmp_path / "here")
        assert (tmp_path / "here").read_bytes() == data


def test_localhost_is_the_relay(relay):
    with through(relay, "localhost") as conn, connection.get("local")(via=relay, logger=QUIET) as local:
        for each in (conn, local):
            marked = ["sh", "-c", "echo $SSH_CONNECTION"]
            assert check(each, marked).stdout == check(relay, marked).stdout != [""]


def test_paths_in_ssh_options_are_paths_on_the_relay(relay, sshd, tmp_path):
    """The relay has another current directory than this program, so that a relative path shows the difference."""
    home = check(relay, ["pwd"]).stdout[0]
    name = f"remoto-test-{os.urandom(4).hex()}"
    put(relay, sshd.config.read_bytes(), f"{home}/{name}")
    try:
        with through(relay, ssh_options=f"-F {name}") as conn:
            assert check(conn, ["echo", "x"]).stdout == ["x"]
    finally:
        check(relay, ["rm", f"{home}/{name}"])


@pytest.mark.parametrize(("host", "interval"), [("node0", "20"), ("patient", None)])
def test_ssh_configuration_of_the_relay_takes_precedence_over_keepalive(own_relay, host, interval):
    with through(own_relay, host):
        argv = ssh_of(own_relay)
    assert (f"ServerAliveInterval={interval}" in argv) == (interval is not None)


def ssh_of(relay):
    """Return the argv of the only ssh on a relay."""
    argvs = {tuple(Path(f"/proc/{pid}/cmdline").read_text().split("\0")) for pid in children(pid_of(relay))}
    return next(argv for argv in argvs if any(word.endswith("ssh") for word in argv[:2]))


def test_stderr_of_the_relays_ssh_is_logged(own_relay, caplog):
    logger = logging.getLogger("relayed")
    with through(own_relay, logger=logger) as conn:
        conn.execute("import os; os.write(2, b'a word\\n'); channel.send(1)").receive(50)
        wait_until(lambda: ("relayed", logging.WARNING, "a word") in caplog.record_tuples)


def test_command_runs_in_a_container_of_a_relayed_host(relay, docker, docker_python, tmp_path):
    client = tmp_path / "docker"
    variables = " ".join(f"{name}={value}" for name, value in docker.environment.items())
    client.write_text(f'#!/bin/sh\nexec env {variables} docker "$@"\n')
    client.chmod(0o755)

    def connected(name):
        return connection.get("docker")("node0", container_name=name, executable=str(client), via=relay, logger=QUIET)

    with connected(docker_python) as conn:
        assert check(conn, ["sh", "-c", "echo a; exit 3"]) == (["a"], [], 3)
        conn.remote_import_system = "legacy"
        assert conn.import_module(posixpath).join("a", "b") == "a/b"
    with connected("no-such") as conn, pytest.raises(ConnectError, match="via node1: no such container"):
        check(conn, ["true"])


def test_containers_are_found_on_a_relay(docker_python):
    relay = remoto.Connection("localhost", logger=QUIET)
    with relay, remoto.Group.containers(via=relay, name=docker_python, logger=QUIET) as group:
        assert group.check(["echo", "x"])[docker_python].stdout == ["x"]
        assert group[docker_python].via is relay


def test_sudo_applies_to_a_relayed_host(relay, users):
    with through(relay, "unprivileged", sudo=True) as conn:
        assert check(conn, ["id", "-u"]).stdout == ["0"]
    with through(relay, "unprivileged", detect_sudo=True) as conn:
        assert conn.sudo
    with pytest.raises(StartError, match="via node1: sudo requires a password") as error:
        through(relay, "nosudo", sudo=True)
    assert error.value.kind == "sudo"


def test_command_is_killed_at_its_timeout(relay):
    with through(relay) as conn:
        mark = f"{VARIABLE}={os.urandom(6).hex()}"
        check(conn, ["sleep", "100"], extend_env=dict([mark.split("=")]), timeout=0.5, kill_on_timeout=True)
        wait_until(lambda: not started_with(mark.partition("=")[2]))


# windows


def test_host_that_does_not_read_stalls_only_itself(own_relay):
    """Memory does not grow on either side."""
    with through(own_relay, "localhost") as stalled, through(own_relay, "localhost") as other:
        stopped, relay_pid = pid_of(stalled), pid_of(own_relay)
        check(stalled, ["true"])
        before = resident(os.getpid()), resident(relay_pid)
        os.kill(stopped, signal.SIGSTOP)
        data = b"x" * 100_000_000
        sending = in_thread(check, stalled, ["wc", "-c"], stdin=data)
        size = "20000000"
        for _ in range(3):
            assert check(other, ["wc", "-c"], stdin=b"x" * int(size)).stdout == [size]
        grown = resident(relay_pid) - before[1]
        assert grown < 60_000_000
        os.kill(stopped, signal.SIGCONT)
        assert sending().stdout == ["100000000"]


def test_host_that_does_not_read_gets_at_most_a_window(own_relay):
    with through(own_relay, "localhost") as conn:
        stopped = pid_of(conn)
        os.kill(stopped, signal.SIGSTOP)
        sent = relayed_bytes(own_relay)
        sending = in_thread(check, conn, ["wc", "-c"], stdin=b"x" * 50_000_000)
        wait_until(lambda: relayed_bytes(own_relay) - sent > windows.WINDOW // 2)
        check(own_relay, ["true"])
        assert relayed_bytes(own_relay) - sent < 2 * windows.WINDOW
        os.kill(stopped, signal.SIGCONT)
        assert sending().stdout == ["50000000"]


def relayed_bytes(relay):
    """Return the number of bytes that a relay's Python has read."""
    text = Path(f"/proc/{pid_of(relay)}/io").read_text()
    return int(text.split()[1])


@pytest.mark.parametrize("of", ["a command", "a function"])
def test_output_that_is_not_read_stalls_only_its_host(own_relay, of):
    """It takes a window of this process's memory, while others of the same relay go on."""
    command = ["head", "-c", "2000000", "/dev/zero"]
    with through(own_relay, "localhost") as stalled, through(own_relay, "localhost") as other:
        reading, go_on = threading.Event(), threading.Event()

        def slow(data):
            reading.set()
            assert go_on.wait(60)

        def send(size):
            """A command has its own window; a function has only the relay's."""
            if of == "a command":
                return run(stalled, ["head", "-c", str(size), "/dev/zero"], text=False, on_stdout=slow)
            channel = stalled.execute(f"for _ in range({size} // 100_000): channel.send(b'x' * 100_000)")
            channel.setcallback(slow)
            channel.waitclose(60)
            return 0

        for conn in (stalled, other):
            check(conn, command, text=False)
        before = resident(os.getpid())
        sending = in_thread(send, 120_000_000)
        assert reading.wait(50)
        for _ in range(30):
            assert len(check(other, command, text=False).stdout) == 2_000_000
        # without a window, all of it comes in less time than that
        assert resident(os.getpid()) - before < 40_000_000
        go_on.set()
        assert sending() == 0


def test_stderr_that_is_logged_slowly_stalls_nothing_else(own_relay):
    go_on, entered = threading.Event(), threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            entered.set()
            go_on.wait(60)

    logger = logging.Logger("slow", logging.WARNING)
    logger.addHandler(Handler())
    with through(own_relay, "localhost", logger=logger) as noisy, through(own_relay, "localhost") as other:
        noisy.execute(
            "import os, threading\n"
            "threading.Thread(target=lambda: [os.write(2, b'a line\\n' * 9000) for _ in range(50)]).start()"
        )
        assert entered.wait(50)
        for each in (noisy, other):
            assert check(each, ["echo", "x"]).stdout == ["x"]
        go_on.set()


# errors


@pytest.mark.parametrize(
    ("host", "kind"), [("refused", "refused"), ("unresolvable", "unresolvable"), ("wrongkey", "permission")]
)
def test_error_of_the_relays_ssh_is_recognised(relay, host, kind):
    with pytest.raises(HostError, match=f"^cannot connect to {host} via node1: ") as error:
        through(relay, host)
    assert (error.value.kind, error.value.host, error.value.via) == (kind, host, "node1")
    assert error.value.stderr and error.value.exit_status == 255
    assert f"tried: ssh -T {host}" in str(error.value)


def test_host_that_does_not_answer_times_out_and_leaves_nothing(own_relay):
    mark = os.urandom(6).hex()
    with remoto.Connection("localhost", env={VARIABLE: mark}, logger=QUIET) as relay:
        before = len(started_with(mark))
        with pytest.raises(HostError, match="stall via localhost: no answer within 1 seconds"):
            through(relay, "stall", connect_timeout=1)
        wait_until(lambda: len(started_with(mark)) <= before)


def test_relay_without_ssh_is_reported():
    with remoto.Connection("localhost", env={"PATH": "/nowhere"}, interpreter=sys.executable, logger=QUIET) as relay:
        check(relay, ["/bin/true"])
        relay.execute("import os; os.environ['PATH'] = '/nowhere'; channel.send(1)").receive(50)
        with pytest.raises(StartError, match="cannot run no-such-python on localhost: No such file") as error:
            through(relay, "localhost", interpreter="no-such-python")
    assert (error.value.kind, error.value.via) == ("interpreter", "localhost")


def test_relay_that_cannot_be_reached_is_named(sshd):
    relay = remoto.Connection("refused", eager=False, logger=QUIET)
    with pytest.raises(HostError, match="node0 via refused: cannot connect to the relay: connection refused") as error:
        through(relay)
    assert error.value.kind == "relay"


# the end of a relay, and of its hosts


def test_lost_relay_is_named_and_ends_running_commands(sshd):
    mark = os.urandom(6).hex()
    with remoto.Connection("localhost", logger=QUIET) as relay:
        conns = [through(relay) for _ in range(2)]
        command = ["sh", "-c", "echo begun; exec sleep 100"]
        begun = [threading.Event() for _ in conns]
        running = [
            in_thread(
                run, conn, command, kill_on_timeout=True, extend_env={VARIABLE: mark}, on_stdout=lambda _, e=e: e.set()
            )
            for conn, e in zip(conns, begun)
        ]
        assert all(event.wait(50) for event in begun)
        os.kill(pid_of(relay), signal.SIGKILL)
        for result in running:
            with pytest.raises(ConnectionLost, match="the connection to the relay localhost was lost"):
                result()
        assert not any(conn.has_connection() for conn in conns)
        with pytest.raises(HostError, match="node0 via localhost: the connection to the relay localhost was lost"):
            through(relay)
        wait_until(lambda: not started_with(mark))
        for conn in conns:
            conn.exit()


@pytest.mark.parametrize("lost", ["dropping", "silent", "its Python"])
def test_host_that_is_lost_ends_its_command_and_leaves_the_relay_and_its_other_hosts(own_relay, sshd, lost):
    cut = {"dropping": sshd.drop, "silent": sshd.silence}
    host, begun = lost if lost in cut else "node0", threading.Event()
    with through(own_relay, host, keepalive=1) as conn, through(own_relay, "node1") as other:
        end_python = partial(os.kill, pid_of(conn), signal.SIGKILL)
        running = in_thread(run, conn, ["sh", "-c", "echo begun; exec sleep 100"], on_stdout=lambda _: begun.set())
        assert begun.wait(50)
        try:
            cut.get(lost, end_python)()
            with pytest.raises(ConnectionLost, match=f"{host}.*sleep 100") as error:
                running()
        finally:
            sshd.undrop()
            sshd.unsilence()
        assert "the relay" not in str(error.value) and not conn.has_connection()
        assert check(other, ["echo", "hello"]).stdout == check(own_relay, ["echo", "hello"]).stdout == ["hello"]


def error_of(function, *args, **kw):
    with pytest.raises((ConnectionLost, HostError)) as error:
        function(*args, **kw)
    return error.value


def test_a_lost_relay_is_reported_in_the_same_words_wherever_it_is_noticed(sshd, tmp_path):
    mark, begun = os.urandom(6).hex(), threading.Event()
    with remoto.Connection("localhost", env={VARIABLE: mark}, logger=QUIET) as relay:
        conn, unopened = through(relay), through(relay, eager=False)
        running = in_thread(run, conn, ["sh", "-c", "echo begun; exec sleep 100"], on_stdout=lambda _: begun.set())
        connecting = in_thread(through, relay, "stall")
        assert begun.wait(50)
        wait_until(lambda: any("sleep 1000" in line for line in started_with(mark)))
        os.kill(pid_of(relay), signal.SIGKILL)
        errors = [
            error_of(running),
            error_of(connecting),
            error_of(check, conn, ["true"]),
            error_of(lambda: conn.import_module(posixpath).join("a", "b")),
            error_of(put, conn, b"data", tmp_path / "there"),
            error_of(unopened.connect),
            error_of(through, relay),
        ]
        conn.exit()
    assert ["the connection to the relay localhost was lost" in str(error) for error in errors] == [True] * 7
    reasons = {error.reason for error in errors if isinstance(error, HostError)}
    assert reasons == {"the connection to the relay localhost was lost"}


def test_a_lost_relay_is_named_by_the_hosts_of_another_one_behind_it(sshd):
    begun = threading.Event()
    with remoto.Connection("localhost", logger=QUIET) as first:
        second = through(first, "node2", env={"PATH": os.environ["PATH"]})
        conn = through(second, "node3")
        running = in_thread(run, conn, ["sh", "-c", "echo begun; exec sleep 100"], on_stdout=lambda _: begun.set())
        assert begun.wait(50)
        os.kill(pid_of(first), signal.SIGKILL)
        behind = [error_of(running), error_of(check, conn, ["true"]), error_of(through, second)]
        errors = [*behind, error_of(check, second, ["true"]), error_of(through, first)]
    assert all("the connection to the relay localhost was lost" in str(error) for error in errors)
    assert all("the connection to the relay node2 was lost" in str(error) for error in behind)


def test_silent_relay_makes_its_hosts_unreachable_within_the_connect_timeout(sshd):
    with remoto.Group(["node0", "node2"], via="stall", connect_timeout=0.5, connect_retries=0) as group:
        unreachable = group.check("true").unreachable
    assert {error.reason for error in unreachable.values()} == {
        "cannot connect to the relay: no answer within 0.5 seconds"
    }


def test_hosts_of_a_lost_relay_are_unreachable_until_reconnect(relay):
    with remoto.Group(["node3", "node4", "node5"], via=["localhost", relay], logger=QUIET) as group:
        assert list(group.check(["true"]).ok) == ["node3", "node4", "node5"]
        lost = group["node3"].via
        os.kill(pid_of(lost), signal.SIGKILL)
        wait_until(lambda: not lost.has_connection() and not group["node3"].has_connection())
        for _ in range(2):
            result = group.check(["true"])
            assert list(result.ok) == ["node4"]
            assert [str(error).partition("\n")[0] for error in result.unreachable.values()] == [
                "cannot connect to node3 via localhost: the connection to the relay localhost was lost",
                "cannot connect to node5 via localhost: the connection to the relay localhost was lost",
            ]
        assert list(group.reconnect().ok) == ["node3", "node4", "node5"]


def test_group_connects_to_a_relay_once_for_all_its_hosts(sshd, caplog):
    with remoto.Group(["node3", "node4", "node5"], via={"unresolvable": ["node3", "node4"]}, logger=QUIET) as group:
        for _ in range(2):
            result = group.check(["true"])
            assert [error.kind for error in result.unreachable.values()] == ["relay", "relay"]
            assert list(result.ok) == ["node5"]
        assert caplog.text.count("ssh: Could not resolve hostname") == 1


def test_closing_a_relay_closes_its_hosts_first(sshd):
    mark = os.urandom(6).hex()
    relay = remoto.Connection("localhost", env={VARIABLE: mark}, logger=QUIET)
    conn = through(relay)
    last = through(conn, "localhost")
    running = in_thread(run, last, ["sleep", "100"], kill_on_timeout=True)
    wait_until(lambda: any("sleep" in line for line in started_with(mark)) or last.channel is not None)
    relay.exit()
    with pytest.raises(ConnectionLost):
        running()
    assert not conn.has_connection() and not last.has_connection()
    assert not started_with(mark)


def test_closing_a_host_leaves_the_relay_and_nothing_else(own_relay):
    through(own_relay).exit()
    # asked once: another command would keep a thread for the next one
    pid = pid_of(own_relay)
    on_relay = threads_of(pid)
    before = children(), descriptors(), threads()
    for _ in range(5):
        with through(own_relay) as conn:
            check(conn, ["true"])
    assert own_relay.has_connection()
    # what is left of an earlier test may end meanwhile
    assert all(now <= then for now, then in zip((children(), descriptors(), threads()), before))
    wait_until(lambda: threads_of(pid) <= on_relay)


def threads_of(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def test_relayed_host_costs_no_local_process_and_no_descriptor(own_relay):
    before = children(), descriptors()
    with through(own_relay) as conn:
        check(conn, ["true"])
        assert children() <= before[0] and descriptors() <= before[1]


def test_program_that_never_closes_leaves_no_process(sshd):
    mark = os.urandom(6).hex()
    script = """
import logging, remoto
logging.disable(logging.CRITICAL)
relay = remoto.Connection("localhost")
conns = [remoto.Connection("node0", via=relay) for _ in range(3)]
last = remoto.Connection("localhost", via=conns[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, VARIABLE: mark}, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: not started_with(mark))


def test_processes_on_a_relay_end_with_its_python(sshd):
    mark = os.urandom(6).hex()
    relay = remoto.Connection("localhost", env={VARIABLE: mark}, logger=QUIET)
    with relay, through(relay, "stall", eager=False) as stalled, through(relay):
        connecting = in_thread(stalled.connect)
        wait_until(lambda: any("sleep 1000" in line for line in started_with(mark)))
        os.kill(pid_of(relay), signal.SIGTERM)
        with pytest.raises(HostError, match="the connection to the relay localhost was lost"):
            connecting()
        wait_until(lambda: not started_with(mark))


def test_fork_leaves_relayed_connections_to_the_parent(own_relay):
    with through(own_relay) as conn:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                try:
                    check(conn, ["true"])
                except ConnectionLost as error:
                    os.write(writer, str(error).encode())
                try:
                    through(own_relay)
                except HostError as error:
                    os.write(writer, str(error).encode())
                conn.exit()
                own_relay.exit()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        with open(reader) as answers:
            text = answers.read()
        assert "fork()" in text and "via localhost" in text
        assert check(conn, ["echo", "usable"]).stdout == ["usable"]


def test_interrupted_message_is_sent_whole(own_relay):
    """It is interrupted when the window has no room for the rest of the message."""
    with through(own_relay, "localhost") as conn:
        stopped = pid_of(conn)
        os.kill(stopped, signal.SIGSTOP)
        main = threading.main_thread().ident
        sent = relayed_bytes(own_relay)

        def interrupt():
            wait_until(lambda: relayed_bytes(own_relay) - sent > windows.WINDOW // 2)
            signal.pthread_kill(main, signal.SIGINT)

        interrupting = in_thread(interrupt)
        with pytest.raises(KeyboardInterrupt):
            check(conn, ["wc", "-c"], stdin=b"x" * 20_000_000)
        interrupting()
        os.kill(stopped, signal.SIGCONT)
        for _ in range(20):
            assert check(conn, ["echo", "x"]).stdout == ["x"]


def test_timeout_applies_to_sending_through_a_relay(own_relay):
    with through(own_relay, "localhost") as conn:
        stopped = pid_of(conn)
        os.kill(stopped, signal.SIGSTOP)
        assert check(conn, ["wc", "-c"], stdin=b"x" * 20_000_000, timeout=0.5) == ([], [], -1)
        os.kill(stopped, signal.SIGCONT)
        assert check(conn, ["echo", "x"]).stdout == ["x"]
