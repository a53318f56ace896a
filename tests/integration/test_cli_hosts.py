"""The command line with many hosts: patterns, files, labels; batches; gathered and JSON output; hosts that failed."""

import json
import os
import pty
import signal
import subprocess

import pytest

from tests.integration.leftovers import VARIABLE, started_with, wait_until
from tests.integration.test_cli import REMOTO, outcome

pytest.importorskip("ClusterShell", reason="ClusterShell is not installed")


def test_hosts_are_named_by_patterns_files_stdin_and_exclusion(sshd, tmp_path):
    (tmp_path / "hosts").write_text("node[4-5]  # two\n\n# none\n")
    status, stdout, _ = outcome("node[1-3]", f"@{tmp_path}/hosts", "--exclude", "node[2,5]", "--", "echo", "x")
    assert status == 0 and sorted(stdout.splitlines()) == ["node1: x", "node3: x", "node4: x"]
    status, stdout, _ = outcome("-", "--", "echo", "x", stdin="node1\nnode2\n")
    assert status == 0 and sorted(stdout.splitlines()) == ["node1: x", "node2: x"]


def test_groups_of_clustershell_name_hosts_only_with_the_option(sshd, tmp_path):
    directory = tmp_path / "clustershell"
    (directory / "groups.d").mkdir(parents=True)
    (directory / "groups.conf").write_text("[Main]\ndefault: lab\nautodir: $CFGDIR/groups.d\n")
    (directory / "groups.d" / "lab.yaml").write_text("lab:\n  web: node[1-4]\n  down: node[2-3]\n")
    arguments = ["@web", "--exclude", "@lab:down", "--", "echo", "x"]
    status, stdout, stderr = outcome("--groups", *arguments, XDG_CONFIG_HOME=str(tmp_path))
    assert (status, sorted(stdout.splitlines()), stderr) == (0, ["node1: x", "node4: x"], "")
    status, stdout, stderr = outcome(*arguments, XDG_CONFIG_HOME=str(tmp_path))
    assert (status, stdout) == (2, "") and "--groups" in stderr.splitlines()[-1]
    status, stdout, stderr = outcome("--groups", "@web", "@wbe", "--", "true", XDG_CONFIG_HOME=str(tmp_path))
    assert (status, stdout) == (2, "") and stderr.splitlines()[-1] == "remoto: error: @wbe: no such group"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--stdin", "-", "--", "cat"], "--stdin"),
        (["--stdin", "--exclude", "-", "node1", "--", "cat"], "--stdin"),
        (["node[1-", "--", "true"], "node[1-"),
        (["node[1-200000]", "--", "true"], "100,000"),
        (["@/nonexistent/hosts", "--", "true"], "/nonexistent/hosts"),
        (["--exclude", "node1", "node1", "--", "true"], "no host is left"),
        (["--batch", "0", "node1", "--", "true"], "positive number"),
        (["--batch", "1,x", "node1", "--", "true"], "percentage"),
        (["--stop-after", "0", "node1", "--", "true"], "1 or more, not 0"),
        (["--gather", "--json", "node1", "--", "true"], "expected one of them"),
        (["--selector", "app=web", "node1", "--", "true"], "not used by backend ssh"),
        (["--backend", "docker", "--label", "a=b", "web", "--", "true"], "cannot be combined with HOST"),
        (["--backend", "docker", "--all-containers", "web", "--", "true"], "--all-containers"),
        (["--backend", "ssh", "--persistent", "node1", "--", "true"], "--persistent"),
        (["--via", "node1", "node1", "--", "true"], "--via: the relay node1 is also a host"),
        (["--via", "node2=node1", "node[1-2]", "--", "true"], "--via: the relay node2 is also a host"),
        (
            ["--via", "a", "--via", "b=node1", "node1", "--", "true"],
            "--via: expected RELAY or RELAY=PATTERN, not both",
        ),
        (["--via", "a=node[3-9]", "node[1-2]", "--", "true"], "--via: a=node[3-9]: matches none of the hosts"),
        (["--via", "a=", "node1", "--", "true"], "--via: a=: matches none of the hosts"),
        (["--via", "a=node1", "--via", "b=node1", "node1", "--", "true"], "--via: node1 has two relays: a and b"),
        (["--via", "a[1-2]=node1", "node1", "--", "true"], "--via: a[1-2]: expected one relay, not a pattern"),
        (["--stdin", "--via", "-", "node1", "--", "cat"], "--stdin"),
        (["--stdin", "--via", "a=-", "node1", "--", "cat"], "--stdin"),
        (["--backend", "local", "--via", "gate", "localhost", "--", "true"], "not used by backend local"),
        (["--backend", "docker", "--via", "gate", "--label", "a=b", "--", "true"], "--via"),
        (["--save-failed", "/nonexistent/bad", "node1", "--", "true"], "/nonexistent/bad"),
        (
            ["--backend", "k8s", "--selector", "a=b", "--all-containers", "--save-failed", "x", "--", "true"],
            "--save-failed",
        ),
        (["--", "true"], "HOST"),
    ],
)
def test_invalid_hosts_are_a_usage_error(arguments, text):
    status, stdout, stderr = outcome(*arguments)
    assert status == 2 and not stdout and text in stderr.splitlines()[-1]


