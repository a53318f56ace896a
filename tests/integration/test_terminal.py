"""Programs at a terminal, where Ctrl-C reaches every process in the foreground."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.integration.leftovers import VARIABLE, started_with, wait_until

pytestmark = [
    pytest.mark.usefixtures("sshd"),
    # the child becomes another program at once
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
REMOTO = [sys.executable, "-m", "remoto"]
#: shell code that waits for a file
UNTIL = "until [ -e {} ]; do sleep 0.05; done"


class Terminal:
    """A program at its own terminal."""

    def __init__(self, argv, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # a program under nohup(1), such as CI, ignores it and passes that on
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.execvpe(argv[0], argv, environment)
        self.seen = b""

    def wait_for(self, text, seconds=50):
        assert self.has_come(text, seconds), self.seen

    def has_come(self, text, seconds):
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                return False
            self.seen += os.read(self.fd, 4096)
        return True

    def interrupt(self):
        os.write(self.fd, b"\x03")

    def interrupt_until(self, text):
        """Press Ctrl-C repeatedly: a signal just before Python begins to wait does not interrupt the wait."""
        for _ in range(5):
            self.interrupt()
            if self.has_come(text, 2):
                return
        raise AssertionError(self.seen)

    def status(self):
        """Wait for the exit status; read the rest of the output meanwhile."""
        deadline = time.monotonic() + 50
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._read(0 if pid else 0.05)
            if pid:
                self.pid = None
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, self.seen

    def _read(self, seconds):
        """Read all output that is there, or else what comes next in time."""
        while select.select([self.fd], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.fd, 4096)
            except OSError:
                return  # the program has closed its end
            seconds = 0

    def close(self):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal():
    mark = os.urandom(6).hex()
    opened = []

    def start(*argv):
        opened.append(Terminal(argv, {**os.environ, VARIABLE: mark}))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
    wait_until(lambda: not started_with(mark))


@pytest.mark.parametrize("stop", ["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("hosts", [["localhost"], ["node0"], ["node0", "node1"]], ids=" ".join)
def test_commands_end_when_the_program_is_interrupted(terminal, tmp_path, hosts, stop):
    one = terminal(*REMOTO, *hosts, "--", "sh", "-c", f"echo $$ >> {tmp_path}/pids; echo begun; exec sleep 100")
    wait_until(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == len(hosts))
    one.wait_for(b"begun")
    if stop == "Ctrl-C":
        one.interrupt()
    else:
        os.kill(one.pid, signal.SIGTERM)
    assert one.status() == (130 if stop == "Ctrl-C" else 143)
    assert b"Traceback" not in one.seen
    pids = (tmp_path / "pids").read_text().split()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


def test_ctrl_c_ends_an_opening_in_progress(terminal):
    one = terminal(*REMOTO, "stall", "node0", "--", "sh", "-c", "echo begun; exec sleep 100")
    one.wait_for(b"begun")
    one.interrupt()
    assert one.status() == 130


SCRIPT = """
import sys, time
import remoto
from remoto.process import check
conn = remoto.Connection(sys.argv[1])
try:
    print("ready", flush=True)
    {waiting}
except KeyboardInterrupt:
    print("interrupted", flush=True)
