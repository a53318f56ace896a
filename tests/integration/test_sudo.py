"""sudo and detect_sudo with real users. A sudo that requires a password is in test_failures.py."""

import logging
import os
import subprocess

import pytest

import remoto
from remoto.process import check, run
from tests.integration.leftovers import wait_until

DETECTED = "connection detected need for sudo"


@pytest.fixture
def login(sshd, users, logged):
    """A function that connects; ``login.count()`` counts the ssh connections of the test so far."""
    opened, before = [], sshd.logins()

    def login(host, **kw):
        opened.append(remoto.Connection(host, logger=logging.getLogger("remoto-test"), **kw))
        return opened[-1]

    login.count = lambda: sshd.logins() - before
    yield login
    for conn in opened:
        conn.exit()


def remote_user(conn):
    """Return the user id of a command, which must be that of the remote Python."""
    (command,) = check(conn, ["id", "-u"]).stdout
    python = conn.execute("import os; channel.send(os.getuid())").receive()
    assert python == int(command)
    return python


@pytest.mark.parametrize("host", ["unprivileged", "nosudo"])
def test_commands_and_functions_run_as_the_user_without_sudo(login, host, logged):
    conn = login(host)
    assert remote_user(conn) != 0 and conn.sudo is False
    assert logged.texts("INFO") == ["Running command: id -u"]


@pytest.mark.parametrize("host", ["unprivileged", "node0", "localhost"])
def test_commands_and_functions_run_as_root_with_sudo(login, host, logged):
    conn = login(host, sudo=True)
    assert remote_user(conn) == 0
    assert logged.texts("INFO") == ["Running command: sudo id -u"]
    assert login.count() == (0 if host == "localhost" else 1)


@pytest.mark.parametrize("eager", [True, False])
def test_sudo_is_detected_where_it_is_needed(login, logged, eager):
    conn = login("unprivileged", detect_sudo=True, eager=eager)
    assert login.count() == (2 if eager else 0)
    assert remote_user(conn) == 0 and conn.sudo is True
    assert login.count() == 2
    assert DETECTED in logged.texts("DEBUG")


@pytest.mark.parametrize("sudo", [True, False])
def test_root_needs_no_sudo_and_no_second_connection(login, logged, sudo):
    conn = login("node0", detect_sudo=True, sudo=sudo)
    assert remote_user(conn) == 0 and conn.sudo is False
    assert login.count() == 1
    assert DETECTED not in logged.texts("DEBUG")


def test_stdin_environment_and_cwd_reach_a_command_with_sudo(login):
    conn = login("unprivileged", sudo=True, env={"FLAVOUR": "sür"})
    assert check(conn, 'echo "$FLAVOUR $MORE"; id -u; pwd', shell=True, cwd="/", extend_env={"MORE": "a b"}) == (
        *(["sür a b", "0", "/"], []),
        0,
    )
    assert check(conn, ["cat"], stdin="in\n").stdout == ["in"]
    lines = []
    assert run(conn, ["cat", "/etc/sudoers"], on_stdout=lines.append) == 0 and lines


def test_kill_on_timeout_ends_a_command_that_runs_as_root(login):
    seconds = str(700_000 + int.from_bytes(os.urandom(2), "big"))
    conn = login("unprivileged")
    conn.sudo = True  # the remote Python runs as the user, who may signal only sudo
    script = f"trap '' TERM; sleep {seconds}; sleep {seconds}"
    assert check(conn, ["sh", "-c", script], timeout=1, kill_on_timeout=True).returncode == -1
    # a process that was sent SIGKILL exits when it gets the processor
    wait_until(lambda: not running(f"sleep {seconds}"))


def running(command):
    """Return True if a process has this command line. A zombie has none."""
    listing = subprocess.run(["ps", "axo", "args="], capture_output=True, text=True).stdout
    return any(command in line for line in listing.splitlines())


def test_missing_interpreter_with_sudo_is_reported(login):
    conn = login("unprivileged", sudo=True, interpreter="no-such-python", eager=False)
    with pytest.raises(OSError, match="no-such-python"):
        check(conn, ["true"])
