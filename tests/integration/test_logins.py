"""Logins against an sshd that refuses connections: MaxStartups, PerSourcePenalties, a wrong key."""

import os
import re
import socket
import subprocess
import sys
import threading

import pytest

import remoto
from remoto.backends import ssh_config
from remoto.exc import HostError
from remoto.process import check
from tests.integration.leftovers import wait_until
from tests.servers import newer_openssh as newer
from tests.servers.require import unavailable
from tests.servers.sshd import FLEET, Sshd, Unavailable


@pytest.fixture
def newer_openssh(monkeypatch):
    """ssh and sshd with PerSourcePenalties: this machine's, or others that were prepared."""
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < (9, 8):
        if not newer.programs().exists():
            pytest.skip("this OpenSSH has no PerSourcePenalties; python3 -m tests.servers.newer_openssh prepares one")
        monkeypatch.setenv("PATH", f"{newer.programs()}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def strict(monkeypatch, request):
    """An sshd with further settings, whose aliases are hostnames."""
    try:
        server = Sshd(request.param).__enter__()
    except Unavailable as problem:
        unavailable("sshd", problem)
    monkeypatch.setenv("PATH", f"{server.wrapper_directory}{os.pathsep}{os.environ['PATH']}")
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
    assert "maxstartups" in strict.log().lower()


@pytest.mark.parametrize("strict", ["PerSourcePenalties yes\nMaxStartups 3:50:5"], indirect=True)
@pytest.mark.timeout(240)
def test_sixty_hosts_are_reached_though_sshd_has_penalties(newer_openssh, strict):
    with remoto.Group(FLEET[:60], connect_timeout=120) as group:
        assert len(group.run("true").ok) == 60
    # what it refuses for its MaxStartups it does not penalise
    assert "maxstartups" in strict.log().lower() and "penalty" not in strict.log()


# on a busy machine, the next login begins some seconds after the failure
@pytest.mark.parametrize("strict", ["LogLevel VERBOSE\nPerSourcePenalties authfail:20s min:1s max:20s"], indirect=True)
@pytest.mark.timeout(240)
def test_other_hosts_connect_after_the_penalty_for_a_wrong_key(newer_openssh, strict):
    # parallel, since it keeps the order of the hosts; logins is a limit without an order
    with remoto.Group(["wrongkey", *FLEET[:8]], parallel=1, connect_timeout=120) as group:
        result = group.run("true")
    assert list(result.ok) == FLEET[:8]
    assert result.unreachable["wrongkey"].kind == "permission"
    assert strict.log().count("Failed publickey") == 1
    assert re.search("drop connection .* penalty: failed authentication", strict.log())


@pytest.mark.parametrize("strict", ["LogLevel VERBOSE\nPerSourcePenalties authfail:99s min:1s max:99s"], indirect=True)
def test_error_of_a_penalised_source_names_the_penalties(newer_openssh, strict):
    with remoto.Group(["wrongkey"]) as group:
        group.run("true")
    # sshd imposes it when it notices that the process of that login has ended
    wait_until(lambda: re.search("penalty of 99 seconds", strict.log()))
    with remoto.Group(["node1"], connect_timeout=5) as group:
        error = group.run("true").unreachable["node1"]
    assert error.kind == "closed" and "PerSourcePenalties" in str(error)


@pytest.mark.parametrize("strict", [""], indirect=True)
@pytest.mark.parametrize(
    ("host", "kind"),
    [("wrongkey", "permission"), ("refused", "refused"), ("changed", "hostkey"), ("unresolvable", "unresolvable")],
)
def test_errors_of_a_newer_ssh_are_recognised(newer_openssh, strict, host, kind):
    with pytest.raises(HostError) as caught:
        remoto.Connection(host)
    assert caught.value.kind == kind


@pytest.mark.parametrize("strict", [""], indirect=True)
def test_newer_ssh_logs_no_warning(newer_openssh, strict, caplog):
    with remoto.Connection("node1") as conn:
        assert check(conn, ["echo", "hello"]).stdout == ["hello"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


@pytest.fixture
def tries(sshd, tmp_path, monkeypatch):
    """A function that returns how often ssh was called to connect to a host, by its name."""
    calls, directory = tmp_path / "calls", tmp_path / "noting"
    directory.mkdir()
    (directory / "ssh").write_text(f'#!/bin/sh\necho "$*" >> {calls}\nexec {sshd.wrapper_directory}/ssh "$@"\n')
    (directory / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return lambda host: len([line for line in calls.read_text().splitlines() if f" {host} python3 -c " in line])


@pytest.mark.parametrize(
    ("proxy", "kind", "expected", "stderr"),
    [
        ("false", "proxy", 3, "UNKNOWN port 65535"),
        ('sh -c "echo 407 Proxy Authentication Required >&2; exit 1"', "proxy", 3, "407 Proxy Authentication Required"),
        ("/usr/bin/ssh -F {config} refused -W %h:%p", "refused", 1, "Connection refused"),
        ("/usr/bin/ssh -F {config} wrongkey -W %h:%p", "permission", 1, "Permission denied (publickey"),
        ("/usr/bin/ssh -F {config} node1 -W 127.0.0.1:{unused}", "refused", 1, "stdio forwarding failed"),
        ("/usr/bin/ssh -F {config} node1 -W no-such-host.invalid:22", "unresolvable", 1, "stdio forwarding failed"),
    ],
)
def test_proxy_command_that_fails_is_not_tried_for_all_of_connect_timeout(sshd, tries, proxy, kind, expected, stderr):
    with socket.socket() as bound:
        # no other program can listen there
        bound.bind(("127.0.0.1", 0))
        proxy = proxy.format(config=sshd.config, unused=bound.getsockname()[1])
        with remoto.Group(["node0"], ssh_options=f"-o 'ProxyCommand={proxy}'", connect_timeout=600) as group:
            error = group.run("true").unreachable["node0"]
    assert (error.kind, tries("node0")) == (kind, expected)
    assert stderr in error.stderr


@pytest.mark.parametrize("proxy", ["no-such-program", "/nonexistent/proxy", "/etc/passwd"])
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_proxy_command_that_cannot_be_run_is_tried_once(sshd, tries, shell, proxy, monkeypatch):
    # ssh starts it with the user's shell (ssh_config(5), ProxyCommand), and each shell has its own words
    monkeypatch.setenv("SHELL", shell)
    with remoto.Group(["node0"], ssh_options=f"-o 'ProxyCommand={proxy}'", connect_timeout=600) as group:
        error = group.run("true").unreachable["node0"]
    assert (error.kind, tries("node0")) == ("other", 1)
    assert "the ProxyCommand cannot be run" in str(error) and proxy in error.stderr


@pytest.mark.parametrize("strict", ["MaxStartups 3:50:5"], indirect=True)
@pytest.mark.timeout(240)
def test_hosts_are_reached_though_their_jump_host_refuses_many_logins_at_once(sshd, strict):
    # on PATH, ssh knows the aliases of the strict one
    options = f"-F {sshd.config} -o 'ProxyCommand=ssh -W %h:%p node0'"
    with remoto.Group(FLEET[:30], ssh_options=options, connect_timeout=120) as group:
        assert len(group.run("true").ok) == 30
    assert "maxstartups" in strict.log().lower()


@pytest.fixture
def behind(sshd, strict, tmp_path):
    """A configuration file for ssh: the aliases are those of the strict sshd, and ``gate`` is a jump host."""
    own = f"Port {sshd.port}\n  UserKnownHostsFile {sshd.directory}/known_hosts\n  IdentityFile {sshd.directory}/user"
    known = strict.config.read_text().replace("gate.example.com", "gate")
    (tmp_path / "config").write_text(f"Host gate\n  {own}\n{known}")
    return tmp_path / "config"


@pytest.mark.parametrize("strict", ["MaxStartups 3:50:5"], indirect=True)
@pytest.mark.timeout(240)
def test_hosts_behind_a_jump_host_are_reached_though_their_sshd_refuses_many_logins(behind, strict):
    options = f"-F {behind} -J gate"
    with remoto.Group(FLEET[:16], ssh_options=options, connect_timeout=120, connect_retries=0) as group:
        assert len(group.run("true").ok) == 16
    assert "maxstartups" in strict.log().lower()


def test_error_of_a_host_that_closes_connections_through_a_jump_host_names_maxstartups(sshd):
    """A listener that closes each connection, as sshd does beyond its MaxStartups."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        options = f"-F {sshd.config} -p {port} -o 'ProxyCommand=ssh -W %h:%p node1'"
        with pytest.raises(HostError) as caught:
            remoto.Connection("node0", ssh_options=options)
        thread.join(50)
    assert caught.value.kind == "closed" and "MaxStartups" in str(caught.value)


def test_wrong_key_is_offered_once(sshd, caplog, tries):
    with remoto.Group(["wrongkey"], connect_retries=5) as group:
        assert group.run("true").unreachable["wrongkey"].kind == "permission"
    assert tries("wrongkey") == 1
    logged = [record.getMessage() for record in caplog.records if record.name == "wrongkey"]
    assert len([line for line in logged if "Permission denied" in line]) == 1


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
    hops = {name: remoto.Connection(f"-F {config} {name}", eager=False).first_hop() for name in ("a1", "b1", "c1")}
    assert hops == {"a1": "first", "b1": "nc %h %p", "c1": ""}
    assert remoto.Connection("localhost", eager=False).first_hop() is None
    assert remoto.Connection("x1", ssh_options=f"-F {config} -J gate", eager=False).first_hop() == "gate"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ProxyJump gate", True),
        ("ProxyCommand ssh -W %h:%p gate", True),
        ("ProxyCommand exec /usr/bin/ssh -F other -W %h:%p gate", True),
        ("ProxyCommand ssh gate -W %h:%p", True),
        # quiet: an error may have been hidden
        ("ProxyCommand ssh -q -W %h:%p gate", False),
        ("ProxyCommand ssh -xq gate -W %h:%p", False),
        ("ProxyCommand ssh -o LogLevel=QUIET gate -W %h:%p", False),
        ("ProxyCommand ssh gate nc %h %p", False),
        ("ProxyCommand nc -W x %h %p", False),
        ("ProxyJump none", False),
        ("User root", False),
    ],
)
def test_jump_host_by_another_ssh_is_recognised(home, line, expected):
    (home / "config").write_text(f"Host *\n  {line}\n")
    found = ssh_config.configuration(["-F", str(home / "config"), "node1"])
    assert found.by_ssh == expected


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
    start.wait(50)
    remoto.Connection("localhost").exit()
with ThreadPoolExecutor(4) as threads:
    list(threads.map(connect, range(4)))
print(len(calls))
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert done.stdout == "1\n"
