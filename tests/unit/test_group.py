"""The rounds and results of a group; connections answer from a script."""

import errno
import os
import pickle
import resource
import signal
import threading
import time

import pytest

import remoto
from remoto import exc
from remoto.fleets.result import GroupResult, Outcome
from remoto.fleets.schedule import batches
from remoto.process import CheckResult, check
from remoto.testing import Hosts


class Fleet(remoto.backends.BaseConnection):
    """A connection that needs no remote side; hosts in ``down`` are unreachable."""

    def __init__(self, *args, **keywords):
        self.closing = threading.Event()
        super().__init__(*args, **keywords)

    def exit(self):
        self.closing.set()
        super().exit()

    def _make_gateway(self, hostname):
        if hostname.startswith("down"):
            raise exc.HostError("connection refused", host=hostname, kind="refused")
        return _Open()


class _Open:
    is_open = True

    def hasreceiver(self):
        return self.is_open

    def exit(self):
        self.is_open = False


def fleet(*names, **keywords):
    return remoto.Group(names, backend=Fleet, **keywords)


def test_each_host_is_in_exactly_one_part():
    def work(conn):
        if conn.hostname == "slow":
            raise exc.CommandTimeout("slow", "sleep", 1, [], [], "")
        if conn.hostname == "bad":
            raise KeyError("bad")
        return conn.hostname

    result = fleet("ok", "down", "slow", "bad", "late", parallel=1).map(work, stop_after=3)
    assert result.ok == {"ok": "ok"}
    assert list(result.unreachable) == ["down"] and isinstance(result["down"], exc.HostError)
    assert list(result.timed_out) == ["slow"] and list(result.failed) == ["bad"]
    assert result.not_started == {"late": None} and "late" not in result
    assert list(result) == ["ok", "down", "slow", "bad"]


def test_results_are_in_the_order_of_the_group():
    first = threading.Event()

    def work(conn):
        if conn.hostname == "a":
            assert first.wait(50)
        first.set()

    assert list(fleet("a", "b").map(work)) == ["a", "b"]


def test_unreachable_host_is_reported_again_without_a_retry():
    group = fleet("down1")
    first, again = (group.map(str)["down1"] for _ in range(2))
    assert first is again
    group.reconnect()
    assert group.map(str)["down1"] is not first


def test_as_completed_yields_each_host_as_soon_as_it_is_done():
    done = {name: threading.Event() for name in "ab"}

    def work(conn):
        assert done[conn.hostname].wait(50)
        return conn.hostname

    results = fleet("a", "b").map(work, as_completed=True)
    done["b"].set()
    assert next(results) == ("b", "b")
    done["a"].set()
    assert list(results) == [("a", "a")]


def test_leaving_as_completed_early_starts_no_further_host_and_closes_running_ones():
    started = []

    def work(conn):
        started.append(conn.hostname)
        if conn.hostname == "b":
            assert conn.closing.wait(50)

    group = fleet("a", "b", "c", parallel=1)
    results = group.map(work, as_completed=True)
    next(results)
    results.close()
    assert "c" not in started
    assert not group["c"].closing.is_set()


def test_batch_begins_after_the_one_before_has_ended():
    running, most = set(), []

    def work(conn):
        running.add(conn.hostname)
        most.append(len(running))
        running.discard(conn.hostname)

    group = fleet(*"abcdef")
    assert len(group.map(work, batch=[1, 2]).ok) == 6
    assert max(most) <= 2


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (None, [10]),
        (3, [3, 3, 3, 1]),
        ("25%", [3, 3, 3, 1]),
        ([1, "50%"], [1, 5, 4]),
        ([1, 2], [1, 2, 2, 2, 2, 1]),
        ("100%", [10]),
        ([20], [10]),
    ],
)
def test_batches_have_the_given_sizes(batch, expected):
    assert [len(part) for part in batches(list("abcdefghij"), batch)] == expected


@pytest.mark.parametrize("batch", [0, -1, [], "x", "0%", "101%", [1, "5"], 1.5, True, [None]])
def test_invalid_batches_are_refused_before_anything_starts(batch):
    started = []
    with pytest.raises((TypeError, ValueError), match="batch"):
        fleet("a").map(started.append, batch=batch)
    assert not started


