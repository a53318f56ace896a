"""Real failures of connections: when they are opened, and while they are used."""

import contextlib
import itertools
import logging
import os
import random
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import execnet
import pytest
from execnet.gateway_base import Message
from execnet.gateway_bootstrap import HostNotFound

import remoto
from remoto.backends.ssh import ssh_argv
from remoto.exc import ConnectError, ConnectionLost, HostError, StartError
from remoto.file_sync import get, put, rsync_conn
from remoto.gateways.outbox import SendTimeout, sending_within
from remoto.gateways.process_io import ProcessIO
from remoto.process import check, extend_env, run
from tests.integration.leftovers import VARIABLE, children, started_with, wait_until

LOGGER = logging.getLogger("remoto-test")


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    """Check that no process is left after each test, neither ssh nor its children."""
    mark, before = os.urandom(6).hex(), children()
    monkeypatch.setenv(VARIABLE, mark)
    yield
    assert children() <= before
    # ssh has exited; its ProxyCommand, which is not a child of this process, is about to exit
    wait_until(lambda: not started_with(mark))


def failure(host, **kw):
    """Return the error of connecting, which must be the same on first use."""
    with pytest.raises(ConnectError) as eager:
        remoto.Connection(host, logger=LOGGER, **kw)
    conn = remoto.Connection(host, logger=LOGGER, eager=False, **kw)
    with pytest.raises(ConnectError) as lazy:
        check(conn, ["true"])
    assert not conn.has_connection()
    conn.exit()
    assert eager.value.kind == lazy.value.kind
    return eager.value


@pytest.mark.parametrize(
    ("host", "kw", "kind", "stderr"),
    [
        ("wrongkey", {}, "permission", "Permission denied (publickey"),
        ("refused", {}, "refused", "Connection refused"),
        ("changed", {}, "hostkey", "REMOTE HOST IDENTIFICATION HAS CHANGED"),
        ("unresolvable", {}, "unresolvable", "Could not resolve hostname"),
        ("no-such-host.invalid", {}, "unresolvable", "no-such-host.invalid"),
        ("node0", {"interpreter": "no-such-python"}, "interpreter", "no-such-python"),
        ("node0", {"interpreter": "/etc/passwd"}, "interpreter", "/etc/passwd"),
        ("node0", {"interpreter": "true"}, "other", ""),
        ("node0", {"ssh_options": "-o NoSuchOption=1"}, "other", "Bad configuration option"),
        ("localhost", {"interpreter": "no-such-python"}, "interpreter", ""),
    ],
)
def test_failure_to_connect_raises_an_error_of_its_kind(sshd, host, kw, kind, stderr):
    error = failure(host, **kw)
    assert (error.kind, error.host) == (kind, host)
    is_ssh = error.exit_status == 255
    assert isinstance(error, HostNotFound) is isinstance(error, execnet.HostNotFound) is is_ssh
    assert isinstance(error, OSError) is not is_ssh
    assert stderr in error.stderr and stderr in str(error) and host in str(error)
    if host != "localhost":
        assert error.command[0] == "ssh" and host in error.command
    assert isinstance(error.exit_status, int)


@pytest.mark.parametrize(
    "use",
    [
        lambda conn: run(conn, ["true"]),
        lambda conn: check(conn, ["true"]),
        lambda conn: conn.execute("pass"),
        lambda conn: conn.import_module(shlex),
        lambda conn: put(conn, b"contents", "/tmp/remoto-never"),
        lambda conn: get(conn, "/etc/hostname", "/tmp/remoto-never"),
        lambda conn: rsync_conn(conn, __file__, "/tmp/remoto-never"),
    ],
    ids=["run", "check", "execute", "import_module", "put", "get", "rsync_conn"],
)
def test_failure_to_connect_on_first_use_is_raised_unchanged(sshd, use):
    conn = remoto.Connection("refused", logger=LOGGER, eager=False)
    with pytest.raises(HostError) as caught:
        use(conn)
    assert caught.value.kind == "refused"


