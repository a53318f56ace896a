"""Connections and programs end soon, even if the remote side hangs, and leave no output and no processes."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import remoto
from remoto.backends.ssh import ssh_argv
from remoto.exc import ConnectError, ConnectionLost
from remoto.gateways import stderr
from remoto.process import check
from tests.integration.leftovers import VARIABLE, started_with, wait_until


def ended(script, seconds=50, **options):
    """Run a program; return its result, and the seconds between its last line of output and its exit."""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    try:
        last_line = [(line, time.monotonic()) for line in process.stdout][-1:]
        status = process.wait(seconds)
        duration = time.monotonic() - last_line[0][1] if last_line else 0.0
        return status, process.stderr.read(), duration
    finally:
        process.kill()
        process.communicate()


def test_program_with_20_silent_hosts_exits_soon():
    script = """
import logging, os, signal
import remoto
logging.disable(logging.CRITICAL)
conns = [remoto.Connection("localhost") for _ in range(20)]
for conn in conns:
    os.kill(conn.gateway._io.popen.pid, signal.SIGSTOP)
print("end", flush=True)
"""
    status, errors, duration = ended(script)
    assert (status, errors) == (0, "")
    # one second for each host would take 20
    assert duration < 10


def test_exit_is_quick_after_an_endless_line_of_stderr():
    """The line is read in pieces, as long as they are logged; exit() does not wait for its end."""
    interpreter = 'sh -c \'{ cat /dev/zero | tr "\\\\0" x >&2; } & exec python3 "$@"\' sh'
    lengths = []

    class Handler(logging.Handler):
        def emit(self, record):
            lengths.append(len(record.getMessage()))

    logger = logging.Logger("endless")
    logger.addHandler(Handler())
    conn = remoto.Connection("localhost", interpreter=interpreter, logger=logger)
    assert check(conn, ["echo", "x"]).stdout == ["x"]
    wait_until(lambda: sum(lengths) > 50_000_000)
    begun = time.monotonic()
    conn.exit()
    assert time.monotonic() - begun < 4
    assert max(lengths) <= 2 * stderr.LONGEST_LINE


def test_logging_handler_may_use_the_connection_and_be_slow():
    """Neither delays other connections."""
    answers, released, go_on, entered = [], [], threading.Event(), threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            answers.append(check(other, ["echo", record.getMessage()]).stdout)
            entered.set()
            released.append(go_on.wait(50))

    quiet = logging.Logger("quiet")
    logger = logging.Logger("slow")
    other, conn = (remoto.Connection("localhost", logger=each) for each in (quiet, logger))
    with other, conn:
        # WARNING: it must not hold its lock when a command is logged
        logger.addHandler(Handler(logging.WARNING))
        conn.execute("import os; os.write(2, b'a word\\n'); channel.send(1)").receive(50)
        assert entered.wait(50)
        for each in (conn, other):
            assert check(each, ["wc", "-c"], stdin=b"x" * 1_000_000).stdout == ["1000000"]
        go_on.set()
    assert answers == [["a word"]] and released == [True]


@pytest.fixture
def without_hangup(monkeypatch):
    """Ignore SIGHUP, as under nohup(1), in this process and all that it starts; mark these processes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    mark = os.urandom(6).hex()
    monkeypatch.setenv(VARIABLE, mark)
    yield mark
    signal.signal(signal.SIGHUP, before)


def test_cancelled_connection_leaves_nothing_under_nohup(sshd, without_hangup):
    with pytest.raises(ConnectError) as error:
        remoto.Connection("stall", connect_timeout=1)
    assert error.value.kind == "timeout"
    wait_until(lambda: not started_with(without_hangup))


def test_lost_connection_leaves_nothing_under_nohup(sshd, without_hangup):
    with remoto.Connection("silent", keepalive=1) as conn:
        assert check(conn, ["echo", "x"]).stdout == ["x"]
        sshd.silence()
        try:
            with pytest.raises(ConnectionLost):
                check(conn, ["sleep", "100"], kill_on_timeout=True)
        finally:
            sshd.unsilence()
    wait_until(lambda: not started_with(without_hangup))


def test_environment_and_errors_are_unchanged_under_nohup(monkeypatch, without_hangup):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.delenv("LC_CTYPE", raising=False)
    with remoto.Connection("localhost", interpreter="sh -c 'exec python3 \"$@\"' sh") as conn:
        environment = check(conn, ["cat", "/proc/self/status", "/proc/self/environ"]).stdout
        assert not any("LC_CTYPE" in line for line in environment)
        ignored = next(int(line.split()[1], 16) for line in environment if line.startswith("SigIgn"))
        assert not ignored & (1 << (signal.SIGPIPE - 1))
    with pytest.raises(ConnectError) as error:
        remoto.Connection("localhost", interpreter="no-such-python")
    assert error.value.kind == "interpreter"


