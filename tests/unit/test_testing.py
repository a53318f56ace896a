"""remoto.testing: run, check and import_module can't tell its connection from a real one."""

import logging
import posixpath

import pytest

from remoto.exc import CommandError, ConnectionLost, FunctionError
from remoto.process import check, run
from remoto.testing import Ran, ScriptedConnection, Unexpected


@pytest.fixture
def conn():
    return ScriptedConnection("node1")


def test_run_logs_as_ever(conn, caplog):
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


def test_what_was_run(conn):
    conn.on(lambda command: True)
    check(conn, "ls | wc", shell=True, cwd="/tmp", stdin="text", extend_env={"A": "1"})
    check(conn, ["env"], env={"B": "2"})
    assert conn.ran == [
        Ran("ls | wc", b"text", None, {"A": "1"}, {"shell": True, "cwd": "/tmp"}),
        Ran(["env"], None, {"B": "2"}, {}, {}),
    ]


def test_answers_in_turn(conn):
    conn.on(["test", "-e", "/x"], exit_code=1)
    conn.on(["test", "-e", "/x"])
    assert [check(conn, ["test", "-e", "/x"]).returncode for _ in range(3)] == [1, 0, 0]


def test_failures(conn):
    conn.on(["missing"], is_missing=True)
    conn.on(["slow"], stdout="begun\n", times_out=True)
    conn.on(["fatal"], is_lost=True)
    with pytest.raises(CommandError):
        run(conn, ["missing"])
    assert run(conn, ["slow"], timeout=1) == -1
    assert check(conn, ["slow"], timeout=1) == ([], [], -1)
    with pytest.raises(Unexpected, match="without a timeout"):
        check(conn, ["slow"])
    with pytest.raises(ConnectionLost, match="node1"):
        check(conn, ["fatal"])
    assert not conn.has_connection()
    with pytest.raises(ConnectionLost):
        check(conn, ["missing"])


def test_what_the_script_does_not_know(conn):
    with pytest.raises(Unexpected, match=r"node1: no answer in the script for the command \['rm', '-rf'\]"):
        run(conn, ["rm", "-rf"])
    with pytest.raises(Unexpected, match=r"exists\(\)"):
        conn.import_module(posixpath).exists("/")


def test_functions(conn):
    remote = conn.import_module(posixpath)
    conn.on_call("exists", lambda path: path == "/there")
    conn.on_call("getsize", OSError("no such file"))
    assert remote.exists("/there") and not remote.exists("/elsewhere")
    with pytest.raises(FunctionError, match="OSError: no such file"):
        remote.getsize("/x")
    with pytest.raises(AttributeError, match="module posixpath does not have attribute nothing"):
        remote.nothing()
    assert conn.calls == [("exists", ("/there",), {}), ("exists", ("/elsewhere",), {}), ("getsize", ("/x",), {})]
    with conn:
        pass
    with pytest.raises(ConnectionLost):
        remote.exists("/there")
