"""``remoto put`` and ``remoto get``, as a program of its own."""

import os
import pty
import subprocess
import sys

import pytest

from tests.integration.test_cli import outcome


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_bytes(b"x" * 1234)
    return tmp_path / "source"


def test_there_and_back(sshd, source, tmp_path):
    status, stdout, stderr = outcome("put", "node1", "--", str(source), str(tmp_path / "copy"))
    assert (status, stdout, stderr) == (0, f"node1: put {source}: 1,234 bytes\n", "")
    status, stdout, _ = outcome("get", "node1", "node2", "--", str(tmp_path / "copy/file"), str(tmp_path / "back"))
    assert status == 0 and len(stdout.splitlines()) == 2
    for host in ("node1", "node2"):
        assert (tmp_path / "back" / host).read_bytes() == b"x" * 1234


def test_into_a_container(docker_shell, source):
    assert outcome("put", "--backend", "docker", docker_shell, "--", f"{source}/file", "/tmp/put by cli")[0] == 0
    assert outcome("--backend", "docker", docker_shell, "--", "wc", "-c", "/tmp/put by cli")[1].split()[0] == "1234"


def test_failures(sshd, source, tmp_path):
    status, stdout, stderr = outcome("put", "node1", "refused", "--", str(source), "/proc/no-such-folder/x")
    assert status == 255 and stdout == ""
    lines = sorted(stderr.splitlines())
    assert lines[0].startswith("remoto: node1: node1: put ") and "No such file" in lines[0]
    assert lines[1].startswith("remoto: refused: cannot connect") and len(lines) == 2
    assert outcome("put", "node1", "--", str(tmp_path / "missing"), "/tmp")[0] == 1


@pytest.mark.parametrize("paths", [[], ["one"], ["one", "two", "three"]])
def test_wrong_calls(paths):
    status, _, stderr = outcome("put", "localhost", "--", *paths)
    assert status == 2 and "SOURCE DESTINATION" in stderr


def test_help():
    for action in ("put", "get"):
        status, stdout, _ = outcome(action, "--help", "--")
        assert status == 0 and stdout.startswith(f"usage: remoto {action} [options] HOST... -- SOURCE DESTINATION")


def test_a_bar_at_a_terminal(source, tmp_path):
    pytest.importorskip("rich")
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "remoto", "put", "localhost", "--", str(source), str(tmp_path / "copy")]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=terminal, timeout=50, env={**os.environ, "COLUMNS": "250"}
    )
    os.close(terminal)
    shown = b""
    try:
        while True:
            shown += os.read(controller, 65536)
    except OSError:
        os.close(controller)
    assert (done.returncode, done.stdout) == (0, b"") and b"100%" in shown