# a command can be sent the signal, though the Python that starts it does not mind
print("status", check(conn, ["sh", "-c", "kill -INT $$"]).returncode)
print(check(conn, ["echo", "us" + "able"]).stdout, flush=True)
"""


@pytest.mark.parametrize("waiting", ["time.sleep(50)", 'check(conn, ["sleep", "50"], kill_on_timeout=True)'])
@pytest.mark.parametrize("host", ["localhost", "node0"])
def test_connection_stays_usable_after_ctrl_c(terminal, host, waiting):
    one = terminal(sys.executable, "-c", SCRIPT.format(waiting=waiting), host)
    one.wait_for(b"ready" if "time" in waiting else b"Running command: sleep 50")
    one.interrupt_until(b"interrupted")
    one.wait_for(b"status -2")
    one.wait_for(b"['usable']")
    assert one.status() == 0


def test_process_that_stalls_is_killed_with_its_children(terminal):
    script = "import remoto; remoto.Connection('stall', connect_timeout=1)"
    one = terminal(sys.executable, "-c", script)
    assert one.status() == 1 and b"no answer within 1 seconds" in one.seen


@pytest.mark.parametrize("options", [[], ["--gather"]], ids=" ".join)
def test_status_line_says_which_hosts_are_running_and_is_erased_before_output(terminal, tmp_path, options):
    script = f"mkdir {tmp_path}/first || {UNTIL.format(tmp_path / 'go')}; echo here"
    # one of the names of this machine runs until the test goes on
    argv = ["env", "TERM=xterm", *REMOTO, *options, "--shell", "localhost", "127.0.0.1", "--", f"{script} 2> /dev/null"]
    one = terminal(*argv)
    one.wait_for(b"1 of 2 hosts done after ")
    one.wait_for(b" s; running: ")
    (tmp_path / "go").touch()
    assert one.status() == 0
    *_, last_status, rest = one.seen.split(b"\r\x1b[K")
    assert b"1 of 2 hosts done" in last_status and b"here" in rest and b"hosts done" not in rest


def test_no_status_line_is_shown_while_ssh_may_ask_for_a_password(terminal, tmp_path):
    (tmp_path / "ssh").write_text(
        f"#!/bin/sh\nprintf 'password: ' > /dev/tty\n{UNTIL.format(tmp_path / 'go')}\nexit 255\n"
    )
    (tmp_path / "ssh").chmod(0o755)
    path = f"PATH={tmp_path}{os.pathsep}{os.environ['PATH']}"
    one = terminal("env", "TERM=xterm", path, *REMOTO, "--shell", "localhost", "node1", "--", "sleep 3; echo here")
    one.wait_for(b"password: ")
    one.wait_for(b"here")
    (tmp_path / "go").touch()
    assert one.status() == 255 and b"hosts done" not in one.seen


def test_output_goes_on_after_the_terminal_of_the_status_line_was_closed(tmp_path):
    """Like ``remoto ... > log & disown``, and then a terminal that is closed."""
    ours, its = pty.openpty()
    script = f"mkdir {tmp_path}/first || {UNTIL.format(tmp_path / 'go')}; echo here"
    argv = [*REMOTO, "--shell", "localhost", "127.0.0.1", "--", f"{script} 2> /dev/null"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=its, env={**os.environ, "TERM": "xterm"}) as program:
        os.close(its)
        seen = b""
        while b"1 of 2 hosts done" not in seen:
            assert select.select([ours], [], [], 50)[0], seen
            seen += os.read(ours, 4096)
        os.close(ours)
        (tmp_path / "go").touch()
        lines = sorted(program.stdout.read().splitlines())
    assert lines == [b"127.0.0.1: here", b"localhost: here"]


def test_no_status_line_is_shown_where_it_cannot_be_erased(terminal):
    quick = ["--shell", "localhost", "127.0.0.1", "--", "sleep 2; echo here"]
    both = [terminal("env", *argv, *quick) for argv in (["TERM=dumb", *REMOTO], ["TERM=xterm", *REMOTO, "--no-prefix"])]
    for one in both:
        assert one.status() == 0 and b"here" in one.seen and b"hosts done" not in one.seen


HOSTILE = r"\033]0;title\007\r\302\2332J"
ESCAPED = rb"\x1b]0;title\x07\r\x9b2J"


def test_default_log_handler_escapes_control_characters(terminal):
    script = f"from remoto import Connection, process; process.run(Connection('localhost'), ['printf', {HOSTILE!r}])"
    one = terminal(sys.executable, "-c", script)
    assert one.status() == 0
    assert b"DEBUG:localhost:" + ESCAPED + b"\r\n" in one.seen
    assert b"\x1b" not in one.seen and b"\x07" not in one.seen and b"\xc2\x9b" not in one.seen


def shown(terminal, *argv):
    """Return the output of a program at a terminal that has no status line, and its exit status."""
    one = terminal("env", "TERM=dumb", *argv)
    status = one.status()
    return one.seen.replace(b"\r\n", b"\n").replace(b"LOCALHOST", b"localhost"), status


@pytest.mark.parametrize("hosts", [["localhost"], ["localhost", "LOCALHOST"]], ids=["one", "two"])
@pytest.mark.parametrize("redirection", ["", ">&2"], ids=["stdout", "stderr"])
def test_output_is_escaped_at_a_terminal(terminal, hosts, redirection):
    script = rf"printf 'one\r\n\ttwo{HOSTILE}\n' {redirection}"
    seen, status = shown(terminal, *REMOTO, *hosts, "--", "sh", "-c", script)
    start = b"localhost: " if len(hosts) > 1 else b""
    assert (seen, status) == ((start + b"one\n" + start + b"\ttwo" + ESCAPED + b"\n") * len(hosts), 0)


@pytest.mark.parametrize("hosts", [["localhost"], ["localhost", "LOCALHOST"]], ids=["one", "two"])
def test_raw_output_reaches_the_terminal(terminal, hosts):
    seen, status = shown(terminal, *REMOTO, "--raw", *hosts, "--", "printf", r"\033[31mred\033[0m\n")
    start = b"localhost: " if len(hosts) > 1 else b""
    assert (seen, status) == ((start + b"\x1b[31mred\x1b[0m\n") * len(hosts), 0)


def test_output_appears_before_its_line_is_complete(terminal):
    one = terminal(*REMOTO, "localhost", "--", "sh", "-c", "printf 'ä: '; exec sleep 100")
    one.wait_for("ä: ".encode())
    one.interrupt()
    assert one.status() == 130