def test_gathered_output_is_written_once(sshd):
    status, stdout, stderr = outcome("--gather", "node[1-3]", "refused", "--shell", "--", "echo out; echo err >&2")
    assert status == 255
    assert stdout.splitlines() == ["---------------", "node[1-3] (3)", "---------------", "out", "err"]
    assert stderr.splitlines()[-1] == "remoto: 1 of 4 hosts failed (1 unreachable)"


def test_gathered_summary_names_hosts_that_failed_alike_once(sshd):
    script = "case $SSH_CLIENT in '') exit 4;; esac; exit 3"
    _, _, stderr = outcome("--gather", "refused", "localhost", "node[1-3]", "--shell", "--", script, SSH_CLIENT="")
    assert stderr.splitlines()[-4:] == [
        "remoto: node[1-3]: exit status 3",
        "remoto: refused: connection refused",
        "remoto: localhost: exit status 4",
        "remoto: 5 of 5 hosts failed (1 unreachable)",
    ]


def test_json_has_a_line_for_each_host(sshd):
    hosts, script = ["node1", "refused"], "printf 'a\\033[1m'; echo b >&2; exit 255"
    _, stdout, _ = outcome("--json", "--timeout", "60", *hosts, "--shell", "--", script)
    results = {result["host"]: result for result in map(json.loads, stdout.splitlines())}
    assert stdout.isascii() and "\033" not in stdout
    ran, refused = results["node1"], results["refused"]
    assert (ran["outcome"], ran["exit_status"], ran["stdout"], ran["stderr"]) == ("failed", 255, "a\033[1m", "b\n")
    assert (refused["outcome"], refused["exit_status"], refused["kind"]) == ("unreachable", None, "refused")
    assert ran["seconds"] > 0 and refused["reason"] == "connection refused"


def test_json_has_a_line_for_each_host_that_was_not_started():
    status, stdout, _ = outcome(
        "--json", "--parallel", "1", "--stop-after", "1", "localhost", "127.0.0.1", "--", "false"
    )
    outcomes = [(result["host"], result["outcome"]) for result in map(json.loads, stdout.splitlines())]
    assert (status, outcomes) == (1, [("localhost", "failed"), ("127.0.0.1", "not_started")])


@pytest.mark.parametrize(("option", "text"), [("--json", '"stdout": "hello\\n"'), ("--gather", "\nhello\n")])
def test_output_goes_to_stdout_while_stderr_is_a_terminal(option, text):
    ours, terminal = pty.openpty()
    try:
        argv = [*REMOTO, option, "localhost", "--", "echo", "hello"]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=terminal, text=True, timeout=50)
        assert done.returncode == 0 and text in done.stdout
    finally:
        os.close(terminal)
        os.close(ours)


def test_gathered_output_of_a_command_that_timed_out_is_written():
    options = ["--gather", "--timeout", "2", "--kill-on-timeout", "--shell"]
    status, stdout, _ = outcome(*options, "localhost", "--", "echo before; exec sleep 100")
    assert (status, stdout.splitlines()[-1]) == (124, "before")


def test_gathered_output_is_escaped_line_by_line_unless_it_is_raw():
    arguments = ["localhost", "--", "printf", r"a\033[1m\fb\n"]
    assert outcome("--gather", *arguments)[1].splitlines()[-1] == r"a\x1b[1m\x0cb"
    assert outcome("--gather", "--raw", *arguments)[1].endswith("a\033[1m\fb\n")