def test_stop_after_may_ignore_unreachable_hosts():
    group = fleet("down1", "down2", "a", "b", parallel=1)
    assert list(group.map(str, stop_after=1).not_started) == ["down2", "a", "b"]
    group.reconnect()
    assert not group.map(str, stop_after=1, count_unreachable=False).not_started


def test_progress_is_called_with_hosts():
    calls = []
    fleet("a", "b", parallel=1).map(str, progress=lambda *numbers: calls.append(numbers))
    assert calls == [(1, 2, "a"), (2, 2, "b")]


def test_error_of_progress_ends_the_work_and_is_raised():
    def work(conn):
        if conn.hostname == "b":
            assert conn.closing.wait(50)
        started.append(conn.hostname)

    def progress(done, total, host):
        raise LookupError(host)

    started = []
    with pytest.raises(LookupError, match="a"):
        fleet("a", "b", "c", parallel=1).map(work, progress=progress)
    assert "c" not in started


def test_verb_that_ends_early_waits_until_its_connections_are_closed():
    """Otherwise they are closed while the next verb uses them, and its hosts fail."""
    closed = []

    class SlowToClose(Fleet):
        def exit(self):
            self.closing.set()
            threading.Event().wait(0.1)
            super().exit()
            closed.append(self.hostname)

    busy = threading.Event()

    def work(conn):
        if conn.hostname == "b":
            busy.set()
            assert conn.closing.wait(50)
        else:
            assert busy.wait(50)

    group = remoto.Group(["a", "b"], backend=SlowToClose)
    values = iter(group.map(work, as_completed=True))
    next(values)
    values.close()
    assert closed == ["b"]


def test_keyword_that_names_every_host_the_same_is_refused():
    for keyword, backend in {"hostname": "ssh", "container_name": "docker", "container_id": "docker"}.items():
        with pytest.raises(TypeError, match=f"{keyword}: would be the same for every host"):
            remoto.Group(["a", "b"], backend, **{keyword: "x"})
    assert len(remoto.Group(["a", "b"], "docker", hostname="engine")) == 2
    assert remoto.Group({"a": {"hostname": "b"}})["a"].hostname == "b"


@pytest.mark.parametrize("backend", [None, 5, remoto, object])
def test_backend_of_another_type_is_refused(backend):
    with pytest.raises(TypeError, match="backend: expected a name or a class of connections"):
        remoto.Group(["a"], backend)


def test_only_and_without_share_connections():
    group = fleet("a", "b", "c")
    group.map(str)
    part = group.only("a", "b").without("b")
    assert list(part) == ["a"] and part["a"] is group["a"]
    with pytest.raises(KeyError, match="x"):
        group.only("x")
    for given in (["a"], {"a": None}, 5):
        with pytest.raises(TypeError, match="hosts: expected names as arguments, not (list|dict|int): "):
            group.only(given)
    with pytest.raises(ValueError, match="no host is left"):
        group.without("a", "b", "c")


def test_connection_of_the_program_is_neither_closed_nor_reopened():
    conn = Fleet("a")
    with remoto.Group([conn]) as group:
        assert group.map(lambda conn: conn).ok == {"a": conn}
    assert conn.has_connection()
    conn.exit()
    conn.gateway = None
    assert isinstance(group.map(str).unreachable["a"], exc.ConnectionLost)


def test_group_that_was_closed_connects_again_on_use():
    with fleet("a") as group:
        first = group.map(lambda conn: conn)["a"]
    assert group.map(lambda conn: conn)["a"] is not None
    assert first.is_closed


@pytest.mark.parametrize(
    ("hosts", "error", "text"),
    [
        ([], ValueError, "at least one host"),
        ({}, ValueError, "at least one host"),
        ("", exc.InvalidHostname, "hostname"),
        (["a", 5], TypeError, "5"),
        (b"node1", TypeError, "bytes"),
        ([("a", 1)], TypeError, "keywords"),
        (["-oProxyCommand=x"], exc.InvalidHostname, "option"),
    ],
)
def test_bad_hosts_are_refused_by_the_constructor(hosts, error, text):
    with pytest.raises(error, match=text):
        remoto.Group(hosts)


