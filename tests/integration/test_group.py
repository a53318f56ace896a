"""Groups over a real sshd: hosts that refuse, stall, answer late, or are lost; functions, files, Ctrl-C."""

import contextlib
import os
import signal
import threading
import time

import pytest

import remoto
from remoto import exc
from remoto.process import check, run
from tests.integration.leftovers import VARIABLE, children, descriptors, started_with, wait_until
from tests.integration.shipped import functions

NODES = [f"node{number}" for number in range(4)]


@pytest.fixture(scope="module")
def nodes(sshd):
    with remoto.Group(NODES) as group:
        assert len(group.check("true").ok) == len(NODES)
        yield group


def test_each_outcome_is_reported_over_ssh(sshd):
    # only the host that never answers has a short limit: under load, a login over the slow link takes long, too
    hosts = ["node0", "refused", ("stall", {"connect_timeout": 2}), "wrongkey", "unresolvable", "slow"]
    with remoto.Group(hosts, connect_retries=0) as group:
        result = group.check(["sh", "-c", "echo out; exit 0"])
        assert {host: value.stdout for host, value in result.ok.items()} == {"node0": ["out"], "slow": ["out"]}
        kinds = {host: error.kind for host, error in result.unreachable.items()}
        assert kinds == {
            "refused": "refused", "stall": "timeout", "wrongkey": "permission", "unresolvable": "unresolvable"
        }  # fmt: skip
        with pytest.raises(exc.GroupError, match=r"4 of 6 hosts: .*refused unreachable: connection refused"):
            result.raise_for_errors()


def test_unreachable_host_is_not_tried_again(nodes, sshd):
    with remoto.Group(["stall"], connect_timeout=2, connect_retries=0) as group:
        first = group.run("true")["stall"]
        before = time.monotonic()
        assert group.run("true")["stall"] is first
        assert time.monotonic() - before < 1.9


def test_run_gives_exit_statuses(nodes):
    result = nodes.run("case $(cat) in x) exit 3;; esac", shell=True, stdin="x")
    assert dict(result) == dict.fromkeys(NODES, 3) and set(result.failed) == set(NODES)


def test_host_whose_command_cannot_be_started_has_failed(nodes):
    result = nodes.run(["/nonexistent"])
    assert {type(error) for error in result.failed.values()} == {exc.CommandError}


def test_text_false_returns_bytes(nodes):
    assert nodes.check(["printf", "a"], text=False)["node0"].stdout == b"a"


def test_timeouts_are_an_outcome_of_their_own(nodes):
    command = ["sleep", "30"]
    assert nodes.run(command, timeout=0.1, kill_on_timeout=True).timed_out == dict.fromkeys(NODES, -1)
    assert all(
        result.timed_out for result in nodes.check(command, timeout=0.1, kill_on_timeout=True).timed_out.values()
    )
    raised = nodes.check(command, timeout=0.1, kill_on_timeout=True, raise_on_timeout=True).timed_out
    assert {type(error) for error in raised.values()} == {exc.CommandTimeout}


def test_host_with_a_lost_connection_has_failed_and_is_reconnected_by_the_next_call(nodes, sshd):
    reached = threading.Barrier(len(NODES) + 1)

    def work(conn):
        check(conn, "true")
        reached.wait(50)
        return run(conn, ["sleep", "60"])

    lost = []
    thread = threading.Thread(target=lambda: lost.append(nodes.map(work)))
    thread.start()
    reached.wait(50)
    sshd.drop_sessions()
    thread.join(50)
    assert {type(error) for error in lost[0].failed.values()} == {exc.ConnectionLost}
    assert list(nodes.check("true").ok) == NODES


def test_functions_run_on_all_hosts(nodes):
    result = nodes.import_module(functions).same([1, "two"])
    assert set(result.ok) == set(NODES) and result["node0"] == [1, "two"]


def test_value_of_a_generator_is_a_list(nodes):
    values = nodes.import_module(functions, batch=1).numbers(3)
    assert set(values.ok) == set(NODES) and values["node0"] == [0, 1, 2]


def test_host_whose_function_raises_has_failed(nodes):
    import posixpath

    result = nodes.import_module(posixpath).join(5)
    assert {type(error) for error in result.failed.values()} == {exc.FunctionError}
    with pytest.raises(AttributeError, match="does not have attribute nope"):
        nodes.import_module(posixpath).nope()


def test_files_go_to_and_come_from_each_host(nodes, tmp_path):
    calls = []
    assert set(nodes.put(b"hello", tmp_path / "there", progress=lambda *call: calls.append(call)).ok) == set(NODES)
    assert [call[:2] for call in calls] == [(number + 1, len(NODES)) for number in range(len(NODES))]
    nodes.get(tmp_path / "there", tmp_path / "copies").raise_for_errors()
    assert {path.name: path.read_text() for path in (tmp_path / "copies").iterdir()} == dict.fromkeys(NODES, "hello")


def test_host_without_the_file_has_failed(nodes, tmp_path):
    failed = nodes.get("/nonexistent", tmp_path / "copies").failed
    assert {type(error) for error in failed.values()} == {exc.FileTransferError}


