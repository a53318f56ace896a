"""The command line, run as a program."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios

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


def test_command_runs_on_this_machine():
    assert outcome("localhost", "--", "echo", "a b", "$HOME") == (0, "a b $HOME\n", "")


def test_output_and_exit_status_are_those_of_the_command():
    assert outcome("localhost", "--", "sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_command_killed_by_a_signal_exits_with_128_plus_its_number():
    assert outcome("localhost", "--", "sh", "-c", "kill -9 $$")[0] == 137


def test_lines_of_several_hosts_have_their_names(sshd):
    script = 'test "$REMOTO_N" || exit 1; echo "$REMOTO_N"; echo words >&2; exit 2'
    status, stdout, stderr = outcome("--env", "REMOTO_N=1", "node1", "node2", "localhost", "--", "sh", "-c", script)
    assert status == 2
    assert sorted(stdout.splitlines()) == ["localhost: 1", "node1: 1", "node2: 1"]
    *output, failed1, failed2, failed3, summary = stderr.splitlines()
    assert sorted(output) == ["localhost: words", "node1: words", "node2: words"]
    assert [failed1, failed2, failed3] == [f"remoto: {host}: exit status 2" for host in ("node1", "node2", "localhost")]
    assert summary == "remoto: 3 of 3 hosts failed"
    assert outcome("--no-prefix", "node1", "node2", "--", "echo", "x")[1] == "x\nx\n"


def test_options_may_stand_between_hosts_and_after_them(sshd):
    assert outcome("node1", "--no-prefix", "node2", "--env", "N=1", "--", "sh", "-c", "echo $N") == (0, "1\n1\n", "")
    status, _, stderr = outcome("put", "node1", "--connect-timeout", "30", "node2", "--", "/nonexistent", "/tmp/x")
    assert status == 1 and "/nonexistent: No such file or directory" in stderr
    status, _, stderr = outcome("node1", "--nonsense", "node2", "--", "true")
    assert status == 2 and stderr.splitlines()[-1].startswith("remoto: error: unrecognized arguments: --nonsense")


def test_unreachable_host_of_several_is_reported(sshd):
    status, stdout, stderr = outcome("node1", "refused", "--", "echo", "x")
    assert (status, stdout) == (255, "node1: x\n")
    line, failed, summary = stderr.splitlines()
    assert line.startswith("remoto: refused: cannot connect to refused: ") and "Connection refused" in line
    # only the reason: an earlier line has ssh's stderr, its argv and the advice
    assert line.startswith(failed.replace("refused: ", "refused: cannot connect to refused: ", 1) + ";")
    assert summary == "remoto: 1 of 2 hosts failed (1 unreachable)"


#: the first host that runs it exits with 4, the second succeeds, the third is killed, the fourth is silent, the others
#: succeed
IN_TURN = """
for number in 1 2 3 4 5; do mkdir $number 2> /dev/null && break; done
case $number in 1) exit 4;; 3) kill -9 $$;; 4) exec sleep 100;; esac
"""


def test_summary_names_each_host_that_failed_in_the_order_given(sshd, tmp_path):
    hosts = ["node0", "unresolvable", "node1", "node2", "refused", "node3", "node4"]
    options = ["--parallel", "1", "--timeout", "5", "--kill-on-timeout", "--cwd", str(tmp_path), "--shell"]
    status, stdout, stderr = outcome(*options, *hosts, "--", IN_TURN)
    assert (status, stdout) == (255, "")
    *_, first, unresolvable, killed, refused, silent, summary = stderr.splitlines()
    assert first == "remoto: node0: exit status 4"
    assert unresolvable.startswith("remoto: unresolvable: ") and refused.startswith("remoto: refused: ")
    assert killed == "remoto: node2: killed by signal 9"
    assert silent == "remoto: node3: no output for 5 seconds"
    assert summary == "remoto: 5 of 7 hosts failed (2 unreachable, 1 timed out)"


def test_summary_names_hosts_that_failed_at_the_same_time(sshd):
    hosts = [f"node{number}" for number in range(12)]
    status, stdout, stderr = outcome(*hosts, "--", "sh", "-c", "echo out; exit 7")
    assert status == 7 and sorted(stdout.splitlines()) == sorted(f"{host}: out" for host in hosts)
    lines = [f"remoto: {host}: exit status 7" for host in hosts]
    assert stderr.splitlines() == [*lines, "remoto: 12 of 12 hosts failed"]


def test_no_summary_is_written_for_one_host_or_if_all_succeed(sshd):
    assert outcome("node1", "node2", "--", "true") == (0, "", "")
    assert outcome("node1", "--", "false") == (1, "", "")


def test_ssh_options_are_passed_to_ssh(sshd):
    assert outcome("--ssh-options", "-o 'SetEnv A=1'", "--use-ssh", "node1", "--", "true")[0] == 0
    assert outcome("--ssh-options", "-p 1", "node1", "--", "true")[0] == 255


@pytest.mark.parametrize("backend", ["docker", "podman", "kubernetes"])
def test_command_runs_in_a_container(request, monkeypatch, backend):
    name = request.getfixturevalue({"kubernetes": "kube_shell"}.get(backend, f"{backend}_shell"))
    if backend == "kubernetes":
        monkeypatch.setenv("KUBECONFIG", str(request.getfixturevalue("kube_cluster").kubeconfig))
    assert outcome("--backend", backend, name, "--", "sh", "-c", "echo $0; exit 4") == (4, "sh\n", "")
    if backend != "kubernetes":
        assert outcome("--backend", backend, "--user", "nobody", name, "--", "id", "-u")[1] != "0\n"


def test_stdin_is_sent_only_with_the_option():
    assert outcome("--stdin", "localhost", "--", "tr", "a-z", "A-Z", stdin="some words\n")[:2] == (0, "SOME WORDS\n")
    assert outcome("localhost", "--", "cat", stdin="not for it") == (0, "", "")


def test_shell_and_cwd_apply_to_the_command():
    assert outcome("--shell", "localhost", "--", "echo a | tr a b; pwd", "--", "x")[0] == 0
    assert outcome("--shell", "--cwd", "/etc", "localhost", "--", "pwd | tr a-z A-Z")[1] == "/ETC\n"


def test_timeout_exits_with_124():
    status, _, stderr = outcome("--timeout", "0.3", "--kill-on-timeout", "localhost", "--", "sleep", "20")
    assert status == 124 and stderr == "remoto: localhost: no output for 0.3 seconds\n"


def test_missing_program_exits_with_126():
    status, _, stderr = outcome("localhost", "--", "no-such-program")
    assert status == 126 and stderr.startswith("remoto: localhost: ") and "No such file" in stderr
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "has_advice"), [(["df -h | sort"], True), (["$HOME/x"], True), (["no-such"], False)]
)
def test_error_for_a_shell_line_names_the_shell_option(command, has_advice):
    status, _, stderr = outcome("localhost", "--", *command)
    assert status == 126 and ("--shell" in stderr) is has_advice
    assert outcome("--cwd", "/no-such-directory", "localhost", "--", *command)[2].endswith("'/no-such-directory'\n")
    assert outcome("--shell", "localhost", "--", "echo a | tr a b") == (0, "b\n", "")


def test_reader_that_closes_the_pipe_exits_with_141():
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -m remoto localhost -- seq 1000000 | head -n 1; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.stdout, done.stderr) == ("1\n141\n", "")


@pytest.mark.parametrize("data", [bytes(range(256)) * 5000, b"10%\r20%\r\nno newline"], ids=["binary", "text"])
def test_output_of_a_single_host_is_unchanged(data, tmp_path):
    (tmp_path / "data").write_bytes(data)
    done = subprocess.run([*REMOTO, "localhost", "--", "cat", tmp_path / "data"], capture_output=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout == data


@pytest.mark.parametrize("hosts", [["localhost"], ["localhost", "LOCALHOST"]], ids=["one", "two"])
def test_output_that_cannot_be_written_exits_with_1(hosts):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*REMOTO, *hosts, "--", "echo", "x"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=50
        )
    assert done.returncode == 1 and done.stderr.startswith("remoto: the output can't be written: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-"])
def test_closed_standard_streams_are_accepted(closed):
    line = f'exec "$@" {closed}'
    arguments = [*REMOTO, "--stdin", "localhost", "--", "sh", "-c", "echo out; echo err >&2"]
    done = subprocess.run(["sh", "-c", line, "sh", *arguments], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0 and "Traceback" not in done.stderr


def test_sigterm_ends_the_wait_for_stdin():
    program = subprocess.Popen(
        [*REMOTO, "--stdin", "localhost", "--", "cat"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with program:
        program.stdin.write(b"some words\n")
        program.stdin.flush()
        # main() has installed its handler, and waits for more
        wait_until(lambda: unread(program.stdin) == 0)
        program.send_signal(signal.SIGTERM)
        assert program.wait(50) == 143 and program.stderr.read() == b""


def unread(pipe):
    """Return the number of bytes in a pipe."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["node1"],
        ["node1", "uname", "-a"],
        ["", "--", "true"],
        ["--timeout", "-1", "node1", "--", "true"],
        ["--connect-timeout", "soon", "node1", "--", "true"],
        ["node1", "--"],
        ["--parallel", "0", "a", "--", "true"],
        ["--", "true"],
        ["--env", "x", "a", "--", "true"],
    ],
    ids=" ".join,
)
def test_wrong_usage_prints_the_usage(arguments):
    status, _, stderr = outcome(*arguments)
    assert status == 2 and stderr.startswith("usage: remoto [options] HOST... -- COMMAND...")