@pytest.mark.parametrize(
    "keywords", [{"backend": "nope"}, {"nope": 1}, {"parallel": 0}, {"logins": "8"}, {"eager": True}]
)
def test_bad_keywords_are_refused_by_the_constructor(keywords):
    with pytest.raises((TypeError, ValueError)):
        remoto.Group(["a"], **keywords)


def test_single_connection_instead_of_hosts_is_refused():
    with pytest.raises(TypeError, match="in a list"):
        remoto.Group(Fleet("a"))


def test_host_named_twice_is_used_once_with_a_warning():
    with pytest.warns(UserWarning, match="named more than once: a"):
        group = fleet("a", "b", "a")
    assert list(group) == ["a", "b"]


def test_hosts_may_have_keywords_of_their_own():
    group = remoto.Group({"a": {"sudo": True}, "b": {}}, backend=Fleet, interpreter="python3.9")
    assert group["a"].sudo and not group["b"].sudo and group["b"].interpreter == "python3.9"
    pairs = remoto.Group(["a", ("b", {"interpreter": "python3"})], backend=Fleet)
    assert pairs["b"].interpreter == "python3"


def test_name_of_a_host_is_passed_as_container_or_pod_name():
    docker = remoto.Group(["web"], backend="docker")
    assert docker["web"].identifier == "web" and docker["web"].hostname == "localhost"
    assert remoto.Group(["web-0"], backend="kubernetes", namespace="shop")["web-0"].pod_name == "web-0"


def test_string_is_one_host():
    assert list(remoto.Group("node1")) == ["node1"]


def test_equal_values_and_errors_are_gathered():
    outcomes = {
        "a": Outcome("ok", 1),
        "b": Outcome("ok", 2),
        "c": Outcome("ok", 2),
        "d": Outcome("unreachable", exc.HostError("connection refused", host="d")),
        "e": Outcome("unreachable", exc.HostError("connection refused", host="e")),
        "f": Outcome("unreachable", exc.HostError("connection refused", host="f")),
    }
    result = GroupResult(list("abcdef"), outcomes)
    assert [hosts for _, hosts in result.gather()] == [["d", "e", "f"], ["b", "c"], ["a"]]


def test_group_error_names_hosts_and_reasons():
    outcomes = {
        "a": Outcome("ok", 0),
        "node7": Outcome("unreachable", exc.HostError("connection refused", host="node7", stderr="ssh: ...")),
        "node8": Outcome("failed", CheckResult(([], ["first", "no such file"], 2))),
        "node9": Outcome("timed_out", -1),
    }
    result = GroupResult([*outcomes, "z"], outcomes)
    with pytest.raises(exc.GroupError) as raised:
        result.raise_for_errors()
    assert str(raised.value) == (
        "4 of 5 hosts: node7 unreachable: connection refused; node8 failed: exit status 2: no such file; "
        "node9 timed out; z not started"
    )
    assert raised.value.result is result


def test_group_error_names_hosts_that_failed_alike_together():
    statuses = {"a": 3, "b": 4, "c": 3, "d": 3, "e": 0}
    # each host has its own output
    values = {host: CheckResult(([host], [], status)) for host, status in statuses.items()}
    outcomes = {host: Outcome("failed" if value.returncode else "ok", value) for host, value in values.items()}
    with pytest.raises(exc.GroupError) as raised:
        GroupResult(list(statuses), outcomes).raise_for_errors()
    assert str(raised.value) == "4 of 5 hosts: a,c,d failed: exit status 3; b failed: exit status 4"


def test_raise_for_errors_returns_a_result_without_errors():
    result = GroupResult(["a"], {"a": Outcome("ok", 0)})
    assert result.raise_for_errors() is result


def test_text_of_a_result_folds_equal_output():
    outcome = Outcome("ok", CheckResult((["Linux"], [], 0)))
    text = str(GroupResult(["a", "b"], {"a": outcome, "b": outcome}))
    assert text.splitlines() == ["a,b (2 hosts): ok", "    Linux"]


def test_results_can_be_pickled():
    result = GroupResult(
        ["a", "b", "c"],
        {"a": Outcome("ok", CheckResult((["x"], [], 0))), "b": Outcome("failed", exc.ConnectionLost("b", "ls", "x"))},
    )
    copy = pickle.loads(pickle.dumps(result))
    assert copy.ok == result.ok and copy["a"].stdout == ["x"]
    assert str(copy) == str(result) and copy.not_started == {"c": None}


