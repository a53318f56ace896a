"""Ctrl-C, exceptions of signal handlers, fork() and a lack of threads, at any point of the main thread."""

import signal
import subprocess
import sys
import threading
import time

import pytest

import remoto
from remoto.exc import ConnectionLost
from remoto.process import check
from tests.integration.leftovers import wait_until


def campaign(*arguments):
    """Run the campaign of interrupts; it fails if one is late, or leaves something."""
    command = [sys.executable, "-m", "tests.campaigns.interrupts", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# each interrupt has a limit of its own; all together take a minute on a very busy machine
@pytest.mark.timeout(300)
def test_interrupts_at_random_moments_are_raised_and_leave_nothing():
    campaign("random", "150")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", ["connect", "run", "check", "call", "put", "exit"])
def test_interrupt_at_any_line_is_raised_and_leaves_nothing(action):
    campaign("lines", "8", "--action", action)


def outcome_of(script, status=0):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert done.returncode == status, done.stderr
    return done.stdout


def test_exit_in_a_child_of_fork_returns_while_the_parent_receives():
    """During fork(), the parent's receiver thread waits for an answer, and may hold a lock."""
    script = """
import os, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import remoto
from remoto.process import check
conn = remoto.Connection("localhost")
answers = []
thread = threading.Thread(target=lambda: answers.append(check(conn, ["sh", "-c", "sleep 1; echo usable"]).stdout))
thread.start()
check(conn, ["true"])
child = os.fork()
if child == 0:
    conn.exit()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
print(answers)
conn.exit()
"""
    assert outcome_of(script) == "7\n[['usable']]\n"


def test_child_of_fork_opens_its_own_connections():
    script = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import remoto
from remoto.process import check
before = remoto.Connection("localhost")
lazy = remoto.Connection("localhost", eager=False)
child = os.fork()
for conn in [lazy] if child == 0 else [before, lazy]:
    with conn:
        assert check(conn, ["wc", "-c"], stdin=b"x" * 1_000_000).stdout == ["1000000"]
if child == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert outcome_of(script) == "7\n"


def test_connecting_without_threads_leaves_nothing():
    script = """
import _thread, os, sys, threading, logging
logging.disable(logging.CRITICAL)
import remoto
from remoto.process import check
from tests.integration.leftovers import children, descriptors, wait_until

real, left = _thread.start_new_thread, 10**9

def start_new_thread(*args):
    global left
    if left == 0:
        raise RuntimeError("can't start new thread")
    left -= 1
    return real(*args)

def held():
    return len(children()), len(os.listdir("/proc/self/task")), descriptors()

_thread.start_new_thread = threading._start_new_thread = start_new_thread
failures = 0
for number in range(6):
    left = number
    before = held()
    try:
        conn = remoto.Connection("localhost")
    except remoto.exc.ConnectError as error:
        assert "can't start new thread" in str(error), error
        failures += 1
    else:
        left = 0
        assert check(conn, ["echo", "x"]).stdout == ["x"]
        conn.exit()
    left = 10**9
    # the threads for all connections stay: each is started once, with two descriptors of a pipe and a selector
    wait_until(lambda: held()[0] == before[0] and held()[1] <= before[1] + 2 and held()[2] <= before[2] + 3)
print(failures)
"""
    assert 1 <= int(outcome_of(script)) <= 5


def test_exception_of_a_signal_handler_while_connecting_is_raised(sshd):
    script = """
import os, signal, sys, threading, time
import remoto

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGUSR1, stop)
thread = threading.Timer(0.5, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
thread.start()
begun = time.monotonic()
try:
    remoto.Connection("stall", connect_timeout=40)
except Stop:
    print(time.monotonic() - begun < 10)
thread.join()
from tests.integration.leftovers import children, wait_until
wait_until(lambda: not children())
"""
    assert outcome_of(script) == "True\n"


def test_signal_handler_may_call_exit_while_connecting(sshd):
    conn = remoto.Connection("stall", eager=False, connect_timeout=40)
    before = signal.signal(signal.SIGUSR1, lambda *_: conn.exit())
    main = threading.main_thread().ident

    def interrupt():
        wait_until(lambda: conn._opening)
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(ConnectionLost):
            check(conn, ["true"])
    finally:
        thread.join(50)
        signal.signal(signal.SIGUSR1, before)


def test_signal_handler_may_send_at_any_point_of_sending():
    """The signal handler does not wait for a lock of the interrupted send."""
    sender = "import os, time\nwhile True: time.sleep(0.0005); os.kill(os.getppid(), 10)"
    with remoto.Connection("localhost") as conn:
        channel = conn.gateway.remote_exec("for item in channel: channel.send(item)")
        other = conn.gateway.remote_exec("for item in channel: pass")
        handled = []

        def handle(*_):
            other.send(b"x" * 1000)
            handled.append(True)

        before = signal.signal(signal.SIGUSR1, handle)
        process = subprocess.Popen([sys.executable, "-c", sender])
        try:
            deadline = time.monotonic() + 40
            for size, times in ((1, 200), (300_000, 300)):
                while len(handled) < times:
                    channel.send(b"x" * size)
                    assert channel.receive(50) == b"x" * size
                    assert time.monotonic() < deadline
        finally:
            process.kill()
            process.wait()
            signal.signal(signal.SIGUSR1, before)


def test_connection_costs_one_thread_and_three_descriptors():
    """In a program of its own, where nothing of another test ends meanwhile."""
    script = """
import os
import remoto
from remoto.process import check
from tests.integration.leftovers import wait_until

def held():
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

with remoto.Connection("localhost") as conn:
    check(conn, ["true"])
    before = held()
    with remoto.Connection("localhost") as other:
        check(other, ["true"])
        wait_until(lambda: held() == (before[0] + 1, before[1] + 3))
        print("one and three")
"""
    assert outcome_of(script) == "one and three\n"
