"""Groups with an executor: shares, pickling, results."""

import os
import pickle
import posixpath
import signal
import subprocess
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ClassVar

import pytest

import remoto
from remoto import exc
from remoto.fleets.executors import Caller
from tests.unit.test_group import Fleet


def host_of(conn):
    return conn.hostname


def fail_on_b(conn):
    if conn.hostname == "b":
        raise ValueError("b")


class Stubborn(Exception):
    """An object that can be pickled, but not unpickled."""

    def __init__(self, first, second):
        super().__init__(first)


def stubborn(conn):
    raise Stubborn("reason", 2)


def unpicklable(conn):
    return threading.Lock()


def fleet(executor, *names, **keywords):
    return remoto.Group(names, backend=Fleet, executor=executor, **keywords)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def test_outcomes_are_in_the_order_of_the_group(pool):
    result = fleet(pool, "a", "b", "down1", "c").map(fail_on_b)
    assert list(result) == ["a", "b", "down1", "c"]
    assert (list(result.ok), list(result.failed), list(result.unreachable)) == (["a", "c"], ["b"], ["down1"])
    assert isinstance(result["down1"], exc.HostError)


def test_results_arrive_by_worker_and_progress_is_called_locally(pool):
    calls = []
    results = fleet(pool, "a", "b", "c").map(
        host_of, as_completed=True, progress=lambda *numbers: calls.append(numbers)
    )
    assert dict(results) == {"a": "a", "b": "b", "c": "c"}
    assert [call[:2] for call in calls] == [(1, 3), (2, 3), (3, 3)]


def test_batches_and_stop_after_apply(pool):
    result = fleet(pool, "a", "b", "c", "d").map(fail_on_b, batch=2, stop_after=1)
    assert list(result.not_started) == ["c", "d"]


def test_functions_are_sent_by_the_name_of_their_module(pool):
    assert fleet(pool, "a").import_module(posixpath).join("x").failed  # Fleet has no remote side
    module = type(posixpath)("made_here")
    module.answer = len
    with pytest.raises(TypeError, match="can't import"):
        fleet(pool, "a").import_module(module).answer("x")


def test_unpicklable_work_is_refused_before_anything_starts(pool):
    for group, work in [(fleet(pool, "a"), lambda conn: 1), (fleet(pool, "a", logger=_Logger()), host_of)]:
        with pytest.raises(TypeError, match="can't be pickled"):
            group.map(work)


class _Logger:
    def __init__(self):
        self.lock = threading.Lock()

    debug = info = warning = error = print


def test_callbacks_and_connections_are_refused(pool):
    with pytest.raises(TypeError, match="on_stdout"):
        fleet(pool, "a").run("true", on_stdout=print)
    with pytest.raises(TypeError, match="another process"):
        remoto.Group([Fleet("a")], executor=pool).map(host_of)
    with pytest.raises(TypeError, match="executor"):
        remoto.Group(["a"], executor="dask")


def test_results_that_cannot_be_pickled_are_failures_with_the_reason(pool):
    result = fleet(pool, "a").map(unpicklable)
    assert "lock" in str(result.failed["a"])
    assert "reason" in str(fleet(pool, "a").map(stubborn).failed["a"])


class Broken(ThreadPoolExecutor):
    """An executor whose first worker dies."""

    def submit(self, function, *args):
        if self.died:
            return super().submit(function, *args)
        self.died = True
        future = Future()
        future.set_exception(RuntimeError("the worker has died"))
        return future

    died = False


def test_hosts_of_a_worker_that_dies_have_failed_and_the_others_finish():
    with Broken(2) as executor:
        result = fleet(executor, "a", "b", "c", "d").map(host_of)
    assert list(result.failed) == ["a", "c"] and list(result.ok) == ["b", "d"]
    assert "died" in str(result["a"])


class Never(ThreadPoolExecutor):
    """An executor that begins the first share, and never finishes it."""

    def __init__(self):
        super().__init__(2)
        self.futures = []

    def submit(self, function, *args):
        self.futures.append(Future())
        if len(self.futures) == 1:
            self.futures[0].set_running_or_notify_cancel()
        return self.futures[-1]


