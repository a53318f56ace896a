"""Events that the main thread can wait for, and that survive interrupts."""

import queue
import threading

import pytest

from remoto.gateways.interrupts import Event, take

# the time may be over while SimpleQueue.get() takes its lock; on Python 3.9 it then waited without limit
OVER = [0, -1, 1e-9, 1e-8, 1e-7]


def test_set_event_is_seen_while_a_thread_waits():
    for _ in range(200):
        event, waiting = Event(), threading.Event()

        def wait(event=event, waiting=waiting):
            waiting.set()
            event.wait(50)

        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait()
        event.set()
        assert event.is_set()
        thread.join()


def test_new_event_is_not_set_and_wait_times_out():
    event = Event()
    assert not event.is_set() and not event.wait(0.01)
    event.set()
    event.set()
    assert event.is_set() and event.wait() and event.wait(0)


@pytest.mark.parametrize("timeout", OVER)
def test_waiting_for_an_event_ends(timeout):
    assert not any(Event().wait(timeout) for _ in range(100))


@pytest.mark.parametrize("timeout", OVER)
def test_taking_an_item_ends(timeout):
    for _ in range(100):
        with pytest.raises(queue.Empty):
            take(queue.SimpleQueue(), timeout)