BACKENDS = ("ssh", "local", "docker", "podman", "kubernetes", "openshift")
USES = {
    "--ssh-options=-v": "ssh docker podman",
    "--use-ssh": "ssh docker podman",
    "--keepalive=0": "ssh docker podman",
    "--detect-sudo": "ssh docker podman kubernetes openshift",
    "--user=x": "docker podman",
    "--engine-host=localhost": "docker podman",
    "--namespace=x": "kubernetes openshift",
    "--context=x": "kubernetes openshift",
    "--container=x": "kubernetes openshift",
}


@pytest.mark.parametrize(
    ("option", "backend"), [(option, backend) for option in USES for backend in BACKENDS if backend not in USES[option]]
)
def test_options_that_the_backend_does_not_use_are_refused(option, backend):
    status, stdout, stderr = outcome("--backend", backend, option, "localhost", "--", "true")
    flag = option.partition("=")[0]
    uses = USES[option].replace(" ", ", ")
    assert (status, stdout) == (2, "") and stderr.startswith("usage: remoto [options] HOST... -- COMMAND...")
    assert stderr.endswith(f"\nremoto: error: {flag}: not used by backend {backend}, only by {uses}\n")


def test_options_that_the_backend_does_not_use_are_refused_for_files():
    status, _, stderr = outcome("get", "--backend", "k8s", "--user", "x", "web", "--", "/etc/hostname", "x")
    assert status == 2 and "--user: not used by backend kubernetes, only by docker, podman" in stderr