def test_hosts_are_reached_through_relays(sshd, tmp_path):
    # the relay has no wrapper of ssh
    options = ["--ssh-options", f"-F {sshd.config}"]
    status, stdout, stderr = outcome(*options, "--via", "node8", "--via", "node9", "node[1-3]", "--", "echo", "x")
    assert (status, sorted(stdout.splitlines()), stderr) == (0, ["node1: x", "node2: x", "node3: x"], "")
    status, _, stderr = outcome("--via", "refused", "node1", "--", "true")
    assert status == 255 and "refused" in stderr and "relay" in stderr
    (tmp_path / "file").write_text("x")
    assert (
        outcome("put", *options, "--via", "node8", "node1", "--", str(tmp_path / "file"), str(tmp_path / "copy"))[0]
        == 0
    )


def test_hosts_log_in_one_after_the_other(sshd, tmp_path):
    # ssh and the remote Python log that they start
    log = tmp_path / "log"
    (tmp_path / "ssh").write_text(
        f'#!/bin/sh\n[ "$1" = -G ] || echo ssh >> {log}\nexec {sshd.wrapper_directory}/ssh "$@"\n'
    )
    (tmp_path / "interpreter").write_text(f'#!/bin/sh\necho python >> {log}\nexec python3 "$@"\n')
    for name in ("ssh", "interpreter"):
        (tmp_path / name).chmod(0o755)
    options = ["--logins", "1", "--interpreter", str(tmp_path / "interpreter")]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert outcome(*options, "node[1-6]", "--", "true", PATH=path) == (0, "", "")
    assert log.read_text().split() == ["ssh", "python"] * 6


def test_hosts_that_failed_are_saved_and_can_be_read(sshd, tmp_path):
    saved = tmp_path / "failed"
    outcome("--save-failed", str(saved), "node1", "refused", "unresolvable", "--", "true")
    assert saved.read_text().splitlines() == ["refused", "unresolvable"]
    assert outcome(f"@{saved}", "--exclude", "unresolvable", "--", "true")[0] == 255


def test_hosts_that_were_not_done_are_saved_after_ctrl_c(tmp_path):
    saved, ready = tmp_path / "failed", tmp_path / "ready"
    argv = [*REMOTO, "--save-failed", str(saved), "--parallel", "1", "--shell", "localhost", "127.0.0.1", "--"]
    with subprocess.Popen([*argv, f"touch {ready}; exec sleep 100"], stderr=subprocess.PIPE) as program:
        wait_until(ready.exists)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=50)
    assert program.returncode == 130 and saved.read_text().splitlines() == ["localhost", "127.0.0.1"]


def test_ctrl_c_does_not_wait_for_a_silent_host(sshd):
    mark = f"silent-{os.getpid()}"
    marked = {**os.environ, VARIABLE: mark}
    argv = [*REMOTO, "node1", "silent", "--", "sh", "-c", "echo begun; exec sleep 100"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=marked) as program:
        assert {program.stdout.readline() for _ in range(2)} == {b"node1: begun\n", b"silent: begun\n"}
        sshd.silence()
        try:
            program.send_signal(signal.SIGINT)
            # two seconds on a machine that has nothing else to do; it took five when it waited for ssh
            assert program.wait(4) == 130
            wait_until(lambda: not started_with(mark))
        finally:
            program.kill()
            sshd.unsilence()


def test_host_that_is_named_twice_is_used_once_with_a_warning():
    status, stdout, stderr = outcome("localhost", "localhost", "--", "echo", "x")
    assert (status, stdout, stderr) == (0, "x\n", "remoto: named more than once, used once: localhost\n")


def test_relay_that_cannot_be_reached_is_tried_once(sshd):
    # repeated logins with a wrong key may lock the user out
    status, _, stderr = outcome("--via", "wrongkey", "-v", "node[1-3]", "--", "true")
    assert status == 255 and stderr.splitlines()[-1] == "remoto: 3 of 3 hosts failed (3 unreachable)"
    assert stderr.count("WARNING:wrongkey:") == 1


def test_relays_may_be_a_pattern(sshd):
    status, stdout, _ = outcome(
        "--via", "node[8-9]", "node[1-2]", "--ssh-options", f"-F {sshd.config}", "--", "echo", "x"
    )
    assert (status, sorted(stdout.splitlines())) == (0, ["node1: x", "node2: x"])


