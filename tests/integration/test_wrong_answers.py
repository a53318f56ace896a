"""A broken or hostile remote side: errors name the host, and memory does not grow."""

import logging
import os
import posixpath
import subprocess
import sys
import time

import pytest

from remoto.exc import ConnectError, ConnectionLost, FunctionError
from remoto.file_sync import get, put
from remoto.process import check, extend_env, run
from tests.integration import stand_in
from tests.integration.leftovers import wait_until


@pytest.fixture
def hostile(tmp_path):
    """A function that connects to a fake remote Python that answers by the given code."""
    opened = []
    quiet = logging.Logger("quiet")
    quiet.addHandler(logging.NullHandler())

    def hostile(answer, **kw):
        opened.append(stand_in.connect(tmp_path, answer, logger=quiet, **kw))
        return opened[-1]

    yield hostile
    for conn in opened:
        conn.exit()


# answers

ANSWERS = {
    "an unknown kind": "send((7, b'x'))",
    "no pair": "send('rubbish')",
    "an exit status that is none": "send((0, 'one'))",
    "stdin that was not sent": "send((3, 10))",
    "a client that there is none of": "send((0, ['client', 1, False, b'words']))",
    "deep nesting": "message(4, b'@\\0\\0\\0\\0' + b'@\\0\\0\\0\\1' * 100000 + b'Q')",
    # messages that execnet can't read
    "an unknown opcode": "message(4, b'!')",
    "nothing": "message(4, b'')",
    "half a value": "message(4, b'F\\0')",
    "a string that is cut short": "message(4, b'A\\0\\0\\1\\0abcQ')",
    "a string of negative length": "message(4, b'A\\xff\\xff\\xff\\xffabcQ')",
    "text that is not UTF-8": "message(4, b'N\\0\\0\\0\\1\\xffQ')",
    "a key that can't be hashed": "message(4, b'JJLPQ')",
    "an item of None": "message(4, b'LF\\0\\0\\0\\0LPQ')",
    "a list of negative length": "message(4, b'K\\xff\\xff\\xff\\xffQ')",
    "an error that is no text": "message(6, b'LQ')",
    "a configuration that is none": "message(1, b'LQ')",
    # messages that a remote side never sends
    "a question for a status": "message(0, b'')",
    "something to be run": "message(3, b'')",
    "a close with contents": "message(5, b'LQ')",
    "an unknown message": "message(9, b'')",
    "a negative length": "raw(b'\\4\\0\\0\\0\\1\\xff\\xff\\xff\\xff')",
    "text": "raw(b'some job is done\\n')",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_invalid_answer_to_a_command_raises_an_error_with_host_and_answer(hostile, answer):
    for function in (run, check):
        conn = hostile(answer)
        with pytest.raises(ConnectionLost, match="localhost, ls -a") as caught:
            function(conn, ["ls", "-a"])
        assert "invalid answer" in str(caught.value) or "(" in str(caught.value)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "answer",
    [
        "send(7)",
        "send([[1, 2]])",
        "send([['A']])",
        "send('A=1')",
        "message(4, b'!')",
        "message(6, dumps_internal('x'))",
    ],
)
def test_invalid_environment_raises_an_error_that_names_the_host(hostile, answer):
    with pytest.raises(ConnectionLost, match=r"localhost, asking for the environment"):
        extend_env(hostile(answer), {})


@pytest.mark.parametrize(
    "answer",
    [
        *("send(7)", "send(('return',))", "send(('no', 1))", "send(('item', 1))", "send(('raise', 7))"),
        *("send(('debug', 7))", "send(('return', 1, 2, 3))", "message(4, b'!')"),
    ],
)
def test_invalid_answer_to_a_function_raises_an_error_that_names_the_host(hostile, answer):
    conn = hostile(answer)
    conn.remote_import_system = "legacy"
    with pytest.raises((FunctionError, ConnectionLost)) as caught:
        conn.import_module(posixpath).join("a")
    assert isinstance(caught.value, RuntimeError) and "localhost" in f"{caught.value} {vars(caught.value)}"


@pytest.mark.parametrize("ready", [b" \n", b" root\n", b" 1.5\n", b" " + b"9" * 5000 + b"\n", b" 0 0\n"], ids=repr)
def test_invalid_ready_line_raises_connect_error(tmp_path, ready):
    begun = time.monotonic()
    with pytest.raises(ConnectError, match="localhost"):
        stand_in.connect(tmp_path, "", ready)
    assert time.monotonic() - begun < 20