def test_local_backend_refuses_other_hosts():
    assert outcome("--backend", "local", "localhost", "--", "echo", "x") == (0, "x\n", "")
    status, stdout, stderr = outcome("--backend", "local", "localhost", "node1", "--", "echo", "x")
    assert (status, stdout) == (2, "") and "node1: not this machine" in stderr and stderr.startswith("usage: ")


@pytest.mark.parametrize("arguments", [["put"], ["get", "--help"], ["--sudo", "put", "localhost", "--", "/bin/true"]])
def test_put_and_get_are_never_hosts(arguments):
    status, stdout, stderr = outcome(*arguments)
    assert status == (0 if "--help" in arguments else 2)
    assert (stdout + stderr).startswith("usage: remoto put" if "put" in arguments else "usage: remoto get")


def test_unknown_backend_is_wrong_usage():
    status, _, stderr = outcome("--backend", "telnet", "node1", "--", "true")
    assert status == 2 and "no such backend: telnet" in stderr
    assert stderr.startswith("usage: ")


def test_host_that_is_an_option_is_refused():
    status, _, stderr = outcome("--", "-oProxyCommand=touch /tmp/owned", "--", "true")
    assert status == 2
    status, _, stderr = outcome("x y", "--", "true")
    assert status == 255 and "not a hostname" in stderr


@pytest.mark.parametrize("options", [[], ["--shell"]])
def test_empty_command_is_wrong_usage(options):
    status, _, stderr = outcome(*options, "localhost", "--", "")
    assert status == 2 and stderr.endswith("error: a command is missing: remoto HOST... -- COMMAND...\n")


def test_variable_that_a_shell_cannot_set_is_wrong_usage():
    """The client is not run."""
    status, _, stderr = outcome("--backend", "docker", "--env", "a.b=1", "no-such", "--", "true")
    assert (status, stderr) == (2, "remoto: no-such: a.b: a shell can't set a variable of that name\n")


def test_advice_names_options(sshd):
    status, _, stderr = outcome("--interpreter", "no-such-python", "localhost", "--", "true")
    assert status == 255 and "--interpreter" in stderr and "interpreter=" not in stderr
    status, _, stderr = outcome("--connect-timeout", "0.5", "stall", "--", "true")
    assert status == 255 and "--connect-timeout" in stderr and "connect_timeout" not in stderr
    for arguments in (["x y"], ["--ssh-options", "-o 'x", "node1"], ["--via", "x y", "node1"]):
        status, _, stderr = outcome(*arguments, "--", "true")
        assert status == 255 and "--ssh-options" in stderr and "ssh_options" not in stderr


