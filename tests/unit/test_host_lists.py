"""Names and patterns of hosts."""

import io
import subprocess
import sys

import pytest

import remoto
from remoto.fleets import hosts
from remoto.fleets.hosts import expand, fold

pytest.importorskip("ClusterShell", reason="ClusterShell is not installed")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("node[1-9/4]", ["node1", "node5", "node9"]),
        ("node1", ["node1"]),
        (["b", "a", "b"], ["b", "a"]),
        ("node[01-03]", ["node01", "node02", "node03"]),
        ("node[1,5-7]", ["node1", "node5", "node6", "node7"]),
        ("rack[1-2]-node[1-2]", ["rack1-node1", "rack1-node2", "rack2-node1", "rack2-node2"]),
        ("node[1-3]!node2", ["node1", "node3"]),
        ("node[1-3]&node[2-4]", ["node2", "node3"]),
        (["fe80::1%eth0", "root@[::1]", "[fe80::1]"], ["fe80::1%eth0", "root@[::1]", "[fe80::1]"]),
        (["user@node1", "-F /etc/ssh.conf node1"], ["user@node1", "-F /etc/ssh.conf node1"]),
    ],
)
def test_patterns_are_expanded_and_names_are_unchanged(given, expected):
    assert expand(given) == expected


def test_excluded_hosts_are_removed():
    assert expand("node[1-4]", exclude=["node[2-3]", "node9"]) == ["node1", "node4"]


def test_file_names_hosts_with_comments_and_blank_lines(tmp_path):
    (tmp_path / "hosts").write_text("# all\nnode[1-2]\n\n  web   # the front end\nfe80::1\n")
    assert expand(f"@{tmp_path}/hosts") == ["node1", "node2", "web", "fe80::1"]


def test_file_may_begin_with_a_byte_order_mark_and_is_named_if_it_is_not_utf8(tmp_path):
    file = tmp_path / "hosts"
    file.write_bytes(b"\xef\xbb\xbfnode1\r\nnode2\r\n")
    assert expand(f"@{file}") == ["node1", "node2"]
    file.write_bytes(b"node1\n\xff\n")
    with pytest.raises(ValueError, match=f"^{file}: .*invalid start byte"):
        expand(f"@{file}")


def test_host_that_a_file_names_twice_is_used_once_with_a_warning(tmp_path):
    (tmp_path / "hosts").write_text("web\nnode1\nweb\n")
    with pytest.warns(UserWarning, match="^hosts: named more than once: web$"):
        assert list(remoto.Group(f"@{tmp_path}/hosts")) == ["web", "node1"]


def test_dash_reads_names_from_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\nb[1-2]\n"))
    assert expand(["x", "-"]) == ["x", "a", "b1", "b2"]


def test_missing_file_is_reported():
    with pytest.raises(FileNotFoundError):
        expand("@/nonexistent/hosts")


def test_group_is_looked_up_only_if_asked_for(monkeypatch, tmp_path):
    (tmp_path / "groups.conf").write_text("[Main]\ndefault: lab\n[lab]\nmap: echo node[1-2]\n")
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        expand("@web")
    code = "from remoto.fleets.hosts import expand; print(expand(['@web', 'x'], groups=True, exclude='@lab:web!node1'))"
    assert in_a_program(code) == ["['node1', 'x']"]


def in_a_program(code):
    """Run code in another process, since ClusterShell reads its configuration when it is imported."""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


