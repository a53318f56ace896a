"""The replacements for execnet's thread pool and queue on the remote side."""

import threading

import pytest

from remoto.remote.worker import Pool, ThreadModel

LIMIT = 30


@pytest.fixture
def pool():
    return Pool(ThreadModel())


def test_pool_waits_for_its_tasks(pool):
    may_end = threading.Event()
    pool.spawn(may_end.wait, LIMIT)
    pool.spawn(may_end.wait, LIMIT)
    assert pool.active_count() == 2
    assert not pool.waitall(0.01)
    may_end.set()
    assert pool.waitall(LIMIT)
    assert pool.active_count() == 0


def test_task_that_raises_has_ended(pool, capfd):
    pool.spawn(int, "no number")
    assert pool.waitall(LIMIT)
    assert capfd.readouterr().err == ""


def test_task_without_a_thread_is_not_counted(pool, monkeypatch):
    def refuse(function, args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("remoto.remote.worker.start_new_thread", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        pool.spawn(int)
    assert pool.waitall(LIMIT)


def test_pool_that_is_shut_down_refuses_tasks(pool):
    pool.trigger_shutdown()
    with pytest.raises(ValueError, match="shutting down"):
        pool.spawn(int)


def test_empty_queue_raises_at_once_or_after_the_timeout():
    queue = ThreadModel.queue.Queue()
    for arguments in ({"block": False}, {"timeout": 0.01}, {"timeout": 0}):
        with pytest.raises(ThreadModel.queue.Empty):
            queue.get(**arguments)


def test_queue_waits_for_an_item():
    queue = ThreadModel.queue.Queue()
    for item, arguments in enumerate(({}, {"timeout": LIMIT})):
        thread = threading.Timer(0.01, queue.put, (item,))
        thread.start()
        assert queue.get(**arguments) == item
        thread.join(LIMIT)
