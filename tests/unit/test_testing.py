"""The connections of remoto.testing work with all of remoto, and open nothing."""

import logging
import os
import posixpath
import subprocess
from pathlib import Path
from unittest import mock

import pytest

import remoto
from remoto import connection, process
from remoto.exc import CommandError, CommandTimeout, ConnectionLost, FileTransferError, FunctionError, HostError
from remoto.file_sync import get, put, rsync, rsync_conn
from remoto.process import check, run
from remoto.testing import Called, Hosts, Ran, ScriptedConnection, Unexpected


@pytest.fixture(autouse=True)
def no_process(monkeypatch):
    def refuse(*args, **kw):
        raise AssertionError(f"a process was started: {args}")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(os, "fork", refuse)


@pytest.fixture
def conn():
    return ScriptedConnection("node1")


@pytest.fixture
def hosts(monkeypatch):
    hosts = Hosts()
    monkeypatch.setattr("remoto.Connection", hosts)
    monkeypatch.setattr("remoto.connection.get", hosts.get)
    monkeypatch.setattr("remoto.file_sync.Connection", hosts)
    return hosts


# commands


def test_run_logs_as_with_a_real_connection(conn, caplog):
    caplog.set_level(logging.DEBUG)
    conn.on(["ls", "a b"], stdout="one\ntwo", stderr="careful\n", exit_code=2)
    with pytest.raises(CommandError, match="Failed to execute command: ls a b"):
        run(conn, ["ls", "a b"])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "Running command: ls a b"),
        ("DEBUG", "one"),
        ("WARNING", "careful"),
        ("DEBUG", "two"),
        ("ERROR", "RuntimeError: command returned non-zero exit status: 2"),
    ]


def test_script_records_commands(conn):
    conn.on(lambda command: True)
    check(conn, "ls | wc", shell=True, cwd="/tmp", stdin="text", extend_env={"A": "1"})
    check(conn, ["env"], env={"B": "2"})
    assert conn.ran == [
        Ran("ls | wc", b"text", None, {"A": "1"}, {"shell": True, "cwd": "/tmp"}),
        Ran(["env"], env={"B": "2"}),
    ]


@pytest.mark.parametrize("function", [run, check])
def test_script_records_timeout_kill_and_sudo(conn, function):
    conn.on(["service", "start"])
    function(conn, ["service", "start"], timeout=7)
    conn.sudo, conn.global_timeout, conn.kill_on_timeout = True, 0.25, True
    function(conn, ["service", "start"])
    assert [(ran.timeout, ran.kill_on_timeout, ran.sudo) for ran in conn.ran] == [(7, False, False), (0.25, True, True)]


def test_arguments_that_are_paths_or_bytes_match_text(conn):
    conn.on([Path("/bin/ls"), b"a\xff"], stdout="found\n")
    conn.on(("echo", "b"), stdout="b\n")
    assert check(conn, ["/bin/ls", b"a\xff"]).stdout == ["found"]
    assert check(conn, [b"echo", Path("b")]).stdout == ["b"]
    assert conn.ran[0].command == ["/bin/ls", "a\udcff"]


def test_answers_to_a_command_are_used_in_turn(conn):
    conn.on(["test", "-e", "/x"], exit_code=1)
    conn.on(["test", "-e", "/x"])
    assert [check(conn, ["test", "-e", "/x"]).returncode for _ in range(3)] == [1, 0, 0]


def test_script_makes_commands_time_out_or_lose_the_connection(conn):
    conn.on(["slow"], stdout="begun\n", times_out=True)
    conn.on(["fatal"], is_lost=True)
    assert run(conn, ["slow"], timeout=1) == -1
    assert check(conn, ["slow"], timeout=1, kill_on_timeout=True) == ([], [], -1)
    with pytest.raises(Unexpected, match="without a timeout"):
        check(conn, ["slow"])
    with pytest.raises(ConnectionLost, match="node1"):
        check(conn, ["fatal"])
    assert not conn.has_connection()
    with pytest.raises(ConnectionLost):
        check(conn, ["slow"])