DAEMONS = """
import logging, posixpath, sys, threading
logging.disable(logging.CRITICAL)
import remoto
from remoto.process import check, run

conn = remoto.Connection("localhost")
module = conn.import_module(posixpath)
lazy = remoto.Connection("localhost", eager=False)
working = threading.Barrier(5)

def repeat(function, *args):
    function(*args)
    working.wait(50)
    while True:
        function(*args)

def connect():
    remoto.Connection("localhost").exit()

for work in ((check, conn, ["true"]), (run, lazy, ["true"]), (module.join, "a", "b"), (connect,)):
    threading.Thread(target=repeat, args=work, daemon=True).start()
working.wait(50)
print("end", flush=True)
"""


def test_daemon_threads_print_nothing_when_the_program_exits():
    for _ in range(5):
        status, errors, _ = ended(DAEMONS)
        assert (status, errors) == (0, "")


LATE_DAEMONS = """
import atexit, logging, posixpath, threading
closed = threading.Event()
threads = []

@atexit.register
def go_on():
    closed.set()
    for thread in threads:
        thread.join(0.2)

logging.disable(logging.CRITICAL)
import remoto  # handlers run in reverse order: this one's before go_on
from remoto.file_sync import get, put
from remoto.process import check, extend_env, run

conn = remoto.Connection("localhost")
module = conn.import_module(posixpath)
module.join("a", "b")
unloaded = conn.import_module(posixpath)

def use(function, *args):
    closed.wait()
    function(*args)

for work in (
    (check, conn, ["true"]),
    (run, conn, ["true"]),
    (extend_env, conn, {}),
    (module.join, "a", "b"),
    (unloaded.join, "a", "b"),
    (lambda: conn.import_module(posixpath).join("a", "b"),),
    (get, conn, "/etc/passwd", "/dev/null"),
    (put, conn, "/dev/null", "/dev/null"),
    (remoto.Connection, "localhost"),
):
    threads.append(threading.Thread(target=use, args=work, daemon=True))
    threads[-1].start()
print("end", flush=True)
"""


def test_daemon_threads_print_nothing_when_they_use_a_connection_after_exit():
    status, errors, _ = ended(LATE_DAEMONS)
    assert (status, errors) == (0, "")


CLOSED_BY_DEL = """
import logging
import remoto
logging.disable(logging.CRITICAL)

class Program:
    def __init__(self):
        self.conn = remoto.Connection("localhost")
        self.group = remoto.Group(["localhost", "127.0.0.1"])
        self.group.check(["true"])

    def __del__(self):
        self.conn.exit()
        self.group.close()

program = Program()
print("end", flush=True)
"""


def test_del_that_closes_connections_prints_nothing_when_the_program_ends():
    """The modules are torn down then: nothing can be imported, and no thread started."""
    status, errors, duration = ended(CLOSED_BY_DEL)
    assert (status, errors) == (0, "")
    # they are closed already; five seconds for each, as to close a silent one, would take 15
    assert duration < 10


WITHOUT_THREADS = """
import logging, threading
import remoto
logging.disable(logging.CRITICAL)
group = remoto.Group(["localhost", "127.0.0.1"])
group.check(["true"])

def refuse(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")

threading.Thread.start = refuse
assert list(group.check(["true"]).ok) == ["localhost", "127.0.0.1"]
group.close()
assert not any(conn.has_connection() for conn in map(group.__getitem__, group))
print("end", flush=True)
"""


def test_group_works_and_closes_if_no_thread_can_be_started():
    """Python 3.12 starts none once the main thread has ended, for instance in a handler of atexit."""
    assert ended(WITHOUT_THREADS)[:2] == (0, "")


AFTER_MAIN = """
import logging, sys, threading
import remoto
logging.disable(logging.CRITICAL)

def work():
    threading.main_thread().join()
    remoto.rsync(["localhost", "127.0.0.1"], *sys.argv[1:])

threading.Thread(target=work).start()
"""


# CPython issue 113964, corrected in 3.12.2
@pytest.mark.skipif((3, 12) <= sys.version_info < (3, 12, 2), reason="this Python starts no thread then")
def test_rsync_works_after_the_main_thread_has_ended(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("hello")
    arguments = [str(tmp_path / "source"), str(tmp_path / "copy")]
    ended_program = subprocess.run(
        [sys.executable, "-c", AFTER_MAIN, *arguments], capture_output=True, text=True, timeout=50
    )
    assert (ended_program.returncode, ended_program.stderr) == (0, "")
    assert (tmp_path / "copy" / "file").read_text() == "hello"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], True),
        (["-o", "ServerAliveInterval=7"], False),
        (["-oServerAliveInterval=7"], False),
        (["-o", "serveraliveinterval 7"], False),
        (["-To", "SERVERALIVEINTERVAL = 7"], False),
        (["-o", "ServerAliveCountMax=7"], True),
        (["-i", "ServerAliveInterval"], True),
    ],
)
def test_ssh_g_is_not_run_if_the_options_set_a_keepalive(monkeypatch, tmp_path, options, asked):
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\necho serveraliveinterval 0\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    host = f"host{os.urandom(4).hex()}"
    argv = ssh_argv([*options, host], "python3")
    assert (tmp_path / "calls").exists() == asked
    assert ("ServerAliveInterval=20" in argv) == asked