def test_keywords_that_each_host_would_refuse_are_refused_before_anything_starts():
    group = fleet("a")
    with pytest.raises(TypeError, match="exit"):
        group.run("true", exit=True)
    with pytest.raises(TypeError, match="delet"):
        group.rsync("/tmp", "/tmp", delet=True)
    with pytest.raises(TypeError, match="bach"):
        group.import_module(pickle, bach=3)
    assert not group["a"].has_connection()


def test_too_few_descriptors_are_reported_before_anything_starts(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 100))
    group = fleet(*[f"h{number}" for number in range(50)])
    with pytest.raises(
        OSError, match="50 connections need .* file descriptors, and the limit is 100: raise it with ulimit"
    ):
        group.map(str)
    assert not any(group[name].has_connection() for name in group)


def test_host_whose_work_ends_its_thread_has_failed():
    def work(conn):
        raise SystemExit(3)

    assert isinstance(fleet("a").map(work).failed["a"], SystemExit)


def test_connections_of_a_smaller_group_are_closed_by_the_whole_group_only():
    group = fleet("a", "b")
    with group.only("a") as part:
        part.map(str)
    assert not group["a"].is_closed
    group.close()
    assert group["a"].is_closed


def test_patterns_choose_a_part():
    pytest.importorskip("ClusterShell")
    group = fleet("node[1-4]")
    assert list(group.without("node[2-3]")) == ["node1", "node4"]
    pairs = fleet(("node[1-2]", {"interpreter": "x"}))
    assert [pairs[name].interpreter for name in pairs] == ["x", "x"]


def test_reconnect_reports_the_hosts_it_reached():
    result = fleet("a", "down1").reconnect()
    assert (list(result.ok), list(result.unreachable)) == (["a"], ["down1"])


class Late:
    """Work that runs until the test ends it, even if its connection is closed."""

    def __init__(self):
        self.may_end = threading.Event()
        self.started = threading.Event()

    def __call__(self, conn):
        self.started.set()
        assert self.may_end.wait(30)


@pytest.fixture
def interrupt():
    """Send Ctrl-C to the waiting main thread, once after each of the events."""
    threads = []

    def send(*events):
        for event in events:
            assert event.wait(20)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def start(*events):
        threads.append(threading.Thread(target=send, args=events))
        threads[0].start()

    yield start
    threads[0].join()


def test_host_that_keeps_running_after_ctrl_c_has_failed(interrupt):
    late = Late()
    interrupt(late.started)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as raised:
        fleet("a", "b", parallel=1).map(late)
    duration = time.monotonic() - began
    late.may_end.set()
    result = raised.value.result
    assert list(result.failed) == ["a"] and list(result.not_started) == ["b"]
    assert isinstance(result["a"], exc.ConnectionLost)
    assert duration < 15


def test_second_ctrl_c_ends_the_wait_and_has_the_result(interrupt):
    late = Late()
    group = fleet("a", parallel=1)
    interrupt(late.started, group["a"].closing)
    with pytest.raises(KeyboardInterrupt) as raised:
        group.map(late)
    late.may_end.set()
    assert list(raised.value.result.failed) == ["a"]


def test_second_ctrl_c_while_connections_close_has_the_result(interrupt):
    late, closing_again, may_close = Late(), threading.Event(), threading.Event()

    class Silent(Fleet):
        """A connection whose peer does not answer when it is closed."""

        def exit(self):
            if self.closing.is_set():
                closing_again.set()
            self.closing.set()
            may_close.wait(30)

    interrupt(late.started, closing_again)
    with pytest.raises(KeyboardInterrupt) as raised:
        remoto.Group(["a"], backend=Silent).map(late)
    late.may_end.set()
    may_close.set()
    assert list(raised.value.result.failed) == ["a"]


