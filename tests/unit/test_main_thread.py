"""The tasks for the main thread of the remote side."""

import signal
import threading

import pytest

from remoto.remote.main_thread import MainThread


class Task:
    def __init__(self):
        self.runs = 0

    def run(self):
        self.runs += 1


@pytest.fixture
def main_thread():
    main_thread = MainThread()
    main_thread.start()
    old = signal.set_wakeup_fd(-1)
    yield main_thread
    signal.set_wakeup_fd(old)
    main_thread.wake_pipe.close()


@pytest.mark.timeout(60)
def test_full_pipe_blocks_no_wake_up(main_thread):
    tasks = [Task() for _ in range(100_000)]

    def offer():
        for task in tasks:
            assert main_thread.offer(task)
            main_thread.release(task)
        main_thread.end()

    offering = threading.Thread(target=offer, daemon=True)
    offering.start()
    offering.join(20)
    assert not offering.is_alive()
    main_thread.serve()
    assert main_thread.ended
