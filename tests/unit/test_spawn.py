"""The remote side starts a command without subprocess; what it can't start so, subprocess does or reports."""

import os
import signal

import pytest

from remoto.remote import process
from remoto.remote.spawn import Process, spawn

ENV = {b"PATH": os.environb[b"PATH"]}


@pytest.fixture(autouse=True)
def _no_inheritable_descriptor(monkeypatch):
    # pytest, and what started it, may have some
    others = [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    inheritable = [fd for fd in others if _is_inheritable(fd)]
    for fd in inheritable:
        os.set_inheritable(fd, False)
    yield
    for fd in inheritable:
        os.set_inheritable(fd, True)


def _is_inheritable(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def output_of(argv, env=ENV, stdin=None):
    """Return a process's stdout and exit status."""
    started = spawn(argv, env, stdin is not None)
    assert isinstance(started, Process)
    if stdin is not None:
        with started.stdin as pipe:
            pipe.write(stdin)
    with started.stdout, started.stderr:
        stdout, stderr = started.stdout.read(), started.stderr.read()
    started.wait()
    assert stderr == b""
    return stdout, started.returncode


def test_command_is_found_on_the_given_path(tmp_path):
    program = tmp_path / "greet"
    program.write_text("#!/bin/sh\necho hello $1 $NAME\nexit 7\n")
    program.chmod(0o755)
    env = {b"PATH": b"/nowhere:" + os.fsencode(tmp_path), b"NAME": b"\xff"}
    assert output_of(["greet", "a  b"], env) == (b"hello a b \xff\n", 7)


def test_command_reads_stdin_or_devnull():
    assert output_of(["cat"], stdin=b"data") == (b"data", 0)
    assert output_of(["cat"]) == (b"", 0)


def test_command_has_its_own_session_default_signals_and_only_three_descriptors():
    stdout, _ = output_of(["/bin/sh", "-c", "grep SigIgn /proc/self/status; ls /proc/$$/fd; ps -o sid= -p $$; echo $$"])
    ignored, *rest = stdout.decode().split("\n")[:-1]
    assert int(ignored.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0
    assert rest[:-2] == ["0", "1", "2"]
    assert rest[-2].strip() == rest[-1]


def test_signal_is_a_negative_status():
    assert output_of(["/bin/sh", "-c", "kill -9 $$"]) == (b"", -9)


def test_status_is_zero_if_a_function_has_waited():
    started = spawn(["true"], ENV, False)
    os.waitpid(started.pid, 0)
    started.wait()
    assert started.returncode == 0


@pytest.mark.parametrize("argv", [["no-such-program"], ["/etc/passwd"], ["/"], ["a\0b"], [""]])
def test_what_cannot_be_started_is_left_to_subprocess_and_leaves_no_descriptor(argv):
    before = os.listdir("/proc/self/fd")
    assert spawn(argv, ENV, True) is None
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises((OSError, ValueError)):
        process.start([argument.encode() for argument in argv], False, None, ENV, None, {})


def test_program_that_is_not_on_the_path_is_not_run_from_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "tool").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert spawn(["tool"], ENV, False) is None
    with pytest.raises(FileNotFoundError):
        process.start([b"tool"], False, None, ENV, None, {})


def test_inheritable_descriptor_is_left_to_subprocess_which_closes_it(tmp_path):
    reader, writer = os.pipe()
    try:
        os.set_inheritable(writer, True)
        assert spawn(["true"], ENV, False) is None
        started = process.start([b"ls", b"/proc/self/fd"], False, None, ENV, None, {})
        with started.stdout, started.stderr:
            assert str(writer) not in started.stdout.read().decode().split()
        started.wait()
    finally:
        os.close(reader)
        os.close(writer)