def test_connection_created_while_the_round_is_abandoned_is_not_opened():
    made, making, abandoned = [], threading.Event(), threading.Event()

    class Renewed(Fleet):
        def __init__(self, *args, **keywords):
            super().__init__(*args, **keywords)
            made.append(self)
            if len(made) == 3:
                making.set()
                assert abandoned.wait(30)

        def exit(self):
            super().exit()
            if making.is_set():
                abandoned.set()

    group = remoto.Group(["a", "b"], backend=Renewed)
    group.map(str)
    group["a"].exit()
    results = group.map(lambda conn: making.wait(30), as_completed=True)
    assert next(results) == ("b", True)
    results.close()
    assert len(made) == 3 and not made[2].has_connection()


def test_ctrl_c_while_iterating_has_the_result_so_far(interrupt):
    late = Late()
    first = threading.Event()

    interrupt(first)
    with pytest.raises(KeyboardInterrupt) as raised:
        list(
            fleet("a", "b").map(
                lambda conn: late(conn) if conn.hostname == "b" else 1,
                as_completed=True,
                progress=lambda *numbers: first.set(),
            )
        )
    late.may_end.set()
    assert raised.value.result.ok == {"a": 1}


def test_nothing_is_run_on_a_host_that_connects_while_the_others_are_abandoned(interrupt):
    """The connection opens too late."""
    connecting, abandoned = threading.Event(), threading.Event()

    class Slow(Fleet):
        def _make_gateway(self, hostname):
            connecting.set()
            assert abandoned.wait(30)
            return super()._make_gateway(hostname)

        def exit(self):
            abandoned.set()

    group = remoto.Group(["a", "b"], backend=Slow, parallel=2)
    ran = []
    interrupt(connecting)
    with pytest.raises(KeyboardInterrupt) as raised:
        group.map(lambda conn: ran.append(conn.hostname))
    assert not ran and list(raised.value.result.not_started) == ["a", "b"]


def test_threads_end_when_a_call_returns():
    before = set(threading.enumerate())
    seen = fleet(*"abcdef").map(lambda conn: threading.current_thread())
    started = set(seen.values()) - before
    assert started
    for thread in started:
        thread.join(20)
    assert not started & set(threading.enumerate())


def because(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError("x"), "timed_out"),
        (exc.TimeoutError("x"), "timed_out"),
        (exc.CommandTimeout("a", "ls", 1, [], [], ""), "timed_out"),
        (exc.FileTransferError("put", "a", [("", "no answer")], errno.ETIMEDOUT), "timed_out"),
        (exc.FileTransferError("put", "a", [("", "no space")], errno.ENOSPC), "failed"),
        (because(exc.FunctionError("a", "f", "", "no answer", "", "no answer"), TimeoutError()), "timed_out"),
        (because(exc.FunctionError("a", "f", "", "no answer", "", "no answer"), ValueError()), "failed"),
        (exc.ConnectionLost("a", "ls", "lost"), "failed"),
        (exc.CommandError("a", "ls", 3), "failed"),
        (exc.HostError("refused", host="other"), "failed"),
        (ValueError("x"), "failed"),
    ],
)
def test_error_raised_by_work_decides_the_outcome(error, kind):
    def work(conn):
        raise error

    result = fleet("a").map(work)
    assert getattr(result, kind) == {"a": error}


def test_missing_container_is_unreachable_and_container_without_python_runs_commands():
    class Container(Fleet):
        def import_module(self, *args, **keywords):
            raise exc.ContainerError("no Python", host=self.hostname, kind="interpreter", action="run functions on")

    group = remoto.Group(["a"], backend=Container)
    assert list(group.import_module(pickle).dumps(1).unreachable) == ["a"]
    assert group.map(str).ok


def test_value_of_a_generator_is_a_list():
    assert fleet("a").map(lambda conn: (number for number in range(3)))["a"] == [0, 1, 2]