@pytest.fixture
def groups_of_clustershell(monkeypatch, tmp_path):
    """Groups in a file, as ClusterShell has them by default."""
    directory = tmp_path / "clustershell"
    (directory / "groups.d").mkdir(parents=True)
    (directory / "groups.conf").write_text("[Main]\ndefault: lab\nautodir: $CFGDIR/groups.d\n")
    (directory / "groups.d" / "lab.yaml").write_text("lab:\n  web: node[1-3]\n  canary: node2\n  down: ''\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_a_group_of_hosts_takes_groups_of_clustershell_if_asked(groups_of_clustershell):
    with pytest.raises(FileNotFoundError):
        remoto.Group("@web")
    code = """
import remoto
group = remoto.Group(["@web", "x"], groups=True, via={"gate": "@canary"})
print(*group)
print(*group.only("@lab:canary", "x"))
print(*group.without("@canary"))
print([host for host in group if group[host].via])
"""
    assert in_a_program(code) == ["node1 node2 node3 x", "node2 x", "node1 node3 x", "['node2']"]


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ("@wbe", "@wbe: no such group"),
        ("@lab:wbe", "@lab:wbe: no such group"),
        ("@home:web", "@home:web: no source of groups in ClusterShell's groups.conf: home"),
        ("@down", "@down has no host"),
    ],
)
def test_an_unknown_group_is_an_error_and_an_empty_one_is_not(groups_of_clustershell, group, text):
    code = f"""
from remoto.fleets.hosts import expand
try:
    print("{group} has no host" if expand("{group}", groups=True) == [] else "hosts")
except ValueError as error:
    print(error)
"""
    assert in_a_program(code) == [text]


@pytest.mark.parametrize("configuration", ["no section\n", "[lab]\nmap: exit 3\n", "[lab]\nlist: echo web\n", ""])
def test_groups_that_clustershell_cannot_look_up_are_a_value_error(monkeypatch, tmp_path, configuration):
    (tmp_path / "groups.conf").write_text(configuration)
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(tmp_path))
    code = """
from remoto.fleets.hosts import expand
try:
    expand("@web", groups=True)
except ValueError as error:
    print(str(error).partition(":")[0])
"""
    assert in_a_program(code) == ["@web"]


@pytest.fixture
def never_expanded(monkeypatch):
    def expanded():
        raise AssertionError("the pattern was given to ClusterShell")

    monkeypatch.setattr(hosts, "_nodeset", expanded)


@pytest.mark.parametrize("pattern", ["node[1-200000]", "a[1-1000]b[1-1000]", "x[1-60000],y[1-60000]"])
def test_too_large_pattern_is_refused_before_it_is_expanded(pattern, never_expanded):
    with pytest.raises(ValueError, match=r"hosts; the limit is 100,000"):
        expand(pattern)


def test_patterns_that_are_too_large_together_are_refused_before_they_are_expanded(never_expanded, tmp_path):
    patterns = ["x[1-60000]", "y[1-60000]"]
    (tmp_path / "hosts").write_text("\n".join(patterns))
    refused = "^hosts: the patterns together name 120,000 hosts; the limit is 100,000$"
    for call in (expand, remoto.Group):
        for given in (patterns, f"@{tmp_path}/hosts"):
            with pytest.raises(ValueError, match=refused):
                call(given)
    with pytest.raises(ValueError, match=refused):
        remoto.Group({pattern: {} for pattern in patterns})


@pytest.mark.parametrize(
    "pattern",
    ["node[1-", "node[x-y]", "node1]", "node[]", "node[-1-3000000]", "node[1 - 3]", "node[1-3_000_000]", "node[5-1]"],
)
def test_invalid_pattern_is_a_value_error_that_names_it(pattern):
    with pytest.raises(ValueError, match="^node"):
        expand(pattern)


def test_without_clustershell_patterns_raise_an_error_with_advice_and_names_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "ClusterShell", None)
    monkeypatch.setitem(sys.modules, "ClusterShell.NodeSet", None)
    with pytest.raises(ValueError, match=r"pip install 'remoto\[fleet\]'"):
        expand("node[1-2]")
    assert expand(["node1", "fe80::1"]) == ["node1", "fe80::1"]
    assert fold(["node1", "node2"]) == "node1,node2"


def test_names_are_folded_to_a_pattern():
    assert fold(["node1", "node2", "node3", "web"]) == "node[1-3],web"
    assert fold(["fe80::1", "fe80::2"]) == "fe80::1,fe80::2"
