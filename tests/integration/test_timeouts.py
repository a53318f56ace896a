"""Timeouts of run and check expire while output arrives, and can be distinguished from other failures.

The same over every backend.
"""

import builtins
import pickle
import time

import execnet
import pytest

from remoto.exc import CommandError, CommandTimeout
from remoto.process import check, run

NEEDS_NO_PYTHON = True
#: a command that writes to both streams and then never exits
SLOW = ["sh", "-c", "echo one; printf two; echo problem >&2; sleep 300"]


@pytest.mark.parametrize("text", [True, False])
def test_timeout_of_check_expires_during_endless_output_to_a_slow_handler(conn, text, logged):
    parts = []

    def slow(part):
        parts.append(part)
        time.sleep(0.1)

    # an engine's exec may take more than a second on a busy machine
    for seconds in (1, 5, 15):
        begun = time.monotonic()
        result = check(conn, ["yes"], timeout=seconds, on_stdout=slow, kill_on_timeout=True, text=text)
        if parts:
            break
    # a block has many thousands of lines
    assert time.monotonic() - begun < 20 and parts
    assert result.returncode == -1 and result.timed_out
    # although the window of its output was full
    assert not [text for text in logged.texts("WARNING") if "could not be killed" in text]
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


def test_time_in_a_slow_handler_does_not_count(conn):
    # seconds; a busy machine may need more than the first timeout to start a command
    for second in (0.5, 2, 8):
        lines = []

        def slow(line, lines=lines, second=second):
            lines.append(line)
            time.sleep(second)

        script = f"echo one; echo two; sleep {2 * second}; echo three"
        status = run(conn, ["sh", "-c", script], timeout=1.5 * second, on_stdout=slow)
        if status == 0:
            break
    assert (status, lines) == (0, ["one", "two", "three"])


def test_timed_out_is_set_after_a_timeout_only(conn):
    result = check(conn, SLOW, timeout=0.5, kill_on_timeout=True)
    assert result == ([], [], -1) and result.timed_out
    assert pickle.loads(pickle.dumps(result)).timed_out
    for ended in (check(conn, ["sh", "-c", "kill -1 $$"]), check(conn, ["no-such-program"], stop_on_error=False)):
        assert not ended.timed_out


def timeout_of(function, conn, **keywords):
    """Return the error of SLOW, and the timeout: one that is long enough to start it, also on a busy machine."""
    for seconds in (1, 5, 20):
        with pytest.raises(CommandTimeout) as caught:
            function(conn, SLOW, timeout=seconds, **keywords)
        if caught.value.stderr:
            break
    return caught.value, seconds


@pytest.mark.parametrize("function", [run, check])
def test_raise_on_timeout_raises_an_error_with_the_output_so_far(conn, function, logged):
    error, seconds = timeout_of(function, conn, raise_on_timeout=True, kill_on_timeout=True)
    assert isinstance(error, (CommandError, RuntimeError)) and isinstance(error, builtins.TimeoutError)
    assert isinstance(error, execnet.TimeoutError)
    assert (error.stdout, error.stderr, error.exit_code, error.timeout) == (["one", "two"], ["problem"], None, seconds)
    assert f"{seconds} seconds" in str(error) and error.host in str(error) and "sleep 300" in str(error)
    assert logged.texts("WARNING")[-1] == f"No data was received after {seconds} seconds, disconnecting..."
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and vars(copy) == vars(error)
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


@pytest.mark.parametrize("function", [run, check])
def test_raise_on_timeout_may_be_set_for_a_connection(connect, function):
    conn = connect(raise_on_timeout=True, kill_on_timeout=True)
    error, _ = timeout_of(function, conn, text=False)
    assert (error.stdout, error.stderr) == (b"one\ntwo", b"problem\n")
    assert function(conn, SLOW, timeout=0.3, raise_on_timeout=False) in (-1, ([], [], -1))
    assert check(conn, ["echo", "x"], timeout=30) == (["x"], [], 0)


def test_timeout_of_check_includes_sending(conn):
    begun = time.monotonic()
    assert check(conn, ["sleep", "300"], stdin=b"x" * 5_000_000, timeout=1, kill_on_timeout=True).timed_out
    assert time.monotonic() - begun < 20


def test_timeout_of_a_call_in_a_handler_is_raised_unchanged(connect):
    conn, other = connect(), connect()

    def handler(line):
        run(other, ["sleep", "300"], timeout=0.3, raise_on_timeout=True, kill_on_timeout=True)

    with pytest.raises(CommandTimeout, match="sleep 300"):
        run(conn, ["sh", "-c", "echo one; cat"], on_stdout=handler, timeout=60, stop_on_error=False)


def test_failure_of_a_call_in_a_handler_is_raised_unchanged(connect):
    conn, other = connect(), connect()
    for function in (run, check):
        with pytest.raises(CommandError, match="exit 3"):
            function(
                conn, ["echo", "one"], on_stdout=lambda line: run(other, ["sh", "-c", "exit 3"]), stop_on_error=False
            )
