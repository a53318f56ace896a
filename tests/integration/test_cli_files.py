"""``remoto put`` and ``remoto get``, run as programs."""

import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from tests.integration import leftovers
from tests.integration.leftovers import wait_until
from tests.integration.test_cli import REMOTO, outcome
from tests.servers.sshd import FLEET


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_bytes(b"x" * 1234)
    return tmp_path / "source"


def test_put_and_get_copy_a_file_there_and_back(sshd, source, tmp_path):
    status, stdout, stderr = outcome("put", "node1", "--", str(source), str(tmp_path / "copy"))
    assert (status, stdout, stderr) == (0, f"node1: put {source}: 1,234 bytes\n", "")
    status, stdout, _ = outcome("get", "node1", "node2", "--", str(tmp_path / "copy/file"), str(tmp_path / "back"))
    assert status == 0 and len(stdout.splitlines()) == 2
    for host in ("node1", "node2"):
        assert (tmp_path / "back" / host).read_bytes() == b"x" * 1234


def test_directory_that_is_missing_is_made_for_a_file(sshd, source, tmp_path):
    status, _, stderr = outcome("get", "node1", "--", f"{source}/file", f"{tmp_path}/logs/here/")
    assert (status, stderr) == (0, "") and (tmp_path / "logs/here/file").stat().st_size == 1234
    assert outcome("get", "node1", "--", f"{source}/file", f"{tmp_path}/logs/here/")[0] == 0
    status, _, stderr = outcome("get", "node1", "--", f"{source}/missing", f"{tmp_path}/new/")
    assert status == 1 and f"remote path {source}/missing: No such file" in stderr and not (tmp_path / "new").exists()
    # the same again: the directory becomes the copy
    assert outcome("get", "node1", "--", str(source), f"{tmp_path}/copy/")[0] == 0
    assert os.listdir(tmp_path / "copy") == ["file"]


def test_directory_that_is_missing_is_made_without_a_python_there(docker_shell, tmp_path):
    arguments = ["get", "--backend", "docker", docker_shell, "--", "/etc/passwd", f"{tmp_path}/logs/"]
    assert outcome(*arguments)[0] == 0 and (tmp_path / "logs/passwd").exists()


def test_unchanged_files_are_reported_as_unchanged(sshd, source, tmp_path):
    def copied(*arguments):
        status, stdout, stderr = outcome(*arguments)
        assert (status, stderr) == (0, "")
        return stdout.rpartition(": ")[2]

    one = ("put", "node1", "--", f"{source}/file", str(tmp_path / "copy"))
    assert [copied(*one), copied(*one)] == ["1,234 bytes\n", "unchanged\n"]
    (source / "more").write_bytes(b"12345")
    tree = ("get", "node1", "--", f"{source}/", str(tmp_path / "tree"))
    assert [copied(*tree), copied(*tree)] == ["1,239 bytes\n", "2 files unchanged\n"]
    (source / "more").write_bytes(b"123456")
    assert copied(*tree) == "6 bytes, 1 file unchanged\n"
    (source / "more").unlink()
    (source / "file").unlink()
    assert copied(*tree) == "0 bytes\n"


def test_source_that_is_missing_is_one_error(tmp_path):
    status, stdout, stderr = outcome("put", "node1", "node2", "--", str(tmp_path / "missing"), "/tmp")
    assert (status, stdout) == (1, "")
    assert stderr == f"remoto: local path {tmp_path}/missing: No such file or directory\n"


def test_directory_may_be_copied_repeatedly_from_several_hosts(sshd, source, tmp_path):
    for _ in range(2):
        assert outcome("get", "node1", "node2", "--", str(source), str(tmp_path / "back"))[0] == 0
        for host in ("node1", "node2"):
            assert os.listdir(tmp_path / "back" / host) == ["file"]


def test_put_copies_into_a_container(docker_shell, source):
    assert outcome("put", "--backend", "docker", docker_shell, "--", f"{source}/file", "/tmp/put by cli")[0] == 0
    assert outcome("--backend", "docker", docker_shell, "--", "wc", "-c", "/tmp/put by cli")[1].split()[0] == "1234"


