"""No process, thread or descriptor is left on either side, and memory does not grow."""

import atexit
import os
import signal
import subprocess
import sys

import pytest

import remoto
from remoto.exc import CommandError, ConnectError
from remoto.process import check, run
from tests.integration.leftovers import VARIABLE, children, descriptors, resident, started_with, threads, wait_until
from tests.integration.shipped import trouble


def held():
    return {
        "children": children(),
        "threads": threads(),
        "descriptors": descriptors(),
        "atexit": atexit._ncallbacks(),
    }


def nothing_more_than(before):
    """Return True if nothing has grown. It may have shrunk, since a server of an earlier test may have ended."""
    return all(now <= then for now, then in zip(held().values(), before.values()))


@pytest.fixture
def mark(monkeypatch):
    """A mark in the environment of every process that the test starts."""
    word = os.urandom(6).hex()
    monkeypatch.setenv(VARIABLE, word)
    return word


def use(host, **kw):
    with remoto.Connection(host, **kw) as conn:
        assert check(conn, ["echo", "x"]).stdout == ["x"]
        run(conn, ["true"])
        check(conn, ["sleep", "0.2"], timeout=0.01)


def use_without_with(host):
    conn = remoto.Connection(host)
    conn.exit()
    conn.exit()


def fail(host):
    with pytest.raises(ConnectError):
        remoto.Connection(host, interpreter="no-such-python")


def use_lazily(host):
    conn = remoto.Connection(host, eager=False)
    conn.exit()
    with remoto.Connection(host, eager=False) as conn:
        check(conn, ["true"])


@pytest.mark.parametrize("cycle", [use, use_without_with, use_lazily, fail], ids=lambda cycle: cycle.__name__)
@pytest.mark.parametrize(("host", "times"), [("localhost", 15), ("node0", 5)])
def test_repeated_connections_leak_nothing(sshd, mark, cycle, host, times):
    cycle(host)  # start threads and the like that a program starts only once
    before = held()
    for _ in range(times):
        cycle(host)
        assert nothing_more_than(before), (held(), before)
    wait_until(lambda: not started_with(mark))


def test_many_connections_at_once_leak_nothing(sshd):
    before = held()
    conns = [remoto.Connection("localhost") for _ in range(20)]
    assert all(conn.has_connection() for conn in conns)
    for conn in conns:
        conn.exit()
    assert nothing_more_than(before), (held(), before)


def test_remote_python_exits_with_the_connection(sshd):
    with remoto.Connection("node0") as conn:
        python = conn.execute("import os; channel.send(os.getpid())").receive()
        check(conn, ["sleep", "0.5"], timeout=0.1)
        os.kill(python, 0)
    wait_until(lambda: not os.path.exists(f"/proc/{python}"))


QUIET = """
import logging, os, resource, signal, sys, threading
import remoto
from remoto.process import check, run
logging.getLogger().addHandler(logging.NullHandler())
"""
PROGRAM = (
    QUIET
    + """
conns = [remoto.Connection("node0"), remoto.Connection("localhost")]
for conn in conns:
    assert check(conn, ["true"]).returncode == 0
    check(conn, ["sleep", "0.3"], timeout=0.1)

def go_on_in_a_daemon_thread():
    begun = threading.Event()
    command = ["sh", "-c", "echo begun; exec sleep 20"]
    options = {"on_stdout": lambda line: begun.set()}
    threading.Thread(target=run, args=(conns[0], command), kwargs=options, daemon=True).start()
    begun.wait()

"""
)


def carriers(mark):
    """Return the marked processes of connections: ssh and Python."""
    return [line for line in started_with(mark) if not line.startswith(("sleep", "cat"))]


def program(text):
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        ("", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("del conn, conns", 0, ""),
        ("raise OSError('of its own')", 1, "OSError: of its own"),
        ("go_on_in_a_daemon_thread()", 0, ""),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("os._exit(4)", 4, ""),
    ],
)
def test_program_that_never_calls_exit_leaves_no_process(sshd, mark, end, status, words):
    done = program(PROGRAM + end)
    assert done.returncode == status
    assert done.stderr.splitlines()[-1:] == ([words] if words else [])
    # a program that was killed does not wait for its ssh
    if end.startswith("os."):
        wait_until(lambda: not carriers(mark))
    assert carriers(mark) == []
    wait_until(lambda: not sshd.session_pids())


FORKING = """
import warnings
# newer Pythons warn of what is tested here
warnings.simplefilter("ignore", DeprecationWarning)
conn = remoto.Connection("localhost")
child = os.fork()
if not child:
    sys.exit(0)
os.waitpid(child, 0)
print(check(conn, ["echo", "usable"]).stdout)
"""


def test_forked_child_leaves_the_connection_of_its_parent_open():
    done = program(QUIET + FORKING)
    assert (done.stdout, done.stderr) == ("['usable']\n", "")


LONG = """
def peak():
    # not getrusage(), whose maximum includes the process that forked this one
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

size = 64 * 1024 * 1024
with remoto.Connection("localhost") as conn:
    before = peak()
    lines = check(conn, ["sh", "-c", "yes %079d | head -c %d" % (0, size)]).stdout
    assert sum(map(len, lines)) + len(lines) >= size
    print((peak() - before) / size)
"""


def test_output_takes_at_most_four_times_its_size_in_memory():
    done = program(QUIET + LONG)
    assert done.stderr == ""
    assert 0.5 < float(done.stdout) <= 4


@pytest.mark.parametrize("stdin", [None, "data"])
def test_command_that_lacks_descriptors_is_killed_and_no_zombie_is_left(stdin):
    """However few there are, the command runs, or an error says why it does not."""
    with remoto.Connection("localhost") as conn:
        remote = conn.import_module(trouble)
        check(conn, ["true"], cwd="/", stdin="data")  # import what can't be imported without descriptors
        results = []
        for free in range(12):
            remote.limit_descriptors(free)
            try:
                results.append(check(conn, ["true"], stdin=stdin).returncode)
            except CommandError as error:
                results.append(error.reason.partition(":")[0])
            remote.limit_descriptors(None)
            wait_until(remote.is_without_children)
        assert results == ["Too many open files"] * results.index(0) + [0] * results.count(0)


def test_command_that_lacks_a_thread_is_killed_and_leaves_nothing(pythons):
    """Before Python 3.9, the exit of a command is noticed by a thread."""
    python = next((path for version, path in sorted(pythons.items()) if (3, 7) <= version < (3, 9)), None)
    if python is None:
        pytest.skip("no Python 3.7 or 3.8")
    with remoto.Connection("localhost", interpreter=python) as conn:
        pid = int(check(conn, "echo $PPID", shell=True).stdout[0])
        held = len(os.listdir(f"/proc/{pid}/fd"))
        conn.gateway.remote_exec(NO_THREAD).waitclose(20)
        with pytest.raises(CommandError):
            check(conn, ["sleep", "3600"])
        assert len(os.listdir(f"/proc/{pid}/fd")) <= held and not children(pid)


NO_THREAD = """
import threading

def start(thread):
    raise RuntimeError("can't start new thread")

threading.Thread.start = start
"""


def test_stdin_of_earlier_commands_takes_no_memory():
    size = 64 * 1024 * 1024
    with remoto.Connection("localhost") as conn:
        pid = check(conn, "echo $PPID", shell=True).stdout[0]
        before = resident(pid)
        for _ in range(3):
            assert check(conn, ["wc", "-c"], stdin=bytes(size)).stdout == [str(size)]
        assert check(conn, ["true"]).returncode == 0
        assert resident(pid) - before < size // 2
