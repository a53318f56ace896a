"""How much travels for one command: counted, not timed."""

import struct

import pytest
from execnet.gateway_base import Message

import remoto
from remoto.pipes import ProcessIO
from remoto.process import check, run

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
        check(conn, ["seq", "100000"])
        assert len([item for item in traffic if item[0] == "in" and item[1] == Message.CHANNEL_DATA]) == 1


def test_a_connection_asks_for_nothing_first(traffic):
    with remoto.Connection("localhost", detect_sudo=True):
        assert asked_for(traffic) == []