def test_relays_are_assigned_to_patterns_and_other_hosts_are_connected_to_directly(sshd):
    hosts = ["node[1-3]", "refused", "unresolvable"]
    relays = ["--via", "node8=refused", "--via", f"-F {sshd.config} node9=node[2-5]", "--via", "node8=node1"]
    before = sshd.logins()
    status, stdout, stderr = outcome(*relays, *hosts, "--ssh-options", f"-F {sshd.config}", "--", "echo", "x")
    assert (status, sorted(stdout.splitlines())) == (255, ["node1: x", "node2: x", "node3: x"])
    # three hosts and two relays
    assert sshd.logins() == before + 5
    assert "remoto: refused: cannot connect to refused via node8: connection refused; " in stderr
    assert "remoto: unresolvable: cannot connect to unresolvable: " in stderr


def test_hosts_of_a_relay_that_cannot_be_reached_are_unreachable(sshd):
    status, stdout, _ = outcome("--json", "--via", "refused", "node1", "node2", "--", "true")
    results = [json.loads(line) for line in stdout.splitlines()]
    assert status == 255 and [(one["outcome"], one["kind"]) for one in results] == [("unreachable", "relay")] * 2
    assert "cannot connect to the relay: connection refused" in results[0]["reason"]


def test_no_further_host_is_started_once_too_many_have_failed(sshd, tmp_path):
    saved = tmp_path / "failed"
    options = ["--batch", "1,2", "--stop-after", "1", "--save-failed", str(saved)]
    status, _, stderr = outcome(*options, "node[1-6]", "--shell", "--", f"echo >> {tmp_path}/ran; exit 3")
    assert status == 3 and (tmp_path / "ran").read_text() == "\n"
    assert stderr.splitlines()[-1] == "remoto: 1 of 6 hosts failed (5 not started)"
    assert len(saved.read_text().splitlines()) == 6


def test_rsync_makes_a_copy_on_each_host(sshd, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("a")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "old").write_text("old")
    arguments = ("node1", "--", str(tmp_path / "source"), str(tmp_path / "copy"))
    assert outcome("rsync", "--delete", *arguments)[0] == 0
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["a"]
    assert outcome("rsync", "node1", "--", "/nonexistent", "/tmp/x")[0] == 1


def test_pods_are_chosen_by_their_labels(kube, docker_shell):
    for name in ("cli-0", "cli-1"):
        kube.add(name, {"main": ["docker", "exec", "-i", docker_shell]}, namespace="shop", labels={"app": "cli"})
    options = ["--backend", "k8s", "--namespace", "shop", "--selector", "app=cli", "--exclude", "shop/cli-1"]
    assert outcome(*options, "--", "echo", "x") == (0, "x\n", "")
    status, _, stderr = outcome(*options[:5], "app=none", "--", "true")
    assert status == 255 and stderr.startswith("remoto: cannot find pods app=none in namespace shop: none is running")


def test_skipped_pods_are_reported_and_failed_pods_can_be_read(kube, docker_shell, tmp_path):
    place, saved = ["docker", "exec", "-i", docker_shell], str(tmp_path / "failed")
    kube.add("left-0", {"main": place}, namespace="shop", labels={"app": "left"})
    kube.add("left-1", {"main": None}, namespace="shop", labels={"app": "left"}, phase="Pending")
    options = ["--backend", "k8s", "--namespace", "shop", "--save-failed", saved]
    status, _, stderr = outcome(*options, "--selector", "app=left", "--", "false")
    assert (status, stderr) == (1, "remoto: skipped: pod shop/left-1 is not running: Pending\n")
    assert outcome(*options, f"@{saved}", "--", "echo", "x") == (0, "x\n", "")


def test_containers_are_chosen_by_their_labels(docker, docker_shell):
    image, names = docker.client("inspect", "--format", "{{.Image}}", docker_shell).strip(), ("cli-web-0", "cli-web-1")
    for name in names:
        start = [
            "run",
            "--detach",
            "--network=none",
            "--stop-timeout=0",
            f"--name={name}",
            "--label",
            "app=a web, really",
        ]
        docker.client(*start, image, "sleep", "1000")
    try:
        options = ["--backend", "docker", "--label", "app=a web, really"]
        status, stdout, _ = outcome(*options, "--", "echo", "x")
        assert status == 0 and sorted(stdout.splitlines()) == ["cli-web-0: x", "cli-web-1: x"]
        assert outcome(*options, "--exclude", "cli-web-1", "--", "echo", "x") == (0, "x\n", "")
        status, _, stderr = outcome("--backend", "docker", "--label", "no-such-label", "--", "true")
        assert status == 255 and "none is running" in stderr
    finally:
        for name in names:
            docker.remove(name)
