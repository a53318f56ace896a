"""Any answer of the remote side to a command gives a result, or an error that names the host."""

import logging
import pickle
from unittest import mock

import execnet
import pytest
from execnet.gateway import Gateway

from remoto.exc import CommandError, ConnectionLost
from remoto.process import CheckResult, check, extend_env, run

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies


class Channel:
    """A channel that receives the given items; then the connection ends."""

    def __init__(self, items):
        self.items = list(items)

    def receive(self, timeout=None):
        if not self.items:
            raise EOFError
        return self.items.pop(0)

    def send(self, item):
        pass

    def close(self):
        pass


def connection(*items):
    conn = mock.Mock(sudo=False, hostname="node1", global_timeout=None, logger=logging.getLogger("answers"))
    conn.cmd = lambda command: command
    conn.execute.return_value = Channel(items)
    return conn


# all types that execnet can serialise
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text() | st.complex_numbers()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
kinds = st.integers(-1, 5)
statuses = values | st.tuples(st.text(), st.integers() | st.none(), st.booleans(), values)
items = values | st.tuples(kinds, values) | st.tuples(values, values, statuses) | st.tuples(st.just(0), statuses)
fuzzed = hypothesis.settings(max_examples=300, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))


def nested(depth):
    value = ()
    for _ in range(depth):
        value = (value,)
    return value


@pytest.mark.parametrize("function", [run, check])
@hypothesis.given(st.lists(items, min_size=1, max_size=3))
@hypothesis.example([(7, b"x")])
@hypothesis.example([(0, "0")])
@hypothesis.example([(0, ["client", 1, True, b""])])
@hypothesis.example([10**6000])
@hypothesis.example([(1, "€")])
@hypothesis.example([(3, 5)])
@hypothesis.example([(True, b"x")])
@fuzzed
def test_any_answer_gives_a_result_or_an_error_that_names_the_host(function, answers):
    try:
        result = function(connection(*answers), ["ls"], stop_on_nonzero=False) if function is run else None
        result = check(connection(*answers), ["ls"]) if function is check else result
    except ConnectionLost as error:
        assert isinstance(error, RuntimeError) and error.host == "node1" and "ls" in str(error)
        assert len(str(error)) < 2000
    else:
        assert type(result) is int or (type(result) is CheckResult and type(result.returncode) is int)


@pytest.mark.parametrize("function", [run, check])
@pytest.mark.parametrize(
    "answer", [nested(100_000), (1, nested(100_000)), b"x" * 10_000_000, 10**6000], ids=["0", "1", "2", "3"]
)
def test_invalid_answer_of_any_depth_and_size_gives_a_short_error(function, answer):
    with pytest.raises(ConnectionLost, match="invalid answer") as caught:
        function(connection(answer), ["ls"])
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("answer", [(7, b"x"), "rubbish", None, (0, None), (1, 3), (2**40, b""), {1: 2}], ids=repr)
def test_error_shows_the_invalid_answer(answer):
    for function in (run, check):
        with pytest.raises(ConnectionLost, match=r"invalid answer: .*node1, ls") as caught:
            function(connection(answer), ["ls"])
        assert repr(answer) in str(caught.value)


@hypothesis.given(values)
@hypothesis.example([[1, 2]])
@hypothesis.example({1: 2})
@hypothesis.example("PATH")
@fuzzed
def test_any_environment_is_accepted_or_gives_an_error_that_names_the_host(answer):
    conn = mock.Mock(hostname="node1")
    conn.gateway = mock.Mock(spec=Gateway)
    conn.gateway.remote_exec.return_value.receive.return_value = answer
    try:
        env = extend_env(conn, {})["env"]
    except ConnectionLost as error:
        assert error.host == "node1" and "environment" in str(error)
    else:
        assert all(isinstance(text, str) for pair in env.items() for text in pair)


# errors


def test_error_of_a_failed_command_has_the_last_stderr_lines():
    lines = b"".join(b"line %d\n" % number for number in range(100)) + b"x" * 10_000 + b"\nlast \xff"
    with pytest.raises(CommandError) as caught:
        run(connection((2, lines), (0, 3)), ["ls", "-a"])
    error = caught.value
    assert str(error) == "Failed to execute command: ls -a"
    assert (error.host, error.exit_code, error.reason) == ("node1", 3, "")
    lines = error.stderr.splitlines()
    assert len(lines) == 10 and lines[-1] == r"last \xff" and len(lines[-2]) < 1000 and lines[0] == "line 92"
    assert pickle.loads(pickle.dumps(error)).stderr == error.stderr


def test_error_of_a_failed_command_has_the_last_stderr_lines_of_blocks():
    with pytest.raises(CommandError) as caught:
        run(connection((2, b"one\ntw"), (2, b"o\xff"), (0, 3)), ["ls"], text=False)
    assert caught.value.stderr == "one\ntwo\\xff"


NOT_STARTED = """\
Traceback (most recent call last):
  File "execnet/gateway_base.py", line 1295, in executetask
  File "<string>", line 38, in call
  File "remoto/remote/command.py", line 84, in start
    return subprocess.Popen(
           ^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/subprocess.py", line 1950, in _execute_child
    raise child_exception_type(errno_num, err_msg, err_filename)
FileNotFoundError: [Errno 2] No such file or directory: 'foo'
"""


def not_started(command, traceback=NOT_STARTED, **kw):
    conn = connection()
    conn.execute.return_value = mock.Mock(receive=mock.Mock(side_effect=execnet.RemoteError(traceback)))
    with pytest.raises(CommandError) as caught:
        check(conn, command, **kw)
    return caught.value


def shown(error):
    """Return what a traceback shows besides the error's text."""
    return "\n".join(getattr(error, "__notes__", None) or [str(error.__cause__)])


def test_error_of_a_command_that_cannot_be_started_has_the_reason(caplog):
    error = not_started(["foo", "-a"])
    assert str(error) == "Failed to execute command: foo -a"
    assert (error.host, error.exit_code, error.reason) == ("node1", None, "No such file or directory: 'foo'")
    assert error.traceback == NOT_STARTED and shown(error) == "node1: No such file or directory: 'foo'"
    logged = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    lines = NOT_STARTED.splitlines()
    assert logged == [lines[0], *lines[6:]]


def test_traceback_of_a_failed_command_shows_exit_status_and_stderr():
    with pytest.raises(CommandError) as caught:
        run(connection((2, b"no such thing\n"), (0, 3)), ["ls"])
    assert shown(caught.value) == "node1: exit status 3\n    no such thing"


@pytest.mark.parametrize(
    ("command", "named", "popen", "expected"),
    [
        ("ls -a", "'ls -a'", {}, True),
        ("ls|wc", "'ls|wc'", {}, True),
        ("foo", "'foo'", {}, False),
        ("ls -a", "'/nope'", {"cwd": "/nope"}, False),
        (["ls -a"], "'ls -a'", {}, False),
    ],
)
def test_shell_advice_is_given_for_a_string(command, named, popen, expected):
    error = not_started(command, f"OSError: [Errno 2] No such file or directory: {named}", **popen)
    assert ("shell=True" in shown(error)) is expected and bool(error.advice) is expected


def test_shell_advice_is_given_for_python_2_whose_error_names_no_path():
    assert "shell=True" in shown(not_started("ls -a", "OSError: [Errno 2] No such file or directory"))


def test_shell_advice_is_given_if_sudo_runs_the_command():
    conn = connection((2, b"sudo: ls -a: command not found\n"), (0, 1))
    conn.sudo = True
    with pytest.raises(CommandError) as caught:
        run(conn, "ls -a")
    assert "shell=True" in caught.value.advice
