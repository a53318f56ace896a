"""Groups with executors of processes: concurrent.futures' and dask's."""

import contextlib
import multiprocessing
import os
import posixpath
import re
import resource
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

import remoto
from remoto.exc import ConnectionLost
from remoto.process import check
from tests.integration.leftovers import VARIABLE, started_with, wait_until

# names of this machine, which need no ssh
HOSTS = ["localhost", "127.0.0.1", "127.0.1.1", "::1"]


def process_of(conn):
    return os.getpid(), check(conn, ["echo", "hello"]).stdout


def die_for_one(conn):
    if conn.hostname == "127.0.1.1":
        os._exit(9)
    return check(conn, ["echo", "hello"]).stdout


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def dask():
    distributed = pytest.importorskip("distributed")
    import dask

    # dask would run a share again whose worker has died
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.comm.timeouts.connect": "60s"}
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        cluster = stack.enter_context(distributed.LocalCluster(**options, silence_logs=50))
        yield stack.enter_context(distributed.Client(cluster, timeout=120)).get_executor()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("limit", ["parallel", "logins"])
def test_no_more_workers_than_parallel_or_logins_get_hosts(processes, limit):
    group = remoto.Group(HOSTS, executor=processes, connect_timeout=100, **{limit: 1})
    result = group.map(process_of).raise_for_errors()
    assert list(result) == HOSTS and len({pid for pid, _ in result.values()}) == 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_hosts_are_served_by_the_workers_of_an_executor(executor, request):
    mark = f"group-{executor}"
    pool = request.getfixturevalue(executor)
    group = remoto.Group(HOSTS, executor=pool, connect_timeout=100, env={VARIABLE: mark})
    result = group.map(process_of).raise_for_errors()
    assert list(result) == HOSTS
    assert {output[0] for _, output in result.values()} == {"hello"}
    pids = {pid for pid, _ in result.values()}
    assert os.getpid() not in pids
    assert set(group.run(["sh", "-c", "exit 3"]).failed.values()) == {3}
    assert group.import_module(posixpath).join("a", "b")["::1"] == "a/b"
    wait_until(lambda: not started_with(mark))


@pytest.mark.timeout(300)
def test_hosts_of_a_dask_worker_that_dies_have_failed_and_the_others_finish(dask):
    result = remoto.Group(HOSTS, executor=dask, connect_timeout=100).map(die_for_one)
    assert "127.0.1.1" in result.failed and result.ok
    assert set(result.failed) | set(result.ok) == set(HOSTS)
    assert {type(error).__name__ for error in result.failed.values()} == {"KilledWorker"}


@pytest.mark.timeout(300)
def test_hosts_of_a_process_that_dies_have_failed_and_earlier_results_are_kept():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        result = remoto.Group(HOSTS, executor=executor, connect_timeout=100).map(die_for_one, batch=1)
    assert list(result.ok) == HOSTS[:2] and list(result.failed) == ["127.0.1.1"] and list(result.not_started) == ["::1"]
    assert "terminated abruptly" in str(result["127.0.1.1"])


@pytest.mark.timeout(300)
def test_ctrl_c_stops_the_shares_of_a_process_pool(processes, interrupt):
    """Only this process gets the signal."""
    mark = "group-pool-interrupt"
    group = remoto.Group(HOSTS, executor=processes, parallel=2, env={VARIABLE: mark}, kill_on_timeout=True)
    group.check(["echo", "hello"]).raise_for_errors()
    interrupt(lambda: sum("sleep 60" in line for line in started_with(mark)) == 2)
    with pytest.raises(KeyboardInterrupt) as raised:
        group.run(["sleep", "60"])
    # two seconds on a machine that has nothing else to do
    assert time.monotonic() - interrupt.moment < 4
    # each worker has a host, and another one for later
    assert list(raised.value.result.failed) == HOSTS[:2] and list(raised.value.result.not_started) == HOSTS[2:]
    assert {type(error) for error in raised.value.result.failed.values()} == {ConnectionLost}
    wait_until(lambda: not started_with(mark))
    assert len(group.check(["echo", "hello"]).ok) == len(HOSTS)


def limit_descriptors(connections):
    spare = 32
    limit = len(os.listdir("/proc/self/fd")) + spare + 4 * connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("connections", [2, 0])
def test_worker_with_few_descriptors_serves_fewer_hosts_at_a_time(connections):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=limit_descriptors, initargs=(connections,)) as executor:
        group = remoto.Group({f"host{number}": {"hostname": "localhost"} for number in range(6)}, executor=executor)
        result = group.check(["echo", "hello"])
    if connections:
        result.raise_for_errors()
    else:
        assert len(result.failed) == 6
        assert re.search(r"a connection needs \d+ file descriptors, and the limit is \d+: raise it", str(result))


def test_relays_are_given_by_name(sshd):
    with ThreadPoolExecutor(2) as executor:
        options = {"ssh_options": f"-F {sshd.config}", "executor": executor}
        group = remoto.Group(["node1", "node2", "node3"], via="node0", **options)
        assert group.check(["echo", "hello"]).raise_for_errors()["node3"].stdout == ["hello"]
        with remoto.Connection("node0") as relay, pytest.raises(TypeError, match="can't be passed to another process"):
            remoto.Group(["node1"], via=relay, executor=executor).check(["echo", "hello"])
