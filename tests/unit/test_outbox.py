"""Messages in parts, through a pipe that holds less than a message."""

import os
import threading

import pytest

from remoto.gateways.interrupts import uninterrupted
from remoto.gateways.io_loop import loop
from remoto.gateways.outbox import PipeOutbox

#: more than a pipe holds, so that a message is written in several turns
LARGE = 300 * 1024


class Pipe:
    """An outbox, and all bytes that a thread has read from its pipe."""

    def __init__(self):
        reader, writer = os.pipe()
        self.outbox = PipeOutbox(os.fdopen(writer, "wb", 0), "host", uninterrupted(loop))
        self._received = []
        self._thread = threading.Thread(target=self._read, args=(reader,))
        self._thread.start()

    def _read(self, reader):
        with os.fdopen(reader, "rb", 0) as pipe:
            while block := pipe.read(64 * 1024):
                self._received.append(block)

    def received(self):
        """Close the pipe; return all that was received."""
        self.outbox.close()
        self._thread.join(60)
        return b"".join(self._received)


def in_main_thread(function):
    function()


def in_other_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(60)


@pytest.fixture(params=[in_main_thread, in_other_thread])
def run(request):
    return request.param


@pytest.mark.parametrize(
    "parts",
    [
        [b"head", memoryview(os.urandom(LARGE)), b"end"],
        [b"head", b"", os.urandom(LARGE), b"", memoryview(os.urandom(LARGE)), b""],
        [b"many", *[b"small"] * 3000],
        [os.urandom(LARGE), *[b"x"] * 3],
    ],
    ids=["one large", "empty", "small", "large first"],
)
def test_parts_arrive_in_order(run, parts):
    pipe = Pipe()
    run(lambda: [pipe.outbox.send(b"before"), pipe.outbox.send_parts(parts), pipe.outbox.send(b"after")])
    assert pipe.received() == b"".join([b"before", *parts, b"after"])


def test_more_parts_than_the_system_accepts_at_once(run):
    parts = [bytes([number % 256]) * 16 * 1024 for number in range(1500)]
    pipe = Pipe()
    run(lambda: pipe.outbox.send_parts(parts))
    assert pipe.received() == b"".join(parts)


def test_memory_of_a_part_can_be_reused_once_it_is_sent(run):
    memory = bytearray(LARGE)
    pipe = Pipe()

    def send():
        for number in range(20):
            memory[:] = bytes([number]) * LARGE
            wait = pipe.outbox.send_parts([b"head", memoryview(memory)])
            wait()

    run(send)
    assert pipe.received() == b"".join(b"head" + bytes([number]) * LARGE for number in range(20))
