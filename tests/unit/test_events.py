"""Events that the main thread waits for, and that an interrupt cannot break."""

import threading

from remoto.gateways.interrupts import Event


def test_set_event_is_seen_while_a_thread_waits():
    for _ in range(200):
        event, waiting = Event(), threading.Event()

        def wait(event=event, waiting=waiting):
            waiting.set()
            event.wait(10)

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