def test_rsync_to_each_host(nodes, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("a")
    assert nodes.only("node0").rsync(tmp_path / "source", tmp_path / "copy").ok == {"node0": None}
    assert (tmp_path / "copy" / "a").read_text() == "a"


def test_each_host_logs_to_its_own_logger(nodes, caplog):
    nodes.run(["echo", "hello"])
    lines = {(record.name, record.getMessage()) for record in caplog.records}
    assert {(node, "hello") for node in NODES} <= lines


def test_threads_may_share_a_group(nodes):
    results = []
    threads = [threading.Thread(target=lambda: results.append(nodes.check("true"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert [len(result.ok) for result in results] == [len(NODES)] * 4


def test_ctrl_c_ends_commands_closes_everything_and_gives_the_results_so_far(sshd, interrupt):
    mark = "group-interrupt"
    slow = [f"node{number}" for number in range(1, 6)]
    group = remoto.Group(["node0", *slow], env={VARIABLE: mark}, kill_on_timeout=True)
    group.check("true").raise_for_errors()

    def work(conn):
        return run(conn, ["true"] if conn.hostname == "node0" else ["sleep", "60"])

    done = []
    interrupt(lambda: done and sum("sleep 60" in line for line in started_with(mark)) == len(slow))
    with pytest.raises(KeyboardInterrupt) as raised:
        group.map(work, progress=lambda *call: done.append(call))
    # two seconds on a machine that has nothing else to do
    assert time.monotonic() - interrupt.moment < 10
    assert raised.value.result.ok == {"node0": 0}
    assert set(raised.value.result.failed) == set(slow)
    wait_until(lambda: not any(group[host].has_connection() for host in group))
    wait_until(lambda: not started_with(mark))
    # the next call connects again
    assert list(group.only("node0").check("true").ok) == ["node0"]
    group.close()


def test_closing_leaves_no_process_and_no_thread(sshd):
    before, threads = children(), threading.active_count()
    with remoto.Group(NODES) as group:
        group.check("true").raise_for_errors()
        assert len(children() - before) >= len(NODES)
    wait_until(lambda: not children() - before)
    wait_until(lambda: threading.active_count() <= threads + 1)


def test_ctrl_c_leaves_connections_of_the_program_open_and_ends_their_commands(interrupt):
    mark = "group-own"
    with remoto.Connection("localhost", env={VARIABLE: mark}, kill_on_timeout=True) as conn:
        group = remoto.Group([conn])
        interrupt(lambda: any("sleep 60" in line for line in started_with(mark)))
        with pytest.raises(KeyboardInterrupt) as raised:
            group.run(["sleep", "60"])
        assert list(raised.value.result.failed) == ["localhost"]
        wait_until(lambda: not any("sleep 60" in line for line in started_with(mark)))
        assert check(conn, ["echo", "hello"]).stdout == ["hello"]


def test_ctrl_c_while_64_hosts_connect_starts_none(sshd, interrupt):
    before = children()
    group = remoto.Group({f"h{number}": {"hostname": "stall"} for number in range(64)}, connect_timeout=60)
    interrupt(lambda: len(children() - before) >= 8)
    with pytest.raises(KeyboardInterrupt) as raised:
        group.run("true")
    assert time.monotonic() - interrupt.moment < 10
    assert len(raised.value.result.not_started) == 64
    wait_until(lambda: not children() - before)


@pytest.mark.parametrize("stopped", ["its ssh", "its sshd", "the network"])
def test_ctrl_c_leaves_nothing_of_a_host_that_is_silent(sshd, interrupt, stopped):
    mark, before, held = "group-silent", children(), (descriptors(), threading.active_count())
    group = remoto.Group(["node0", "node1", "silent"], env={VARIABLE: mark}, kill_on_timeout=True)
    group.only("node0", "node1").check("true").raise_for_errors()
    others = {"its ssh": children() - before, "its sshd": set(sshd.session_pids())}
    group.check("true").raise_for_errors()
    now = {"its ssh": children() - before, "its sshd": set(sshd.session_pids())}
    silent = [int(pid) for pid in now[stopped] - others[stopped]] if stopped in now else []

    def is_silent():
        running = sum("sleep 60" in line for line in started_with(mark)) >= 3
        if running and silent:
            for pid in silent:
                os.kill(pid, signal.SIGSTOP)
        elif running:
            sshd.silence()
        return running

    interrupt(is_silent)
    try:
        with pytest.raises(KeyboardInterrupt) as raised:
            group.run(["sleep", "60"])
        # two seconds on a machine that has nothing else to do; without an end of ssh's, it takes five
        assert time.monotonic() - interrupt.moment < 4
        assert set(raised.value.result.failed) == {"node0", "node1", "silent"}
        left = interrupt.moment + 4 - time.monotonic()
        wait_until(lambda: not children() - before, left)
        wait_until(lambda: threading.active_count() <= held[1] + 2 and descriptors() <= held[0] + 4)
    finally:
        sshd.unsilence()
        for pid in silent:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not started_with(mark), 30)