@pytest.mark.parametrize(
    "verb",
    [
        lambda group: group.run(3),
        lambda group: group.check(["ls"], timeout="5"),
        lambda group: group.check(["ls"], on_stdout=5),
        lambda group: group.check(["ls"], stdin=5),
        lambda group: group.put("/nonexistent/source", "/tmp/x"),
        lambda group: group.put(open(os.devnull, "rb"), "/tmp/x"),
        lambda group: group.rsync("/nonexistent/source", "/tmp/x"),
        lambda group: group.get("", "/tmp"),
        lambda group: group.import_module(os.path).join(object()),
        lambda group: group.import_module("os").title(),
        lambda group: group.import_module(os.path, include=5).join("a"),
        lambda group: group.import_module(os.path, python_executable=5).join("a"),
        lambda group: group.import_module(os.path).nope,
        lambda group: group.import_module(os.path).sep,
        lambda group: group.map(5),
        lambda group: group.map(str, stop_after=0),
        lambda group: group.map(str, progress=5),
    ],
)
def test_arguments_that_each_host_would_refuse_are_refused_before_anything_starts(verb):
    group = fleet("a", "b")
    with pytest.raises((TypeError, ValueError, AttributeError, exc.FileTransferError)):
        verb(group)
    assert not group["a"].has_connection()


def test_copies_of_two_hosts_with_the_same_file_name_are_refused(tmp_path):
    group = fleet("a/b", "a_b", "c")
    with pytest.raises(ValueError, match="the same name: a_b"):
        group.get("/etc/hosts", tmp_path)