@pytest.mark.parametrize("function", [run, check])
def test_timeout_is_reported_or_raised(conn, function):
    conn.on(["slow"], stdout="begun\n", stderr="so far", times_out=True)
    assert check(conn, ["slow"], timeout=1).timed_out
    with pytest.raises(CommandTimeout) as caught:
        function(conn, ["slow"], timeout=1, raise_on_timeout=True)
    error = caught.value
    assert (error.host, error.timeout, error.stdout, error.stderr) == ("node1", 1, ["begun"], ["so far"])
    shown = "\n".join(getattr(error, "__notes__", None) or [str(error.__cause__)])
    assert shown == "The command was left running; kill_on_timeout=True kills it."
    conn.raise_on_timeout = True
    with pytest.raises(CommandTimeout):
        function(conn, ["slow"], timeout=1)
    assert [ran.timeout for ran in conn.ran] == [1, 1, 1]


def test_missing_program_raises_command_error(conn):
    conn.on(["nope", "x"], is_missing=True)
    conn.on("nope x", is_missing=True)
    with pytest.raises(CommandError, match="Failed to execute command: nope x") as raised:
        run(conn, ["nope", "x"])
    assert raised.value.traceback.startswith("Traceback (most recent call last):\n")
    line = "FileNotFoundError: [Errno 2] No such file or directory: 'nope'"
    assert check(conn, ["nope", "x"], stop_on_error=False) == ([], [line], -1)
    assert check(conn, "nope x", shell=True) == ([], ["/bin/sh: 1: nope: not found"], 127)


def test_calls_without_an_answer_raise_unexpected(conn):
    with pytest.raises(Unexpected, match=r"node1: no answer in the script for the command \['rm', '-rf'\]"):
        run(conn, ["rm", "-rf"])
    with pytest.raises(Unexpected, match=r"exists\(\)"):
        conn.import_module(posixpath).exists("/")
    with pytest.raises(Unexpected, match="source that is sent: 'channel"):
        conn.execute("channel.send(1)")
    with pytest.raises(Unexpected, match="nothing is opened"):
        conn._open("ssh=node1//python=python3")


def test_unused_returns_answers_that_were_not_used(conn):
    conn.on(["one"])
    conn.on(["two"])
    conn.on(["two"])
    conn.on_call("exists", True)
    conn.on_call("isdir", True)
    check(conn, ["two"])
    conn.import_module(posixpath).isdir("/")
    assert conn.unused() == [["one"], ["two"], "exists"]
    check(conn, ["two"])
    assert conn.unused() == [["one"], "exists"]


# functions


def test_script_answers_and_records_function_calls(conn):
    remote = conn.import_module(posixpath)
    conn.on_call("exists", lambda path: path == "/there")
    assert remote.exists("/there") and not remote.exists(path="/elsewhere")
    with pytest.raises(AttributeError, match="module <module .posixpath.* does not have attribute nothing"):
        remote.nothing()
    assert conn.calls == [
        Called("posixpath", "exists", ("/there",), {}),
        Called("posixpath", "exists", (), {"path": "/elsewhere"}),
    ]
    with conn:
        pass
    with pytest.raises(ConnectionLost):
        remote.exists("/there")


def test_answers_of_a_function_are_used_in_turn(conn):
    remote = conn.import_module(posixpath)
    conn.on_call("exists", False)
    conn.on_call("exists", True)
    conn.on_call("posixpath.isdir", "the module's own")
    conn.on_call("isdir", "any module's")
    assert [remote.exists("/x") for _ in range(3)] == [False, True, True]
    assert remote.isdir("/x") == "the module's own"


def test_docstring_is_logged(conn, caplog):
    caplog.set_level(logging.DEBUG)
    conn.on_call("exists", True)
    conn.import_module(posixpath).exists("/x")
    assert caplog.messages == [posixpath.exists.__doc__.split("\n")[0]]


def raising(path):
    raise KeyError(path)