def test_failure_is_reported_for_each_host(sshd, source, tmp_path):
    status, stdout, stderr = outcome("put", "node1", "refused", "--", str(source), "/proc/no-such-directory/x")
    assert status == 255 and stdout == ""
    *lines, failed, refused, summary = stderr.splitlines()
    lines.sort()
    assert lines[0].startswith("remoto: node1: put ") and "No such file" in lines[0]
    assert lines[1].startswith("remoto: refused: cannot connect") and len(lines) == 2
    assert failed.startswith("remoto: node1: remote path /proc/no-such-directory/x: ") and refused.startswith(
        "remoto: refused: "
    )
    assert summary == "remoto: 2 of 2 hosts failed (1 unreachable)"
    assert outcome("put", "node1", "--", str(tmp_path / "missing"), "/tmp")[0] == 1
    status, _, stderr = outcome("get", "node1", "node2", "--", str(source), f"{source}/file")
    assert status == 1 and stderr.count("File exists") == 4 and len(stderr.splitlines()) == 5


def test_unprintable_names_are_escaped(sshd, source):
    os.rename(os.fsencode(source / "file"), os.fsencode(source) + b"/\xff")
    status, stdout, stderr = outcome("put", "node1", "--", os.fsencode(source) + b"/\xff", f"{source}/copy")
    assert (status, stderr) == (0, "") and stdout.endswith("\\xff: 1,234 bytes\n")
    status, _, stderr = outcome("put", "node1", "--", os.fsencode(source) + b"/\xff", b"/proc/\xfe")
    assert status == 1 and "/proc/\\xfe" in stderr


@pytest.mark.parametrize("action", ["put", "rsync"])
def test_timeout_ends_a_copy(source, tmp_path, action):
    """The remote side stops when it is about to write."""
    stop = '".remoto-" in str(args[0]) and os.kill(os.getpid(), signal.SIGSTOP)'
    script = f"import os, signal, sys; sys.addaudithook(lambda event, args: event == 'open' and {stop})"
    (tmp_path / "sitecustomize.py").write_text(script)
    (tmp_path / "python").write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(4_000_000_000)
    arguments = [action, "--timeout", "0.3", "--interpreter", str(tmp_path / "python"), "localhost", "--"]
    status, _, stderr = outcome(*arguments, str(tmp_path / "large"), str(tmp_path / "copy"))
    assert status == 1 and stderr.endswith("no answer for 0.3 seconds\n")


def test_reader_that_closes_the_pipe_early_exits_with_141(source, tmp_path):
    script = f'{sys.executable} -m remoto put localhost -- {source} {tmp_path}/copy | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize("action", ["put", "get"])
def test_ctrl_c_ends_a_copy(sshd, tmp_path, action):
    with open(tmp_path / "source", "wb") as file:
        file.truncate(4_000_000_000)
    (tmp_path / "copy").mkdir()
    mark = f"ctrl-c-{action}-{os.getpid()}"
    arguments = [*REMOTO, action, "localhost", "node1", "--", str(tmp_path / "source"), str(tmp_path / "copy")]
    marked = {**os.environ, leftovers.VARIABLE: mark}
    program = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=marked)
    wait_until(lambda: any(tmp_path.glob("copy/**/.remoto-*")))
    program.send_signal(signal.SIGINT)
    try:
        assert program.wait(50) == 130 and program.communicate() == (b"", b"")
    finally:
        program.kill()
    wait_until(lambda: not leftovers.started_with(mark))
    wait_until(lambda: not any(tmp_path.glob("copy/**/.remoto-*")))
    assert not (tmp_path / "copy/source").exists()


def test_ctrl_c_while_connecting_exits_with_130(tmp_path):
    """An ssh that never answers."""
    (tmp_path / "ssh").write_text(
        '#!/bin/sh\n[ "$1" = -G ] && exit 1\necho $$ > pid.new; mv pid.new pid; exec sleep 100\n'
    )
    (tmp_path / "ssh").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    arguments = [*REMOTO, "put", "node1", "--", "/etc/passwd", "/tmp"]
    program = subprocess.Popen(arguments, stderr=subprocess.PIPE, env={**os.environ, "PATH": path}, cwd=tmp_path)
    wait_until((tmp_path / "pid").exists)
    program.send_signal(signal.SIGINT)
    try:
        assert program.wait(50) == 130 and program.communicate()[1] == b""
    finally:
        program.kill()
    pid = (tmp_path / "pid").read_text().strip()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("paths", [[], ["one"], ["one", "two", "three"]])
