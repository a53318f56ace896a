"""Invalid values are refused before anything starts; the error says what is expected."""

import warnings

import pytest

import remoto
from remoto.process import check, run
from remoto.testing import ScriptedConnection


@pytest.fixture
def conn():
    conn = ScriptedConnection("node1")
    conn.on(lambda command: True)
    yield conn
    conn.exit()


@pytest.mark.parametrize("function", [run, check])
@pytest.mark.parametrize(
    "wrong", ["node1", None, 3, remoto.Connection, object()], ids=lambda wrong: type(wrong).__name__
)
def test_object_that_is_not_a_connection_is_refused(function, wrong):
    with pytest.raises(TypeError, match="^conn: expected a connection, not "):
        function(wrong, ["true"], exit=True)


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"env": [1]}, r"env: expected a mapping of names to values, not list: \[1\]"),
        ({"extend_env": "A=1"}, "extend_env: expected a mapping of names to values, not str: 'A=1'"),
        ({"on_stdout": 3}, "on_stdout: expected a callable, not int: 3"),
        ({"on_stderr": "x"}, "on_stderr: expected a callable, not str: 'x'"),
        ({"stdout": 1}, "stdout: not supported: remoto reads the output itself"),
        ({"stderr": None}, "stderr: not supported: remoto reads the output itself"),
        ({"timout": 1}, "timout: unknown keyword, neither of remoto nor of subprocess.Popen"),
        ({"cwd": 3}, "cwd: expected str, bytes or a path, not int: 3"),
        ({"umask": 2**40}, "umask: expected 0 to 0o777, not 0o20000000000000"),
        ({"umask": -(2**40)}, "umask: expected 0 to 0o777"),
        ({"umask": "022"}, "umask: expected int, not str: '022'"),
        ({"process_group": -(2**40)}, "process_group: int can't be sent to the remote side"),
        ({"preexec_fn": print}, "preexec_fn: builtin_function_or_method can't be sent to the remote side"),
        ({"cwd": "/tmp\0x"}, "cwd: embedded null byte"),
        ({"timeout": "5"}, "timeout: expected seconds, not str"),
    ],
    ids=str,
)
@pytest.mark.parametrize("function", [run, check])
def test_unknown_or_unsupported_keyword_is_refused(conn, function, keywords, expected):
    with pytest.raises((TypeError, ValueError), match=f"^({expected})"):
        function(conn, ["true"], **keywords)
    assert conn.ran == []


@pytest.mark.parametrize("command", [["echo", "a\0b"], "echo a\0b", ["echo", b"\0"]], ids=repr)
def test_null_byte_in_a_command_is_refused(conn, command):
    with pytest.raises(ValueError, match="^command: embedded null byte: "):
        check(conn, command)
    assert conn.ran == []


@pytest.mark.parametrize("command", [3, None, {"ls": 1}, ["ls", 3], [None]], ids=repr)
def test_object_that_is_not_a_command_is_refused(conn, command):
    with pytest.raises(TypeError, match="^command: expected "):
        check(conn, command)
    assert conn.ran == []


def test_stop_on_nonzero_is_a_keyword_of_run(conn):
    with pytest.raises(TypeError, match=r"^stop_on_nonzero: not supported: check\(\) always returns the exit status"):
        check(conn, ["true"], stop_on_nonzero=False)
    assert run(conn, ["true"], stop_on_nonzero=False) == 0


def test_invalid_global_timeout_is_refused(conn):
    conn.global_timeout = "5"
    with pytest.raises(TypeError, match="^global_timeout: expected seconds, not str"):
        check(conn, ["true"])


def test_none_means_the_default_of_a_popen_keyword(conn):
    check(conn, ["true"], cwd=None, user=None, executable=None)
    assert conn.ran[0].popen == {}


@pytest.mark.parametrize("function", [run, check])
def test_shell_with_a_list_of_several_warns_the_caller(conn, function):
    with pytest.warns(UserWarning, match="only the first is the command.*'ls -a'") as caught:
        function(conn, ["ls", "-a"], shell=True)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(conn, ["ls -a"], shell=True)
        function(conn, "ls -a", shell=True)