def test_help_has_examples_and_exit_statuses():
    status, stdout, _ = outcome("--help")
    assert status == 0 and "examples:" in stdout and "exit status:" in stdout
    assert outcome("--version")[1].startswith("remoto 2.")


def test_commands_end_with_the_reader_or_the_program(tmp_path):
    """One of two hosts is silent, the other one floods: both commands end with the reader or the program."""
    script = f"echo $$ >> {tmp_path}/pids; [ $(wc -l < {tmp_path}/pids) = 2 ] || exec sleep 100; exec yes"
    arguments = [*REMOTO, "--no-prefix", "localhost", "LOCALHOST", "--", "sh", "-c", script]
    for stop, status in ((None, 141), (signal.SIGINT, 130)):
        program = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert program.stdout.readline() == b"y\n"
        if stop:
            program.send_signal(stop)
        else:
            program.stdout.close()
        assert program.wait(50) == status and program.stderr.read() == b""
        program.stderr.close()
        pids = (tmp_path / "pids").read_text().split()
        wait_until(lambda pids=pids: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
        (tmp_path / "pids").unlink()


def test_characters_outside_the_encoding_are_escaped():
    arguments = ("localhost", "LOCALHOST", "--", "printf", "ä\\n")
    status, stdout, stderr = outcome(*arguments, PYTHONIOENCODING="ascii")
    assert (status, stdout.lower(), stderr) == (0, "localhost: \\xe4\n" * 2, "")


#: for printf: a window title, a carriage return, C1's CSI, DEL and a right-to-left override
HOSTILE = r"\033]0;title\007\r\302\2332J\177\342\200\256"
ESCAPED = r"\x1b]0;title\x07\r\x9b2J\x7f\u202e"


def hostile():
    """Return the output of printf as text."""
    return HOSTILE.encode("ascii").decode("unicode_escape").encode("latin-1").decode("utf-8")


@pytest.mark.parametrize("redirection", ["", ">&2"], ids=["stdout", "stderr"])
def test_control_characters_are_escaped_after_a_prefix(redirection):
    arguments = ("localhost", "LOCALHOST", "--", "sh", "-c", f"printf 'a\\tb{HOSTILE}' {redirection}")
    lines = f"localhost: a\tb{ESCAPED}\n" * 2
    status, *streams = outcome(*arguments)
    streams = [stream.replace("LOCALHOST", "localhost") for stream in streams]
    assert (status, streams) == (0, ["", lines] if redirection else [lines, ""])


def test_raw_keeps_control_characters_after_a_prefix():
    done = subprocess.run(
        [*REMOTO, "--raw", "localhost", "LOCALHOST", "--", "printf", HOSTILE], capture_output=True, timeout=50
    )
    assert done.stdout.replace(b"LOCALHOST", b"localhost") == f"localhost: {hostile()}\n".encode() * 2


def test_stderr_of_ssh_is_escaped_in_errors(sshd, tmp_path):
    """A proxy writes to its stderr."""
    (tmp_path / "proxy").write_text(f"printf '{HOSTILE}\\n' >&2\n")
    status, _, stderr = outcome("--ssh-options", f"-o 'ProxyCommand=sh {tmp_path}/proxy'", "node1", "--", "true")
    assert status == 255 and stderr.replace("\n", "", 1).isprintable()
    title, csi = ESCAPED.split(r"\r")
    assert title in stderr and csi in stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--raw", "localhost", "--", hostile()),
        ("--raw", "--cwd", f"/{hostile()}", "localhost", "--", "true"),
        ("--raw", f"node{hostile()}", "--", "true"),
        ("--raw", "--backend", hostile(), "node1", "--", "true"),
        ("put", "localhost", "--", f"/{hostile()}\n", "/tmp"),
        ("put", f"--no-{hostile()}", "localhost", "--", "/", "/tmp"),
    ],
    ids=["program", "directory", "host", "backend", "path", "usage"],
)
def test_control_characters_are_escaped_in_errors(arguments):
    status, stdout, stderr = outcome(*arguments)
    assert status and ESCAPED in stderr and (stdout + stderr).replace("\n", "").isprintable()


def test_verbose_output_is_escaped_and_shown_once():
    for hosts in (["localhost"], ["localhost", "LOCALHOST"]):
        status, stdout, stderr = outcome("-v", *hosts, "--", "printf", f"%b{hostile()}", r"once\n")
        assert status == 0 and stdout.count("once") == len(hosts)
        assert f"INFO:localhost:Running command: printf %b{ESCAPED} once\\n\n" in stderr
        assert stderr.count("once") == len(hosts) and stderr.replace("\n", "").isprintable()
