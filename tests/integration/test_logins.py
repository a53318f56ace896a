"""Logins against an sshd that refuses connections: MaxStartups, PerSourcePenalties, a wrong key."""

import os
import re
import subprocess
import sys

import pytest

import remoto
from remoto.backends import ssh_config
from tests.servers.require import unavailable
from tests.servers.sshd import FLEET, Sshd, Unavailable


@pytest.fixture
def strict(monkeypatch, request):
    """An sshd with further settings, whose aliases are hostnames."""
    try:
        server = Sshd(request.param).__enter__()
    except Unavailable as problem:
        unavailable("sshd", problem)
    monkeypatch.setenv("PATH", f"{server.wrapper_folder}{os.pathsep}{os.environ['PATH']}")
    yield server
    server.__exit__()


@pytest.mark.parametrize("strict", ["MaxStartups 3:50:5"], indirect=True)
@pytest.mark.timeout(240)
def test_sixty_hosts_are_reached_though_sshd_refuses_many_logins_at_once(strict, caplog):
    with remoto.Group(FLEET[:60], connect_timeout=120) as group:
        assert len(group.run("true").ok) == 60
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    # nothing about the retried logins
    assert warnings == []


def _knows_penalties():
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= (9, 8)


@pytest.mark.skipif(not _knows_penalties(), reason="this OpenSSH has no PerSourcePenalties")
@pytest.mark.parametrize("strict", ["PerSourcePenalties yes\nMaxStartups 3:50:5"], indirect=True)
@pytest.mark.timeout(240)
def test_sixty_hosts_are_reached_though_sshd_has_penalties(strict):
    with remoto.Group(FLEET[:60], connect_timeout=120) as group:
        assert len(group.run("true").ok) == 60


def test_wrong_key_is_offered_once(sshd, caplog, tmp_path):
    calls = tmp_path / "calls"
    wrapper = tmp_path / "ssh"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {sshd.wrapper_folder}/ssh "$@"\n')
    wrapper.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        with remoto.Group(["wrongkey"], connect_retries=5) as group:
            assert group.run("true").unreachable["wrongkey"].kind == "permission"
    assert len([line for line in calls.read_text().splitlines() if not line.startswith("-G")]) == 1
    said = [record.getMessage() for record in caplog.records if record.name == "wrongkey"]
    assert len([line for line in said if "Permission denied" in line]) == 1


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory instead of ``~/.ssh``, and the real ssh."""
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setattr(ssh_config, "_home", lambda: str(tmp_path))
    monkeypatch.setattr(ssh_config, "SYSTEM", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / ".ssh"


@pytest.mark.parametrize(
    ("config", "asks"),
    [
        ("", False),
        ("Host node*\n  User root\n  Port 2222\n", False),
        ("Host node*\n  ProxyJump bastion\n", True),
        ("match all\n  User root\n", True),
        ("Host x\n  ServerAliveInterval=5\n", True),
        ("Host x\n  # ProxyJump bastion\n", False),
        ("Include more/*\n", True),
        ("Include ~/.ssh/more/one\n", True),
        ("Include none/*\n", False),
        ("Include %d/x\n", True),
    ],
)
def test_ssh_g_is_run_only_if_a_configuration_file_has_a_keyword_that_matters(home, config, asks, monkeypatch):
    (home / "config").write_text(config)
    (home / "more").mkdir()
    (home / "more" / "one").write_text("Host x\n  proxycommand nc %h %p\n")
    asked = []
    run = subprocess.run

    def noted(argv, **keywords):
        asked.append(argv)
        return run(argv, **keywords)

    monkeypatch.setattr(subprocess, "run", noted)
    found = ssh_config.configuration([f"host-{home.parent.name}"])
    assert found.keepalive == 0 and bool(asked) == asks


def test_logins_are_limited_for_the_first_jump_host(home):
    (home / "config").write_text("Host a*\n  ProxyJump first,second\nHost b*\n  ProxyCommand nc %h %p\n")
    config = str(home / "config")
    doors = {name: remoto.Connection(f"-F {config} {name}", eager=False).login_door() for name in ("a1", "b1", "c1")}
    assert doors == {"a1": "first", "b1": "nc %h %p", "c1": ""}
    assert remoto.Connection("localhost", eager=False).login_door() is None
    assert remoto.Connection("x1", ssh_options=f"-F {config} -J gate", eager=False).login_door() == "gate"


def test_threads_that_connect_at_the_same_time_make_the_first_line_once():
    code = """
import threading
from concurrent.futures import ThreadPoolExecutor
import remoto, remoto.remote
package, calls, start = remoto.remote.package, [], threading.Barrier(4)
def counted(*arguments, **keywords):
    calls.append(1)
    return package(*arguments, **keywords)
remoto.remote.package = counted
def connect(_):
    start.wait(30)
    remoto.Connection("localhost").exit()
with ThreadPoolExecutor(4) as threads:
    list(threads.map(connect, range(4)))
print(len(calls))
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert done.stdout == "1\n"
