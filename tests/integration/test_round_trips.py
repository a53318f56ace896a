"""Count the messages, bytes and processes of commands and calls."""

import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from execnet.gateway_base import Message

import remoto
from remoto import connection
from remoto.backends import JsonModuleExecute
from remoto.commands.answers import Exited
from remoto.commands.call import RUN, Call
from remoto.gateways.gateway_io import GatewayIO
from remoto.process import check, run
from tests.integration.shipped import functions

HEADER = struct.calcsize("!bii")


@pytest.fixture
def traffic(monkeypatch):
    """Record the messages sent and received, as ("out", code, bytes) or ("in", code, bytes)."""
    seen, read, write = [], GatewayIO.read, GatewayIO.write

    def spying_read(self, size):
        data = read(self, size)
        if size == HEADER:
            code, _, length = struct.unpack("!bii", data)
            seen.append(("in", code, length))
        return data

    def spying_write(self, data):
        seen.append(("out", struct.unpack("!bii", bytes(data[:HEADER]))[0], len(data)))
        write(self, data)

    monkeypatch.setattr(GatewayIO, "read", spying_read)
    monkeypatch.setattr(GatewayIO, "write", spying_write)
    return seen


def asked_for(traffic):
    """Return the messages that request something; other messages sent only close channels."""
    closing = (Message.CHANNEL_CLOSE, Message.CHANNEL_LAST_MESSAGE)
    return [item for item in traffic if item[0] == "out" and item[1] not in closing]


@pytest.mark.parametrize("function", [check, run])
@pytest.mark.parametrize("host", ["node0", "localhost"])
def test_command_is_sent_as_one_message(sshd, traffic, host, function):
    with remoto.Connection(host) as conn:
        for command in (["true"], ["echo", "some", "words"]):
            traffic.clear()
            function(conn, command, extend_env={"A": "b"}, stdin="x")
            assert [code for _, code, _ in asked_for(traffic)] == [Message.CHANNEL_EXEC]
            # a single round trip: no further request after the first answer
            answered = [way for way, _, _ in traffic].index("in")
            assert all(item[1] != Message.CHANNEL_EXEC for item in traffic[answered:])


@pytest.mark.parametrize("function", [check, run])
def test_third_command_has_one_message_each_way_and_its_channel_stays_open(traffic, function):
    with remoto.Connection("localhost") as conn:
        function(conn, ["true"])
        function(conn, ["true"])
        channel = conn.channel
        traffic.clear()
        function(conn, ["true"])
        assert [item[:2] for item in traffic] == [("out", Message.CHANNEL_DATA), ("in", Message.CHANNEL_DATA)]
        assert conn.channel is channel


def test_next_command_works_after_one_that_did_not_end_normally():
    with remoto.Connection("localhost") as conn:
        for _ in range(3):
            assert check(conn, ["sh", "-c", "kill $$"]).returncode == -15
            assert check(conn, ["sleep", "60"], timeout=0.1, kill_on_timeout=True).timed_out
            assert check(conn, ["sleep", "1"], timeout=0.1).timed_out
            with pytest.raises(remoto.exc.CommandError):
                check(conn, ["/no/such/program"])
            assert check(conn, ["cat"], stdin="x").stdout == ["x"]


def test_message_of_a_command_is_small(traffic):
    with remoto.Connection("localhost") as conn:
        check(conn, ["true"])
        ((_, _, size),) = asked_for(traffic)
        assert size < 1000


def test_result_of_check_is_one_message(traffic):
    with remoto.Connection("localhost") as conn:
        traffic.clear()
        check(conn, ["seq", "10000"])
        assert len([item for item in traffic if item[0] == "in" and item[1] == Message.CHANNEL_DATA]) == 1


@pytest.mark.root
def test_detect_sudo_of_root_sends_no_message(traffic):
    with remoto.Connection("localhost", detect_sudo=True):
        assert asked_for(traffic) == []


def test_command_over_ssh_takes_few_bytes(sshd):
    with remoto.Connection("slow") as conn:
        check(conn, ["true"])
        # messages that close a channel may still be in transit
        before, commands = sshd.slow_link.bytes, 10
        for _ in range(commands):
            check(conn, ["true"])
        assert sshd.slow_link.bytes - before < 500 * commands


#: reports the processes that the remote Python has started since the last report
COUNT_STARTS = """
import sys

starts = []

def note(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
        starts.append(str(arguments[:2]))

sys.addaudithook(note)
for _ in channel:
    count = len(starts)
    channel.send(starts[:count])
    del starts[:count]
"""


@pytest.fixture
def started():
    """A function that returns the processes started by the remote Python since its last call."""
    counters = {}

    def ask(conn):
        if conn not in counters:
            counters[conn] = conn.gateway.remote_exec(COUNT_STARTS)
        counters[conn].send(None)
        return counters[conn].receive(50)

    return ask


@pytest.fixture
def started_locally():
    starts, counting = [], [True]

    def note(event, arguments):
        if counting and event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
            starts.append(arguments[:2])

    # audit hooks cannot be removed (sys.addaudithook)
    sys.addaudithook(note)
    yield starts
    counting.clear()


@pytest.mark.parametrize("function", [check, run])
def test_command_starts_one_remote_and_no_local_process(sshd, started, started_locally, function):
    with remoto.Connection("node0") as conn:
        started(conn)
        started_locally.clear()
        function(conn, ["true"])
        assert len(started(conn)) == 1
        assert started_locally == []


def test_legacy_call_starts_no_process(sshd, started, started_locally):
    with remoto.Connection("node0") as conn:
        remote = conn.import_module(functions)
        remote.same(1)
        started(conn)
        started_locally.clear()
        remote.same(1)
        assert started(conn) == []
        assert started_locally == []


def test_json_call_starts_one_process_once_the_interpreter_is_known(sshd, started):
    with remoto.Connection("node0") as conn:
        JsonModuleExecute(conn, functions).same(1)
        started(conn)
        JsonModuleExecute(conn, functions).same(1)
        assert len(started(conn)) == 1


def test_command_and_json_call_in_a_container_start_one_client_each(docker, started):
    name = docker.run("python")
    with connection.get("docker")(container_name=name) as conn:
        remote = conn.import_module(functions)
        remote.same(1)
        started(conn)
        check(conn, ["true"])
        assert len(started(conn)) == 1
        remote.same(1)
        assert len(started(conn)) == 1
        conn.remote_import_system = "legacy"
        remote = conn.import_module(functions)
        remote.same(1)
        started(conn)
        remote.same(1)
        assert started(conn) == []
    docker.remove(name)


def test_kill_after_the_exit_status_reaches_no_other_command(tmp_path):
    """A failed transfer by tar kills its command, which may have exited: its channel is another command's by then."""
    os.mkfifo(tmp_path / "go")
    with remoto.Connection("localhost") as conn:
        check(conn, ["true"])
        call = Call(conn, ["cat"], timeout=20, kill_on_timeout=True)
        call.start(RUN, stdin=True, env=None, extend_env=None, popen={})
        assert [answer.status for answer in call.exchange([b"x"]) if isinstance(answer, Exited)] == [0]
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(check, conn, ["cat", str(tmp_path / "go")])
            # opened by the other command
            with open(tmp_path / "go", "w") as go:
                assert call.kill_command(0.5)
                call.abandon()
                go.write("mine")
            assert other.result(20) == (["mine"], [], 0)