def test_failure_to_connect_logs_the_stderr_of_ssh(sshd, caplog):
    with pytest.raises(HostError) as caught:
        remoto.Connection("refused", logger=LOGGER)
    assert caught.value.stderr
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == caught.value.stderr.splitlines()


@pytest.mark.parametrize(("program", "kw"), [("ssh", {"use_ssh": True}), ("sudo", {"sudo": True})])
def test_missing_ssh_is_reported(program, kw, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    error = failure("localhost", **kw)
    assert isinstance(error, StartError) and not isinstance(error, HostNotFound)
    assert error.kind == {"ssh": "client", "sudo": "sudo"}[program] and error.command[0] == program
    assert error.reason == f"cannot run {program} on this machine: No such file or directory"


def test_very_long_connect_timeout_is_accepted():
    with remoto.Connection("localhost", logger=LOGGER, connect_timeout=1e7) as conn:
        assert check(conn, ["echo", "x"]).stdout == ["x"]


def test_interpreter_that_was_set_to_blanks_is_reported():
    conn = remoto.Connection("localhost", logger=LOGGER, eager=False)
    conn.interpreter = " "
    with pytest.raises(StartError, match="cannot connect to localhost: interpreter: expected a command"):
        check(conn, ["true"])


def test_ssh_that_stalls_times_out(sshd):
    error = failure("stall", connect_timeout=0.5)
    assert (error.kind, error.exit_status) == ("timeout", None)
    assert isinstance(error, HostError)
    assert "0.5 seconds" in str(error)


def shell(script):
    """Return an interpreter that runs a shell script."""
    return f"sh -c {shlex.quote(script)} sh"


def test_start_up_file_that_prints_forever_times_out(sshd):
    error = failure("localhost", interpreter=shell("cat /dev/zero"), connect_timeout=1)
    assert error.kind == "timeout"


def test_long_output_of_a_start_up_file_is_ignored():
    script = 'head -c 30000000 /dev/zero | tr "\\0" x; echo; exec python3 "$@"'
    with remoto.Connection("localhost", interpreter=shell(script), logger=logging.Logger("quiet")) as conn:
        assert check(conn, ["echo", "x"]).stdout == ["x"]


def test_other_output_on_the_stdout_of_the_remote_python_ends_the_connection():
    """Other output breaks the message stream: the connection ends, with the reason."""
    script = 'exec 3>&1; python3 "$@" & while read -r line; do echo "$line" >&3; done < {pipe}; wait'
    with tempfile.TemporaryDirectory() as directory:
        pipe = os.path.join(directory, "pipe")
        os.mkfifo(pipe)
        interpreter = shell(
            script.format(pipe=pipe).replace('"$@" &', '"$@" <&4 &').replace("exec 3>&1", "exec 3>&1 4<&0")
        )
        with remoto.Connection("localhost", interpreter=interpreter) as conn:
            end = in_thread(check, conn, ["sleep", "100"], kill_on_timeout=True)
            with open(pipe, "w") as file:
                file.write("some job of a start-up file is done\n")
            error = end()
            assert isinstance(error, ConnectionLost) and "some job" in str(error)
            assert not conn.has_connection()


def test_later_stderr_of_ssh_is_logged_at_warning(tmp_path, logged):
    os.mkfifo(tmp_path / "pipe")
    script = f'(read -r line < {tmp_path}/pipe; echo "$line" >&2) & exec python3 "$@"'
    with remoto.Connection("localhost", interpreter=shell(script), logger=LOGGER):
        (tmp_path / "pipe").write_text("the line is bad\n")
        wait_until(lambda: "the line is bad" in logged.texts("WARNING"))


def test_exit_cancels_an_opening_in_progress(sshd):
    conn = remoto.Connection("stall", eager=False, connect_timeout=50)
    end = in_thread(check, conn, ["true"])
    wait_until(lambda: conn._opening)
    conn.exit()
    assert isinstance(end(), ConnectionLost)


def test_exit_cancels_an_opening_that_is_about_to_begin(sshd):
    conn = remoto.Connection("stall", eager=False, connect_timeout=50)
    begun = threading.Event()

    def needs_ssh(hostname):
        begun.set()
        wait_until(lambda: conn._closed)
        return True

    conn._needs_ssh = needs_ssh
    end = in_thread(check, conn, ["true"])
    assert begun.wait(50)
    conn.exit()
    assert isinstance(end(), ConnectionLost)


@pytest.mark.parametrize("option", ["sudo", "detect_sudo"])
def test_sudo_that_requires_a_password_is_reported(users, option):
    error = failure("nosudo", **{option: True})
    assert isinstance(error, StartError) and not isinstance(error, HostNotFound)
    assert error.kind == "sudo" and "password is required" in error.stderr and "NOPASSWD" in str(error)


@pytest.mark.parametrize("host", ["node0", "localhost"])
def test_missing_interpreter_is_logged(sshd, host, logged):
    failure(host, interpreter="no-such-python")
    text = "Can't communicate with remote host, possibly because no-such-python is not installed there"
    assert logged.texts("ERROR") == [text] * 2


def test_banner_of_a_host_is_ignored(sshd, logged):
    with remoto.Connection("noisy", logger=LOGGER) as conn:
        assert check(conn, ["echo", "out"]) == (["out"], [], 0)
    assert any("welcome to this machine" in text for text in logged.texts("DEBUG"))


# while connections are used


@pytest.fixture
def started(tmp_path):
    """Return a script that never exits, with a function that waits until it runs."""
    pipe = tmp_path / "started"
    os.mkfifo(pipe)
    sessions = []

    class Started:
        def script(self, rest):
            return ["sh", "-c", f"echo $$ > {pipe}; {rest}"]

        def wait(self):
            sessions.append(int(pipe.read_text()))
            return sessions[-1]

    yield Started()
    for session in sessions:
        try:
            os.killpg(session, signal.SIGKILL)
        except ProcessLookupError:
            pass


def in_thread(function, *args, **kw):
    """Start it; a function that waits for its end and gives its error."""
    errors = []

    def work():
        try:
            function(*args, **kw)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()

    def end():
        thread.join(50)
        assert not thread.is_alive()
        return errors[0] if errors else None

    return end


@pytest.fixture(params=["node0", "dropping", "silent"])
def fragile(request, sshd):
    """A host, and a function that cuts its connection."""
    cut = {"node0": sshd.drop_sessions, "dropping": sshd.drop, "silent": sshd.silence}
    yield request.param, cut[request.param]
    sshd.undrop()
    sshd.unsilence()


@pytest.mark.parametrize(
    ("function", "rest"), [(run, "while :; do echo line; done"), (check, "exec sleep 100")], ids=["run", "check"]
)
def test_connection_lost_during_a_command_raises_connection_lost(fragile, started, function, rest):
    host, cut = fragile
    with remoto.Connection(host, logger=logging.Logger("quiet"), keepalive=1) as conn:
        end = in_thread(function, conn, started.script(rest))
        started.wait()
        cut()
        error = end()
        assert isinstance(error, ConnectionLost) and isinstance(error, RuntimeError)
        assert (error.host, error.command) == (host, " ".join(started.script(rest)))
        assert host in str(error) and rest in str(error)
        assert not conn.has_connection()
        for again in (run, check):
            with pytest.raises(RuntimeError, match=f"{host}.*true"):
                again(conn, ["true"])


@pytest.mark.parametrize(
    ("host", "options", "interval"),
    [
        ("node0", [], 20),
        ("batch", [], 20),
        ("patient", [], 300),
        ("node0", ["-o", "ServerAliveInterval=7"], 7),
    ],
)
def test_configured_keepalive_takes_precedence(sshd, host, options, interval):
    argv = ssh_argv([*options, host], "python3")
    found = subprocess.run(["ssh", "-G", *argv[1:]], capture_output=True, text=True, check=True, timeout=20).stdout
    assert f"serveraliveinterval {interval}\n" in found


def test_lost_connection_is_raised_in_every_thread(sshd, started):
    with remoto.Connection("node0") as conn:
        ends = [in_thread(check, conn, ["sleep", "100"], kill_on_timeout=True) for _ in range(5)]
        ends.append(in_thread(check, conn, started.script("exec sleep 100")))
        started.wait()
        sshd.drop_sessions()
        assert all(isinstance(end(), ConnectionLost) for end in ends)


@pytest.mark.parametrize("host", ["node0", "localhost"])
def test_killed_remote_python_raises_connection_lost(sshd, host):
    with remoto.Connection(host, use_ssh=host == "node0") as conn:
        with pytest.raises(ConnectionLost, match=host):
            run(conn, ["sh", "-c", "kill -9 $PPID"])
        assert not conn.has_connection()


def test_call_over_a_lost_connection_has_the_reason(sshd, started):
    with remoto.Connection("node0") as conn:
        end = in_thread(run, conn, started.script("exec sleep 100"))
        started.wait()
        sshd.drop_sessions()
        stderr = end().stderr
        with pytest.raises(ConnectionLost, match="^the connection was lost: node0, true ") as again:
            run(conn, ["true"])
        assert stderr and again.value.stderr == stderr
    with pytest.raises(ConnectionLost, match="^the connection is closed: node0, true$"):
        run(conn, ["true"])


@pytest.mark.parametrize("kill", [True, False])
def test_command_of_a_lost_connection_runs_on_or_is_killed(sshd, started, kill):
    """The command keeps running, unless kill_on_timeout is set."""
    with remoto.Connection("node0") as conn:
        end = in_thread(check, conn, started.script("exec sleep 100"), kill_on_timeout=kill)
        pid = started.wait()
        sshd.drop_sessions()
        assert isinstance(end(), ConnectionLost)
    if kill:
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
    else:
        os.kill(pid, 0)


def test_rest_of_stdin_is_delivered_without_a_temporary_file(tmp_path):
    """A command left running after a timeout gets the rest of stdin and EOF, as long as the connection is open."""
    pipe = tmp_path / "size"
    os.mkfifo(pipe)
    interpreter = shell(f'ulimit -f 0; exec {shlex.quote(sys.executable)} "$@"')
    with remoto.Connection("localhost", interpreter=interpreter, logger=LOGGER) as conn:
        script = f"read -r line < {pipe}; wc -c > {pipe}"
        assert check(conn, ["sh", "-c", script], stdin=b"x" * 3_000_000, timeout=0.5).returncode == -1
        pipe.write_text("go on\n")
        assert pipe.read_text() == "3000000\n"


# a remote side that does not read


@pytest.fixture
def stopped():
    """A connection, with functions that stop and continue its remote Python."""
    with remoto.Connection("localhost") as conn:
        pid = conn.gateway._io.popen.pid

        class Stopped:
            connection = conn

            def stop(self):
                os.kill(pid, signal.SIGSTOP)

            def go_on(self):
                os.kill(pid, signal.SIGCONT)

        yield Stopped()
        if conn.gateway._io.popen.returncode is None:
            os.kill(pid, signal.SIGCONT)


MUCH = b"x" * 20_000_000


def test_timeout_applies_to_sending(stopped):
    conn = stopped.connection
    stopped.stop()
    begun = time.monotonic()
    assert check(conn, ["wc", "-c"], stdin=MUCH, timeout=0.5) == ([], [], -1)
    assert time.monotonic() - begun < 10
    stopped.go_on()
    # the rest of that message is sent before this one
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


def test_exit_does_not_wait_for_a_peer_that_does_not_read(stopped):
    conn = stopped.connection
    stopped.stop()
    check(conn, ["wc", "-c"], stdin=MUCH, timeout=0.2)  # now the pipe has no room for another message
    process = conn.gateway._io.popen
    conn.exit()
    assert process.returncode is not None and not conn.has_connection()


SENDER = "import os, sys, time\nfor line in sys.stdin: time.sleep(float(line)); os.kill(os.getppid(), 10)"


@pytest.fixture
def on_signal():
    """A function that makes a signal call a function after some seconds."""
    # not SIGALRM, which pytest-timeout uses; sent by another process, which does not depend on this one's threads
    assert signal.SIGUSR1 == 10
    before = signal.getsignal(signal.SIGUSR1)
    sender = subprocess.Popen([sys.executable, "-c", SENDER], stdin=subprocess.PIPE, text=True)

    def set_signal(function, seconds):
        signal.signal(signal.SIGUSR1, lambda *_: function())
        sender.stdin.write(f"{seconds}\n")
        sender.stdin.flush()

    yield set_signal
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    sender.communicate()
    signal.signal(signal.SIGUSR1, before)


def call_with(on_signal, handler, seconds, call):
    """Call something, with a signal some seconds later; on a busy machine, it may come before the call begins."""
    on_signal(handler, seconds)
    call()


def raising(error):
    def function():
        raise error

    return function


ERRORS = [KeyboardInterrupt, SystemExit, ValueError, TimeoutError]


@pytest.mark.parametrize("error", ERRORS)
def test_exception_of_a_signal_handler_during_sending_is_raised(stopped, on_signal, error):
    """A signal handler may raise anything at any point; half a message would corrupt the next one."""
    conn = stopped.connection
    conn.remote_import_system = "legacy"
    module = conn.import_module(shlex)
    assert module.quote("a b") == "'a b'"
    stopped.stop()
    with pytest.raises(error):
        call_with(on_signal, raising(error), 0.5, lambda: check(conn, ["wc", "-c"], stdin=MUCH))
    with pytest.raises(error):
        call_with(on_signal, raising(error), 0.2, lambda: module.quote("a b"))
    stopped.go_on()
    assert module.quote("a b") == "'a b'"
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("function", [check, run])
def test_exception_of_a_signal_handler_during_receiving_is_raised(stopped, on_signal, function, error):
    conn = stopped.connection
    with pytest.raises(error):
        call_with(on_signal, raising(error), 0.5, lambda: function(conn, ["sleep", "100"], kill_on_timeout=True))
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


def spin(seconds):
    # in a separate function: in CPython 3.13, if a signal handler raises at the backward jump of a loop, the error
    # escapes the "with" or "try" around the loop in the same function (the jump is not in its exception table)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.parametrize("error", [ZeroDivisionError, TimeoutError])
def test_interrupted_message_is_sent_at_most_once(on_signal, error):
    """At any point of sending: if a command were started twice, one of them would never be killed."""
    came, sent, hit = [], [], []
    sending = False

    def interrupt():
        came.append(True)
        hit.append(sending)
        raise error

    take = (
        "received = []\nwhile received[-1:] != [None]:\n    received.append(channel.receive())\nchannel.send(received)"
    )
    with remoto.Connection("localhost") as conn:
        channel = conn.gateway.remote_exec(take)
        # on a busy machine, fewer signals come while the program sends
        for number in itertools.takewhile(lambda n: n < 3000 or (sum(hit) <= 30 and n < 30_000), itertools.count()):
            came.clear()
            with contextlib.suppress(error):
                on_signal(interrupt, 1e-6)
                spin(random.uniform(0, 4e-4))
                sending = True
                channel.send(number)
                sending = False
                sent.append(number)
                wait_until(lambda: came)
            sending = False
        end = in_thread(channel.send, None)
        received = channel.receive(50)[:-1]
        end()
    assert received == sorted(set(received)) and set(sent) <= set(received)
    assert sum(hit) > 30


def test_signal_handler_may_close_the_connection_during_sending(stopped, on_signal, tmp_path):
    """The rest of the message is not written to a file that has reused the pipe's descriptor."""
    opened = []

    def close():
        stopped.connection.exit()
        opened.extend((tmp_path / str(number)).open("wb") for number in range(10))

    stopped.stop()
    with pytest.raises(ConnectionLost):
        call_with(on_signal, close, 0.5, lambda: check(stopped.connection, ["wc", "-c"], stdin=MUCH))
    for file in opened:
        file.close()
        assert os.path.getsize(file.name) == 0


def test_command_of_a_signal_handler_is_sent_after_the_current_message(stopped, on_signal):
    conn = stopped.connection
    outputs = []

    def run_another():
        stopped.go_on()
        outputs.append(check(conn, ["echo", "handler"]).stdout)

    stopped.stop()
    on_signal(run_another, 0.5)
    assert check(conn, ["wc", "-c"], stdin=MUCH).stdout == [str(len(MUCH))]
    assert outputs == [["handler"]]


def test_connection_lost_while_an_error_is_handled_is_raised(stopped):
    conn = stopped.connection
    conn.gateway._io.kill()
    wait_until(lambda: not conn.has_connection())
    try:
        raise KeyError
    except KeyError:
        with pytest.raises(ConnectionLost, match="localhost"):
            check(conn, ["true"])


def test_program_exits_without_waiting_for_a_peer_that_does_not_read():
    script = """
import os, signal
import remoto
from remoto.process import check
conn = remoto.Connection("localhost")
os.kill(conn.gateway._io.popen.pid, signal.SIGSTOP)
print(check(conn, ["wc", "-c"], stdin=b"x" * 20_000_000, timeout=0.5))
"""
    assert outcome_of(script) == "([], [], -1)\n"


def test_timeout_of_sending_applies_to_the_own_message_only():
    """It does not apply to the next message, of another thread."""
    first, second = (struct.pack("!bii", Message.CHANNEL_DATA, 1, size) + b"x" * size for size in (100_000, 1_000_000))
    # the second message never fits into the pipe
    reader = f"import os, sys, time; sys.stdin.buffer.read({len(first)}); time.sleep(100)"
    begun = threading.Event()
    io = ProcessIO([sys.executable, "-c", reader], "here", LOGGER)
    os.kill(io.popen.pid, signal.SIGSTOP)
    try:
        its_end = in_thread(sending_within, 50, lambda: (begun.set(), io.write(first)))
        assert begun.wait(50)
        with pytest.raises(SendTimeout):
            sending_within(0.2, io.write, second)
        os.kill(io.popen.pid, signal.SIGCONT)
        assert its_end() is None
    finally:
        io.kill()
        io.give_up(timeout=5)


# processes


def outcome_of(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fork_leaves_the_connection_to_the_parent():
    script = """
import os
import remoto
from remoto.process import check
with remoto.Connection("localhost") as conn:
    child = os.fork()
    if child == 0:
        try:
            with conn:
                check(conn, ["true"])
        except remoto.exc.ConnectionLost as error:
            print(error, conn.has_connection(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(check(conn, ["echo", "usable"]).stdout)
"""
    child, parent = outcome_of(script).splitlines()
    assert "fork()" in child and child.endswith("False") and parent == "['usable']"


def test_program_that_ignores_sigchld_can_connect():
    """Daemons do so, and their children inherit it."""
    script = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
import remoto
from remoto.process import check
with remoto.Connection("localhost") as conn:
    print(check(conn, ["sh", "-c", "exit 7"]).returncode)
"""
    assert outcome_of(script) == "7\n"


def test_extend_env_opens_the_connection():
    with remoto.Connection("localhost", eager=False) as conn:
        assert "PATH" in extend_env(conn, {})["env"]
    with pytest.raises(ConnectionLost, match="localhost"):
        extend_env(conn, {})
