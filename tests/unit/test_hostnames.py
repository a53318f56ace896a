"""A hostname that could be parsed as something else is refused before anything is started."""

import subprocess

import pytest

import remoto
from remoto.backends.ssh import split_hostname, ssh_argv
from remoto.exc import HostError, InvalidHostname
from remoto.gateways import bootstrap


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch):
    def refuse(*args, **kw):
        raise AssertionError(f"started: {args}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.mark.parametrize(
    "hostname",
    [
        "-oProxyCommand=touch /tmp/owned",
        "-oProxyCommand=id",
        "-p 22 node1",
        "node1 -p 22",
        "-F",
        "-F /etc/x",
        "-F -oProxyCommand=id node1",
        "-F /etc/x -oProxyCommand=id",
        "-F /etc/x node1 node2",
        "root@-oProxyCommand=id",
        "-l@node1",
        "",
        " ",
        "root@",
        "@node1",
        "node1\nnode2",
        "node1;id",
        "$(id)",
        "`id`",
        "a|b",
        "'node1'",
        "no'de",
        "user;id@node1",
        "node1\0",
        "node1\\a",
        "node1>file",
        "-F '/etc/x node1",
        "-F /etc/x -p 22 node1",
    ],
)
def test_ambiguous_hostname_is_refused(hostname):
    for eager in (True, False):
        with pytest.raises(InvalidHostname) as caught:
            remoto.Connection(hostname, eager=eager)
        assert isinstance(caught.value, HostError) and isinstance(caught.value, ValueError)
        assert caught.value.kind == "hostname"


@pytest.mark.parametrize(
    ("hostname", "words"),
    [
        ("node1", ["node1"]),
        ("root@node1.example.com", ["root@node1.example.com"]),
        ("10.0.0.1", ["10.0.0.1"]),
        ("fe80::1%eth0", ["fe80::1%eth0"]),
        ("DOMAIN+user.name@node_1", ["DOMAIN+user.name@node_1"]),
        ("DOMAIN\\user@node1", ["DOMAIN\\user@node1"]),
        ("me@example.com@node1", ["me@example.com@node1"]),
        ("ssh://root@node1:2222", ["ssh://root@node1:2222"]),
        ("-F /path/to/ssh_config user@node1", ["-F", "/path/to/ssh_config", "user@node1"]),
        ("-F '/path with blank' node1", ["-F", "/path with blank", "node1"]),
    ],
)
def test_hostname_is_accepted(hostname, words):
    assert split_hostname(hostname) == words


def test_ssh_argv_starts_the_interpreter():
    argv = ssh_argv(["-p", "22", "node1"], "sudo python3", keepalive=None)
    assert argv[:5] == ["ssh", "-T", "-p", "22", "node1"]
    assert argv[5].startswith('sudo python3 -c "') and len(argv) == 6


def test_options_with_an_open_quote_are_refused():
    with pytest.raises(HostError, match="ssh_options: No closing quotation"):
        remoto.Connection("node1", ssh_options="-o 'x", use_ssh=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [(None, []), ("-o 'ProxyCommand=nc a//b %h' -i '/a b'", ["-o", "ProxyCommand=nc a//b %h", "-i", "/a b"])],
)
@pytest.mark.parametrize("hostname", ["DOMAIN\\user@node1", "-F '/etc/l ab.conf' node1"])
def test_ssh_is_started_with_options_and_hostname(hostname, options, expected, monkeypatch):
    started = []
    monkeypatch.setattr(bootstrap, "open_gateway", lambda argv, **kw: started.append(argv))
    remoto.Connection(hostname, ssh_options=options, keepalive=None)
    assert started[0][:-1] == ["ssh", "-T", *expected, *split_hostname(hostname)]