def test_group_may_be_used_in_a_child_of_fork():
    """It works even if a thread of the parent is connecting at that time, and has the only turn to log in."""
    parent = os.getpid()
    connecting, done = threading.Event(), threading.Event()

    class Slow(Fleet):
        def _make_gateway(self, hostname):
            if os.getpid() == parent and hostname == "b":
                connecting.set()
                done.wait(30)
            return super()._make_gateway(hostname)

    group = remoto.Group(["a", "b"], backend=Slow, logins=1)
    group.only("a").map(str)
    thread = threading.Thread(target=group.map, args=(str,))
    thread.start()
    assert connecting.wait(20)
    child = os.fork()
    if not child:
        # a child that hangs ends; one that fails must not go on with the other tests
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)
        reached = 0
        try:
            reached = len(group.map(str).ok)
        finally:
            os._exit(0 if reached == 2 else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert status == 0


def test_control_characters_are_escaped_in_the_text_of_a_result():
    outcome = Outcome("failed", CheckResult((["\x1b[2Jx"], ["\x07"], 1)))
    result = GroupResult(["a"], {"a": outcome})
    assert "\x1b" not in str(result) and "\\x1b[2Jx" in str(result)
    with pytest.raises(exc.GroupError) as raised:
        result.raise_for_errors()
    assert "\x07" not in str(raised.value)


def test_equal_values_of_other_types_are_different_outcomes():
    values = {"a": 1, "b": True, "c": {"x": [1], "y": {2}}, "d": {"y": {2}, "x": [1]}}
    result = GroupResult([*values], {host: Outcome("ok", value) for host, value in values.items()})
    assert [hosts for _, hosts in result.gather()] == [["c", "d"], ["a"], ["b"]]


def test_error_of_a_group_can_be_pickled():
    result = GroupResult(["a", "b"], {"a": Outcome("failed", exc.ConnectionLost("a", "ls", "x"))})
    with pytest.raises(exc.GroupError) as raised:
        result.raise_for_errors()
    copy = pickle.loads(pickle.dumps(raised.value))
    assert str(copy) == str(raised.value) and list(copy.result.failed) == ["a"]


@pytest.mark.parametrize("target", ["remoto.Connection", "remoto.connection.get"])
def test_scripted_hosts_answer_for_a_group(target, monkeypatch, tmp_path):
    """No process is started, not even ssh."""
    hosts = Hosts()
    monkeypatch.setattr(target, hosts if target == "remoto.Connection" else hosts.get)
    monkeypatch.setattr("subprocess.Popen", None)
    hosts["node1"].on(["uname"], stdout="Linux\n")
    hosts["node2"].on(["uname"], exit_code=3)
    hosts["node3"].unreachable()
    hosts["node4"].on(["uname"], is_lost=True)
    hosts["node4"].on(["uname"], stdout="Linux\n")
    hosts["node1"].on_call("exists", True)
    with remoto.Group([f"node{number}" for number in range(1, 5)], connect_retries=0) as group:
        result = group.check(["uname"])
        assert {kind: list(getattr(result, kind)) for kind in ("ok", "failed", "unreachable")} == {
            "ok": ["node1"],
            "failed": ["node2", "node4"],
            "unreachable": ["node3"],
        }
        # a lost connection is reopened
        assert list(group.only("node4").check(["uname"]).ok) == ["node4"]
        part = group.only("node1")
        assert part.import_module(os.path).exists("/x").ok == {"node1": True}
        part.put(b"hello", "/etc/motd").raise_for_errors()
        part.get("/etc/motd", tmp_path / "copies").raise_for_errors()
    assert (tmp_path / "copies" / "node1").read_bytes() == b"hello"


@pytest.fixture
def hosts(monkeypatch):
    hosts = Hosts()
    monkeypatch.setattr("remoto.Connection", hosts)
    monkeypatch.setattr("subprocess.Popen", None)
    return hosts


def test_scripted_hosts_answer_every_verb_of_a_group(hosts, tmp_path):
    names = ["node1", "node2", "node3"]
    for name in names:
        hosts[name].on(["hostname"], stdout=f"{name}\n")
        hosts[name].on(["sleep", "9"], times_out=True)
        hosts[name].on(["nope"], is_missing=True)
        hosts[name].on_call("exists", name != "node2")
    hosts["node4"].unreachable()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("a")
    with remoto.Group([*names, "node4"]) as group:
        assert group.run(["hostname"]).ok == dict.fromkeys(names, 0)
        assert list(group.run(["sleep", "9"], timeout=1).timed_out) == names
        assert {type(error) for error in group.run(["nope"]).failed.values()} == {exc.CommandError}
        assert group.map(lambda conn: check(conn, ["hostname"]).stdout[0]).ok == {name: name for name in names}
        assert group.import_module(os.path).exists("/x").ok == {"node1": True, "node2": False, "node3": True}
        assert list(group.rsync(tmp_path / "source", "/srv", delete=True).ok) == names
        assert list(group.put(tmp_path / "source", "/opt/copy").ok) == names
        assert list(group.get("/srv", tmp_path / "copies").ok) == names
        values = dict(group.check(["hostname"], as_completed=True))
        assert {host: value.stdout for host, value in values.items() if host != "node4"} == {
            name: [name] for name in names
        }
        assert values["node4"].kind == "unreachable"
        rolling = group.check(["hostname"], batch=1, stop_after=1)
        assert list(rolling.ok) == names and list(rolling.unreachable) == ["node4"]
        assert [error.kind for error in group.reconnect().unreachable.values()] == ["unreachable"]
    assert all(hosts[name].files == {"/srv/a": b"a", "/opt/copy/a": b"a"} for name in names)
    assert (tmp_path / "copies" / "node3" / "a").read_text() == "a"
    assert hosts["node1"].unused() == []


def test_scripted_relays(hosts):
    for name in ("node1", "node2"):
        hosts[name].on(["true"])
    hosts["gate"].on(["reboot"], is_lost=True)
    hosts["node3"].unreachable()
    hosts["down"].unreachable()
    via = {"gate": ["node1", "node2", "node3"], "down": ["node4"]}
    with remoto.Group(["node1", "node2", "node3", "node4"], via=via) as group:
        result = group.check(["true"])
        assert list(result.ok) == ["node1", "node2"]
        assert [str(error) for error in result.unreachable.values()] == [
            "cannot connect to node3 via gate: no route to host",
            "cannot connect to node4 via down: cannot connect to the relay: no route to host",
        ]
        with pytest.raises(exc.ConnectionLost):
            check(group["node1"].via, ["reboot"])
        result = group.check(["true"])
        assert {str(error) for host, error in result.unreachable.items() if host in ("node1", "node2")} == {
            "cannot connect to node1 via gate: the connection to the relay gate was lost",
            "cannot connect to node2 via gate: the connection to the relay gate was lost",
        }
        assert list(group.reconnect().ok) == ["node1", "node2"]


def test_scripted_hosts_need_no_descriptors(hosts):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    names = [f"n{number}" for number in range(300)]
    for name in names:
        hosts[name].on(["true"])
    try:
        assert len(remoto.Group(names).run(["true"]).ok) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_scripted_containers_answer_for_a_group(monkeypatch):
    hosts = Hosts()
    monkeypatch.setattr("remoto.connection.get", hosts.get)
    hosts["web"].on(["nginx", "-t"])
    assert list(remoto.Group(["web"], backend="docker").check(["nginx", "-t"]).ok) == ["web"]