def test_ctrl_c_has_the_result_so_far_and_starts_no_further_share():
    executor = Never()

    def send():
        while len(executor.futures) < 2:
            pass
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt) as raised:
        fleet(executor, "a", "b").map(host_of)
    thread.join()
    assert list(raised.value.result.failed) == ["a"] and list(raised.value.result.not_started) == ["b"]


class Noted(Fleet):
    """A connection that is in ``open_now`` while it is open."""

    open_now: ClassVar[set] = set()

    def _make_gateway(self, hostname):
        self.open_now.add(hostname)
        return super()._make_gateway(hostname)

    def exit(self):
        super().exit()
        self.open_now.discard(self.hostname)


def others_open(conn):
    return conn.open_now - {conn.hostname}


def test_connection_is_closed_when_its_host_is_done(pool):
    result = remoto.Group(list("abcdef"), backend=Noted, executor=pool, parallel=1).map(others_open)
    assert set(map(len, result.ok.values())) == {0} and len(result.ok) == 6


def until_closed(conn):
    return conn.hostname == "a" or conn.closing.wait(20)


def test_leaving_early_stops_running_shares(pool):
    started = time.monotonic()
    for host, _ in fleet(pool, "a", "b").map(until_closed, as_completed=True):
        assert host == "a"
        break
    pool.shutdown()
    assert time.monotonic() - started < 10


class Here(Executor):
    """An executor that serves each share at once, in the main thread, as a process of a pool does."""

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*args))
        return future


def interrupt_main_thread(conn):
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    return conn.closing.wait(20)


def test_interrupted_worker_returns_the_outcomes_so_far():
    result = fleet(Here(), "a", "b", parallel=1).map(interrupt_main_thread)
    assert result["a"] is True and list(result.not_started) == ["b"]


@pytest.mark.parametrize("gone", ["process", "file"])
def test_share_whose_caller_has_gone_starts_nothing(gone, tmp_path):
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / "here").touch()
    caller = {"process": Caller(ended.pid, str(tmp_path / "here")), "file": Caller(os.getpid(), str(tmp_path / "none"))}
    assert not caller[gone].waits() and Caller(os.getpid(), str(tmp_path / "here")).waits()
    shares = []

    class Late(Never):
        def submit(self, function, data):
            shares.append(pickle.loads(data)._replace(caller=caller[gone]))
            return ThreadPoolExecutor.submit(self, function, pickle.dumps(shares[-1]))

    with Late() as executor:
        result = fleet(executor, "a", "b").map(host_of)
    assert len(shares) == 2 and list(result.not_started) == ["a", "b"]


def test_results_are_returned_without_a_directory_for_temporary_files(pool, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert list(fleet(pool, "a", "b").map(host_of).ok) == ["a", "b"]


def test_results_are_returned_after_temporary_files_were_removed(pool, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def remove_files(done, total, host):
        for path in tmp_path.iterdir():
            path.unlink()

    assert list(fleet(pool, "a").map(host_of, progress=remove_files).ok) == ["a"]


class OnlyFirst(Never):
    """An executor that serves the first share at once, and never begins another."""

    def submit(self, function, *args):
        future = super().submit(function, *args)
        if len(self.futures) == 1:
            future.set_result(function(*args))
        return future


def test_waiting_shares_are_cancelled_when_too_many_hosts_have_failed():
    result = fleet(OnlyFirst(), "b", "a").map(fail_on_b, stop_after=1)
    assert list(result.failed) == ["b"] and list(result.not_started) == ["a"]


def test_logins_and_parallel_are_divided_among_the_shares(pool):
    shares = []

    class Recording(ThreadPoolExecutor):
        def submit(self, function, data):
            shares.append(pickle.loads(data))
            return super().submit(function, data)

    with Recording(4) as executor:
        fleet(executor, *"abcdefgh", parallel=8, logins=8).map(host_of)
    assert [(len(share.hosts), share.parallel, share.logins) for share in shares] == [(2, 2, 2)] * 4
    assert len({share.number for share in shares}) == 4


def test_executor_that_was_shut_down_leaves_the_other_hosts_not_started(pool):
    group = fleet(pool, "a", "b")
    result = group.map(host_of, batch=1, progress=lambda *numbers: pool.shutdown())
    assert list(result.ok) == ["a"] and list(result.not_started) == ["b"]
    with pytest.raises(RuntimeError, match="shutdown"):
        group.map(host_of)