def test_wrong_usage_is_reported(paths):
    status, _, stderr = outcome("put", "localhost", "--", *paths)
    assert status == 2 and "SOURCE DESTINATION" in stderr


def test_help_of_put_and_get_shows_their_usage():
    for action in ("put", "get"):
        status, stdout, _ = outcome(action, "--help", "--")
        assert status == 0 and stdout.startswith(f"usage: remoto {action} [options] HOST... -- SOURCE DESTINATION")


def at_a_terminal(*arguments):
    """Run a program with a terminal as its stderr; return its exit status, stdout and the terminal's output."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [*REMOTO, *arguments], stdout=subprocess.PIPE, stderr=terminal, env={**os.environ, "COLUMNS": "250"}
    ) as program:
        os.close(terminal)
        shown = b""
        try:
            while True:
                shown += os.read(controller, 65536)
        except OSError:  # the program has exited
            os.close(controller)
        stdout, _ = program.communicate()
    return program.returncode, stdout, shown


def test_progress_bar_is_shown_at_a_terminal(source, tmp_path):
    pytest.importorskip("rich")
    odd = source.rename(tmp_path / "[bold]")
    status, stdout, shown = at_a_terminal("put", "localhost", "--", str(odd), str(tmp_path / "copy"))
    assert (status, stdout) == (0, b"") and b"100%" in shown and b"/[bold]" in shown
    status, stdout, shown = at_a_terminal("put", "localhost", "--", f"{odd}/", str(tmp_path / "copy"))
    assert (status, stdout) == (0, b"") and b"100%" in shown and b": unchanged" in shown


def test_one_progress_bar_counts_many_hosts(sshd, source, tmp_path):
    pytest.importorskip("rich")
    hosts = [*FLEET[:11], "refused"]
    status, stdout, shown = at_a_terminal("put", *hosts, "--", f"{source}/file", str(tmp_path / "copy"))
    assert (status, stdout) == (255, b"")
    lines = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).replace(b"\r", b"\n").split(b"\n")
    for host in FLEET[:11]:
        assert sum(line.startswith(b"%s: put " % host.encode()) for line in lines) == 1
    # when it failed, and in the summary
    assert sum(line.startswith(b"remoto: refused: ") for line in lines) == 2
    assert any(re.match(rb"12 hosts .* 100%", line) for line in lines)


def test_one_progress_bar_counts_many_hosts_of_rsync(sshd, source, tmp_path):
    pytest.importorskip("rich")
    status, stdout, shown = at_a_terminal("rsync", *FLEET[:11], "--", str(source), str(tmp_path / "copy"))
    assert (status, stdout) == (0, b"") and b"11 hosts" in shown and b"100%" in shown


@pytest.mark.parametrize("destination", ["copy", "/proc/no-such-directory/x"], ids=["done", "failed"])
def test_control_characters_in_a_path_are_escaped_beside_a_progress_bar(source, tmp_path, destination):
    pytest.importorskip("rich")
    odd = source.rename(tmp_path / "\x1b]0;title\x07\r\n\x9b2J")
    status, stdout, shown = at_a_terminal("put", "localhost", "--", str(odd), str(tmp_path / destination))
    assert (status, stdout) == (int(destination != "copy"), b"")
    assert rb"\x1b]0;title\x07\r\n\x9b2J" in shown
    assert b"\x1b]" not in shown and b"\x07" not in shown and b"\xc2\x9b" not in shown


def test_failure_is_shown_at_a_terminal(source):
    pytest.importorskip("rich")
    status, stdout, shown = at_a_terminal("put", "localhost", "--", str(source), "/proc/no-such-directory/x")
    assert (status, stdout) == (1, b"") and b"remoto: localhost: put " in shown
    # the progress bar is removed
    assert b"put" not in shown.split(b"No such file or directory")[-1]
