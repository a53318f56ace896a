"""What a command and a call cost: messages, bytes and processes, counted, not timed."""

import struct
import sys

import pytest
from execnet.gateway_base import Message

import remoto
from remoto import connection
from remoto.backends import JsonModuleExecute
from remoto.gateways.process_io import ProcessIO
from remoto.process import check, run
from tests.integration.shipped import functions as far

HEADER = struct.calcsize("!bii")


@pytest.fixture
def traffic(monkeypatch):
    """What goes out and what comes in, in its order: ("out", code of the message, bytes), ("in", code, bytes)."""
    seen, read, write = [], ProcessIO.read, ProcessIO.write

    def spying_read(self, size):
        data = read(self, size)
        if size == HEADER:
            code, _, length = struct.unpack("!bii", data)
            seen.append(("in", code, length))
        return data

    def spying_write(self, data):
        seen.append(("out", struct.unpack("!bii", bytes(data[:HEADER]))[0], len(data)))
        write(self, data)

    monkeypatch.setattr(ProcessIO, "read", spying_read)
    monkeypatch.setattr(ProcessIO, "write", spying_write)
    return seen


def asked_for(traffic):
    """What went out to have something done; the rest closes channels that have served."""
    closing = (Message.CHANNEL_CLOSE, Message.CHANNEL_LAST_MESSAGE)
    return [item for item in traffic if item[0] == "out" and item[1] not in closing]


@pytest.mark.parametrize("function", [check, run])
@pytest.mark.parametrize("host", ["node0", "localhost"])
def test_a_command_is_one_message_out(sshd, traffic, host, function):
    with remoto.Connection(host) as conn:
        for command in (["true"], ["echo", "some", "words"]):
            traffic.clear()
            function(conn, command, extend_env={"A": "b"}, stdin="x")
            assert [code for _, code, _ in asked_for(traffic)] == [Message.CHANNEL_EXEC]
            # so what follows the first answer has not been waited for
            answered = [way for way, _, _ in traffic].index("in")
            assert all(item[1] != Message.CHANNEL_EXEC for item in traffic[answered:])


def test_the_message_is_small(traffic):
    with remoto.Connection("localhost") as conn:
        check(conn, ["true"])
        ((_, _, size),) = asked_for(traffic)
        assert size < 1000


def test_the_answer_is_one_message(traffic):
    with remoto.Connection("localhost") as conn:
        traffic.clear()
        check(conn, ["seq", "10000"])
        assert len([item for item in traffic if item[0] == "in" and item[1] == Message.CHANNEL_DATA]) == 1


@pytest.mark.root
def test_a_connection_asks_for_nothing_first(traffic):
    with remoto.Connection("localhost", detect_sudo=True):
        assert asked_for(traffic) == []


def test_what_ssh_sends_for_a_command_is_small(sshd):
    with remoto.Connection("slow") as conn:
        check(conn, ["true"])
        # what closes a channel may still be on its way
        before, commands = sshd.slow_link.bytes, 10
        for _ in range(commands):
            check(conn, ["true"])
        assert sshd.slow_link.bytes - before < 500 * commands


#: reports what the process that runs it has started since the last time
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
    """A function of a connection: what the far side has started for it since the last time."""
    counters = {}

    def ask(conn):
        if conn not in counters:
            counters[conn] = conn.gateway.remote_exec(COUNT_STARTS)
        counters[conn].send(None)
        return counters[conn].receive(10)

    return ask


@pytest.fixture
def started_here():
    starts, counting = [], [True]

    def note(event, arguments):
        if counting and event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
            starts.append(arguments[:2])

    # there is no way to take a hook away again
    sys.addaudithook(note)
    yield starts
    counting.clear()


@pytest.mark.parametrize("function", [check, run])
def test_a_command_is_one_process_there_and_none_here(sshd, started, started_here, function):
    with remoto.Connection("node0") as conn:
        started(conn)
        started_here.clear()
        function(conn, ["true"])
        assert len(started(conn)) == 1
        assert started_here == []


def test_a_legacy_call_is_no_process(sshd, started, started_here):
    with remoto.Connection("node0") as conn:
        remote = conn.import_module(far)
        remote.same(1)
        started(conn)
        started_here.clear()
        remote.same(1)
        assert started(conn) == []
        assert started_here == []


def test_a_json_call_is_one_process_once_the_interpreter_is_known(sshd, started):
    with remoto.Connection("node0") as conn:
        JsonModuleExecute(conn, far).same(1)
        started(conn)
        JsonModuleExecute(conn, far).same(1)
        assert len(started(conn)) == 1


def test_in_a_container_a_command_and_a_call_are_one_client_each(docker, started):
    name = docker.run("python")
    with connection.get("docker")(container_name=name) as conn:
        remote = conn.import_module(far)
        remote.same(1)
        started(conn)
        check(conn, ["true"])
        assert len(started(conn)) == 1
        remote.same(1)
        assert len(started(conn)) == 1
        conn.remote_import_system = "legacy"
        remote = conn.import_module(far)
        remote.same(1)
        started(conn)
        remote.same(1)
        assert started(conn) == []
    docker.remove(name)