@pytest.mark.parametrize(
    ("answer", "name", "message"),
    [
        (RuntimeError("no such disk"), "RuntimeError", "no such disk"),
        (OSError, "OSError", ""),
        (subprocess.SubprocessError("x"), "subprocess.SubprocessError", "x"),
        (raising, "KeyError", "'/x'"),
    ],
)
def test_exception_as_answer_raises_function_error(conn, answer, name, message):
    conn.on_call("getsize", answer)
    with pytest.raises(FunctionError) as raised:
        conn.import_module(posixpath).getsize("/x")
    error = raised.value
    assert (error.host, error.function, error.exception_name, error.message) == ("node1", "getsize", name, message)
    assert error.traceback.startswith("Traceback (most recent call last):\n") and name in str(error)


def test_errors_of_remoto_and_of_the_test_are_raised_unchanged(conn):
    remote = conn.import_module(posixpath)
    conn.on_call("exists", ConnectionLost("node1", "exists()", "gone"))
    conn.on_call("exists", mock.Mock(side_effect=AssertionError("the test's own")))
    conn.on_call("exists", ModuleNotFoundError("No module named 'yaml'"))
    for kind in (ConnectionLost, AssertionError, ImportError):
        with pytest.raises(kind):
            remote.exists("/x")


def test_arguments_that_cannot_be_sent_are_refused(conn):
    conn.on_call("exists", True)
    with pytest.raises(TypeError, match=r"argument 1 of exists\(\): object can't be sent"):
        conn.import_module(posixpath).exists(object())
    conn.remote_import_system = "json"
    with pytest.raises(TypeError, match=r"argument 1 of exists\(\): complex .*JSON calls"):
        conn.import_module(posixpath).exists(1j)
    assert conn.calls == []


# files


def test_put_and_get_use_the_files_of_the_script(conn, tmp_path):
    put(conn, b"hello\n", "/etc/motd")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<h1>hello</h1>")
    put(conn, tmp_path / "site", "/srv/")
    assert conn.files == {"/etc/motd": b"hello\n", "/srv/site/index.html": b"<h1>hello</h1>"}
    conn.files["/var/log/syslog"] = "one\n"
    get(conn, "/var/log/syslog", tmp_path)
    assert (tmp_path / "syslog").read_bytes() == b"one\n"
    del conn.files["/etc/motd"]
    assert "/etc/motd" not in conn.files and len(conn.files) == 2


def test_rsync_conn_uses_the_files_of_the_script(conn, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "index.html").write_text("hello")
    rsync_conn(conn, tmp_path, "/srv/www")
    rsync_conn(conn, tmp_path, "/srv/www")
    assert caplog.messages == ["syncing file: index.html"]
    (tmp_path / "index.html").rename(tmp_path / "other.html")
    rsync_conn(conn, tmp_path, "/srv/www", delete=True)
    assert conn.files == {"/srv/www/other.html": b"hello"}


def test_exception_as_contents_raises_file_transfer_error(conn, tmp_path):
    conn.files["/etc/motd"] = PermissionError(13, "Permission denied")
    for transfer in (lambda: put(conn, b"x", "/etc/motd"), lambda: get(conn, "/etc/motd", tmp_path)):
        with pytest.raises(FileTransferError, match="node1: .*/etc/motd: Permission denied") as raised:
            transfer()
        assert (raised.value.path, raised.value.errno) == ("/etc/motd", 13)
    with pytest.raises(FileTransferError) as raised:
        get(conn, "/nope", tmp_path)
    assert (raised.value.path, raised.value.reason) == ("/nope", "No such file or directory")
    conn.files["/etc/motd"] = ConnectionError()
    with pytest.raises(ConnectionLost):
        put(conn, b"x", "/etc/motd")
    assert not conn.has_connection()


def test_paths_stay_in_the_directory(conn):
    conn.files["/../../etc/motd"] = b"x"
    assert list(conn.files) == ["/etc/motd"]


# connections


