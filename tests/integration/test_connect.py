"""``connect()`` of connections made with ``eager=False``."""

import copy
import os
import pickle
import shlex
import threading

import pytest

import remoto
from remoto.exc import ConnectionLost, StartError
from remoto.process import check
from tests.integration.leftovers import wait_until


@pytest.fixture
def script(tmp_path):
    """Return an interpreter, a shell script that records each start in ``starts`` and then runs ``line``."""

    def script(line):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho start >> {shlex.quote(str(tmp_path / 'starts'))}\n{line}\n")
        path.chmod(0o755)
        return str(path)

    return script


def starts(tmp_path):
    return (tmp_path / "starts").read_text().splitlines()


def test_connect_opens_the_connection_once(script, tmp_path):
    with remoto.Connection("localhost", eager=False, interpreter=script('exec python3 "$@"')) as conn:
        assert not conn.has_connection()
        conn.connect()
        gateway = conn.gateway
        conn.connect()
        assert conn.has_connection() and conn.gateway is gateway
        assert check(conn, ["echo", "x"]).stdout == ["x"]
    assert starts(tmp_path) == ["start"]


def test_connect_waits_for_another_thread_that_connects(script, tmp_path):
    os.mkfifo(tmp_path / "go")
    interpreter = script(f'read -r line < {shlex.quote(str(tmp_path / "go"))}; exec python3 "$@"')
    with remoto.Connection("localhost", eager=False, interpreter=interpreter) as conn:
        connected = []

        def connect():
            conn.connect()
            connected.append(conn.has_connection())

        threads = [threading.Thread(target=connect) for _ in range(5)]
        for thread in threads:
            thread.start()
        (tmp_path / "go").write_text("go\n")
        for thread in threads:
            thread.join(60)
        assert connected == [True] * 5
    assert starts(tmp_path) == ["start"]


def test_connect_raises_the_error_and_may_be_called_again(tmp_path):
    interpreter = tmp_path / "python"
    with remoto.Connection("localhost", eager=False, interpreter=str(interpreter)) as conn:
        with pytest.raises(StartError) as caught:
            conn.connect()
        assert caught.value.kind == "interpreter"
        interpreter.write_text('#!/bin/sh\nexec python3 "$@"\n')
        interpreter.chmod(0o755)
        conn.connect()
        assert conn.has_connection()


@pytest.mark.parametrize("eager", [True, False])
def test_connect_refuses_a_closed_connection(eager):
    conn = remoto.Connection("localhost", eager=eager)
    conn.exit()
    with pytest.raises(ConnectionLost, match="the connection is closed") as by_connect:
        conn.connect()
    with pytest.raises(ConnectionLost) as by_use:
        conn.execute("")
    assert str(by_connect.value) == str(by_use.value)


def test_connect_refuses_a_lost_connection():
    with remoto.Connection("localhost") as conn:
        channel = conn.execute("import os; os._exit(1)")
        with pytest.raises(EOFError):
            channel.receive(60)
        wait_until(lambda: not conn.has_connection())
        with pytest.raises(ConnectionLost, match="the connection was lost"):
            conn.connect()


def test_open_connection_cannot_be_pickled_or_copied_deeply():
    with remoto.Connection("localhost") as conn:
        for function in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot pickle"):
                function(conn)
        assert conn.has_connection()
