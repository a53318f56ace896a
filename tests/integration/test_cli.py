"""The command line, as a program of its own."""

import os
import signal
import subprocess
import sys

import pytest

from tests.integration.leftovers import wait_until

REMOTO = [sys.executable, "-m", "remoto"]


def remoto(*arguments, stdin=None, **variables):
    return subprocess.run(
        [*REMOTO, *arguments], input=stdin, capture_output=True, text=True, timeout=50, env={**os.environ, **variables}
    )


def outcome(*arguments, **keywords):
    done = remoto(*arguments, **keywords)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_this_machine():
    assert outcome("localhost", "--", "echo", "a b", "$HOME") == (0, "a b $HOME\n", "")


def test_both_streams_and_the_exit_status():
    assert outcome("localhost", "--", "sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_a_signal():
    assert outcome("localhost", "--", "sh", "-c", "kill -9 $$")[0] == 137


def test_several_hosts(sshd):
    script = 'test "$REMOTO_N" || exit 1; echo "$REMOTO_N"; echo words >&2; exit 2'
    status, stdout, stderr = outcome("--env", "REMOTO_N=1", "node1", "node2", "localhost", "--", "sh", "-c", script)
    assert status == 2
    assert sorted(stdout.splitlines()) == ["localhost: 1", "node1: 1", "node2: 1"]
    assert sorted(stderr.splitlines()) == ["localhost: words", "node1: words", "node2: words"]
    assert outcome("--no-prefix", "node1", "node2", "--", "echo", "x")[1] == "x\nx\n"


def test_one_host_of_several_that_can_not_be_reached(sshd):
    status, stdout, stderr = outcome("node1", "refused", "--", "echo", "x")
    assert (status, stdout) == (255, "node1: x\n")
    (line,) = stderr.splitlines()
    assert line.startswith("remoto: refused: cannot connect to refused: ") and "Connection refused" in line


def test_options_for_ssh(sshd):
    assert outcome("--ssh-options", "-o 'SetEnv A=1'", "--use-ssh", "node1", "--", "true")[0] == 0
    assert outcome("--ssh-options", "-p 1", "node1", "--", "true")[0] == 255


@pytest.mark.parametrize("backend", ["docker", "podman", "kubernetes"])
def test_containers(request, backend):
    name = request.getfixturevalue({"kubernetes": "kube_shell"}.get(backend, f"{backend}_shell"))
    assert outcome("--backend", backend, name, "--", "sh", "-c", "echo $0; exit 4") == (4, "sh\n", "")


def test_input():
    assert outcome("--stdin", "localhost", "--", "tr", "a-z", "A-Z", stdin="some words\n")[:2] == (0, "SOME WORDS\n")
    assert outcome("localhost", "--", "cat", stdin="not for it") == (0, "", "")


def test_shell_folder_and_environment():
    assert outcome("--shell", "localhost", "--", "echo a | tr a b; pwd", "--", "x")[0] == 0
    assert outcome("--shell", "--cwd", "/etc", "localhost", "--", "pwd | tr a-z A-Z")[1] == "/ETC\n"


def test_a_timeout():
    status, _, stderr = outcome("--timeout", "0.3", "--kill-on-timeout", "localhost", "--", "sleep", "20")
    assert status == 124 and stderr == "remoto: localhost: no output for 0.3 seconds\n"


def test_a_program_that_is_not_there():
    status, _, stderr = outcome("localhost", "--", "no-such-program")
    assert status == 126 and stderr.startswith("remoto: localhost: ") and "No such file" in stderr
    assert len(stderr.splitlines()) == 1


def test_the_reader_that_leaves_early():
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -m remoto localhost -- seq 1000000 | head -n 1; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.stdout, done.stderr) == ("1\n141\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["node1"],
        ["node1", "--"],
        ["--parallel", "0", "a", "--", "true"],
        ["--", "true"],
        ["--env", "x", "a", "--", "true"],
    ],
    ids=" ".join,
)
def test_wrong_calls(arguments):
    status, _, stderr = outcome(*arguments)
    assert status == 2 and stderr.startswith("usage: remoto [options] HOST... -- COMMAND...")


def test_a_backend_that_does_not_exist():
    status, _, stderr = outcome("--backend", "telnet", "node1", "--", "true")
    assert status == 2 and "there is no backend of the name telnet" in stderr
    assert stderr.startswith("usage: ")


def test_a_host_that_is_an_option():
    status, _, stderr = outcome("--", "-oProxyCommand=touch /tmp/owned", "--", "true")
    assert status == 2
    status, _, stderr = outcome("x y", "--", "true")
    assert status == 255 and "not a hostname" in stderr


def test_help_teaches():
    status, stdout, _ = outcome("--help")
    assert status == 0 and "examples:" in stdout and "exit status:" in stdout
    assert outcome("--version")[1].startswith("remoto 2.")


def test_the_command_ends_where_nobody_reads_or_waits(tmp_path):
    """Of two hosts, one that is silent: neither it nor the other's flood outlives the reader, or the program."""
    script = f"echo $$ >> {tmp_path}/pids; [ $(wc -l < {tmp_path}/pids) = 2 ] || exec sleep 100; exec yes"
    words = [*REMOTO, "--no-prefix", "localhost", "localhost", "--", "sh", "-c", script]
    for stop, status in ((None, 141), (signal.SIGINT, 130)):
        program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert program.stdout.readline() == b"y\n"
        if stop:
            program.send_signal(stop)
        else:
            program.stdout.close()
        assert program.wait(30) == status and program.stderr.read() == b""
        program.stderr.close()
        pids = (tmp_path / "pids").read_text().split()
        wait_until(lambda pids=pids: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
        (tmp_path / "pids").unlink()


def test_what_the_terminal_can_not_show():
    assert outcome("localhost", "--", "printf", "ä\\n", PYTHONIOENCODING="ascii") == (0, "\\xe4\n", "")