def test_scripted_connection_has_a_gateway_and_an_environment(conn):
    assert conn.gateway.hasreceiver() and conn.has_connection()
    assert process.extend_env(conn, {})["env"]["PATH"].split(":")[0] == "/usr/local/bin"
    lazy = ScriptedConnection("node1", eager=False)
    assert not lazy.has_connection()
    lazy.on(["true"])
    assert check(lazy, ["true"]).returncode == 0 and lazy.has_connection()


def test_hosts_replaces_connection(hosts):
    hosts["node1"].on(["uname"], stdout="Linux\n")
    for _ in range(2):
        with remoto.Connection("node1", sudo=True) as conn:
            assert check(conn, ["uname"]).stdout == ["Linux"]
            assert not conn.remote_module
    assert [ran.sudo for ran in hosts["node1"].ran] == [True, True]
    with pytest.raises(ConnectionLost):
        check(conn, ["uname"])
    with pytest.raises(ValueError, match="a hostname can't begin with a dash"):
        remoto.Connection("-oProxyCommand=x")


def test_unreachable_host_raises_host_error(hosts):
    hosts["node1"].unreachable()
    hosts["node2"].unreachable(HostError("connection refused", host="node2", kind="refused"))
    with pytest.raises(HostError, match="cannot connect to node1: no route to host"):
        remoto.Connection("node1")
    lazy = remoto.Connection("node2", eager=False)
    with pytest.raises(HostError) as raised:
        check(lazy, ["true"])
    assert raised.value.kind == "refused"


def test_containers_answer_from_their_scripts(hosts, caplog):
    caplog.set_level(logging.INFO)
    hosts["web"].on(["cat", "/etc/hostname"], stdout="web\n")
    web = connection.get("docker")("node1", container_name="web", user="app")
    assert check(web, ["cat", "/etc/hostname"], cwd="/tmp").stdout == ["web"]
    assert caplog.messages == ["Running command: docker exec -i -u app web /bin/sh -c cat /etc/hostname"]
    assert hosts["web"].ran == [Ran(["cat", "/etc/hostname"], popen={"cwd": "/tmp"})]
    assert isinstance(web, connection.docker.DockerConnection) and web.hostname == "node1"
    with pytest.raises(TypeError, match="umask"):
        check(web, ["cat", "/etc/hostname"], umask=0)
    put(web, b"x", "/etc/x")
    hosts["web"].on_call("exists", True)
    assert web.import_module(posixpath).exists("/etc/x")
    assert hosts["web"].files == {"/etc/x": b"x"}
    pod = connection.get("k8s")("web-0", namespace="shop")
    assert pod.namespace == "shop" and hosts["web-0"].ran == []
    assert connection.get("local")().hostname == "localhost"
    with pytest.warns(UserWarning, match="baremetal") as warned:
        assert connection.get("baremetal", fallback=None) is None
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"stdout": ["x"]}, r"^stdout: expected str or bytes, not list: \['x'\]$"),
        ({"stderr": 3}, "^stderr: expected str or bytes, not int: 3$"),
        ({"exit_code": "3"}, "^exit_code: expected int, not str: '3'$"),
    ],
)
def test_answer_of_the_wrong_type_is_refused(conn, answer, expected):
    with pytest.raises(TypeError, match=expected):
        conn.on(["uname"], **answer)


def test_file_of_the_wrong_type_is_refused_and_not_made(conn):
    with pytest.raises(TypeError, match="^content: expected str or bytes, not list: "):
        conn.files["/etc/motd"] = ["x"]
    assert conn.files == {}


def test_rsync_writes_to_the_files_of_the_scripts(hosts, tmp_path):
    (tmp_path / "index.html").write_text("hello")
    hosts["node3"].unreachable()
    with pytest.raises(OSError, match="1 of 3 hosts"):
        rsync(["node1", "node2", "node3"], tmp_path, "/srv/www")
    assert hosts["node1"].files == hosts["node2"].files == {"/srv/www/index.html": b"hello"}