def test_output_after_the_ready_line_ends_the_connection(tmp_path):
    conn = stand_in.connect(tmp_path, "pass", b" 0\nsome job is done\n")
    with pytest.raises(ConnectionLost) as caught:
        check(conn, ["ls"])
    conn.exit()
    assert "localhost" in str(caught.value)


# memory

ANNOUNCED = {
    "a list": "message(4, b'K' + struct.pack('!i', 50_000_000))",
    "a list in an error": "message(6, b'K' + struct.pack('!i', 50_000_000))",
    "lists in a list": "message(4, (b'K' + struct.pack('!i', 100_000)) * 10_000)",
    "a string": "message(4, b'A' + struct.pack('!i', 2**31 - 1))",
    "a message": "raw(struct.pack('!bii', 4, channel + 2, 2**31 - 1) + b'x' * 1000)",
    "a message for a command": "raw(struct.pack('!bii', 4, channel, 2**31 - 1) + b'x' * 1000)",
}
CONTROLLER = """
import logging, resource, sys, threading
import remoto
from remoto.exc import ConnectionLost
from remoto.process import check
logger = logging.Logger("quiet")
logger.addHandler(logging.NullHandler())
conn = remoto.Connection("localhost", interpreter=sys.argv[1], logger=logger)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    assert check(conn, ["ls"], timeout=3).timed_out
except ConnectionLost as error:
    assert "localhost" in str(error)
conn.exit()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("answer", ANNOUNCED.values(), ids=ANNOUNCED)
def test_memory_does_not_grow_with_announced_lengths(tmp_path, answer):
    command = [sys.executable, "-c", CONTROLLER, stand_in.interpreter(tmp_path, answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.stderr == "" and int(done.stdout) < 50_000  # kilobytes


ENDLESS = {
    "blocks": "flood((1, b'x' * 65536))",
    "lines": "flood((1, b'x\\n'))",
    "nothing": "flood((1, b''))",
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_more_output_than_the_window_ends_the_connection(hostile, answer):
    conn = hostile(answer)

    def slow(data):
        # until too much was sent
        wait_until(lambda: not conn.has_connection())

    with pytest.raises(ConnectionLost, match="sent more data than the receive window allows.*") as caught:
        run(conn, ["ls"], on_stdout=slow, text=False)
    assert caught.value.host == "localhost"


def test_more_items_than_the_window_end_the_connection(hostile):
    items = "send(('generator', None))\nwhile True: send(('item', 1))"
    conn = hostile(f"if b\"'keep'\" in data:\n    message(5, b'')\n    continue\n{items}")
    conn.remote_import_system = "legacy"
    items = iter(conn.import_module(posixpath).join("a"))
    assert next(items) == 1
    wait_until(lambda: not conn.has_connection())
    with pytest.raises(ConnectionLost, match="more data than the receive window allows"):
        list(items)


@pytest.mark.parametrize("transfer", [put, get])
def test_more_records_than_the_window_end_the_connection(hostile, tmp_path, transfer):
    conn = hostile("while True: send(b'\\0' * 65536)")
    here, there = os.path.join(tmp_path, "stand_in.py"), os.path.join(tmp_path, "copy")
    with pytest.raises((ConnectionLost, OSError)):
        transfer(conn, here, there)


def test_valid_output_stays_within_the_window(hostile):
    """Even that of a daemon that keeps writing after its command has exited, and many small blocks."""
    import remoto

    one_by_one = "import os\nfor _ in range(50000): os.write(1, b'x')"
    for command in (
        ["sh", "-c", "timeout 5 yes & sleep 0.1"],
        [sys.executable, "-c", one_by_one],
        ["head", "-c", "50000000", "/dev/zero"],
    ):
        with remoto.Connection("localhost", logger=logging.Logger("quiet"), kill_on_timeout=True) as conn:
            sizes = []

            def slow(block, sizes=sizes):
                if not sizes:
                    time.sleep(1)  # the remote side keeps sending; there is no event for something that must not happen
                sizes.append(len(block))
                if sum(sizes) > 40_000_000:
                    raise EnoughError

            try:
                run(conn, command, on_stdout=slow, text=False)
            except EnoughError:
                pass
            assert conn.has_connection() and sizes


class EnoughError(Exception):
    pass


# connecting


def test_longest_connect_timeout_is_accepted():
    import remoto

    with remoto.Connection("localhost", connect_timeout=1e7) as conn:
        assert check(conn, ["echo", "x"]).stdout == ["x"]


@pytest.mark.parametrize("interpreter", [" ", "\t", "\n"])
def test_blank_interpreter_is_refused(interpreter):
    import remoto

    with pytest.raises(ValueError, match="^interpreter: "):
        remoto.Connection("localhost", interpreter=interpreter, eager=False)
