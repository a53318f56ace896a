"""How a group goes through its hosts, and its results; connections answer from a script."""

import pickle
import threading

import pytest

import remoto
from remoto import exc
from remoto.fleets.result import GroupResult, Outcome
from remoto.fleets.schedule import batches
from remoto.process import CheckResult


class Fleet(remoto.backends.BaseConnection):
    """A connection that is open without anything behind it; ``down`` hosts can't be reached."""

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
    def hasreceiver(self):
        return True

    def exit(self):
        pass


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
            assert first.wait(10)
        first.set()

    assert list(fleet("a", "b").map(work)) == ["a", "b"]


def test_an_unreachable_host_is_reported_again_without_another_try():
    group = fleet("down1")
    first, again = (group.map(str)["down1"] for _ in range(2))
    assert first is again
    group.reconnect()
    assert group.map(str)["down1"] is not first


def test_as_completed_yields_each_host_as_it_comes():
    done = {name: threading.Event() for name in "ab"}

    def work(conn):
        assert done[conn.hostname].wait(10)
        return conn.hostname

    results = fleet("a", "b").map(work, as_completed=True)
    done["b"].set()
    assert next(results) == ("b", "b")
    done["a"].set()
    assert list(results) == [("a", "a")]


def test_leaving_as_completed_early_starts_no_further_host_and_closes_those_in_work():
    started = []

    def work(conn):
        started.append(conn.hostname)
        if conn.hostname == "b":
            assert conn.closing.wait(10)

    group = fleet("a", "b", "c", parallel=1)
    results = group.map(work, as_completed=True)
    next(results)
    results.close()
    assert "c" not in started
    assert not group["c"].closing.is_set()


def test_a_batch_begins_after_the_one_before_has_ended():
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
def test_a_batch_of_nonsense_is_refused_before_anything_starts(batch):
    started = []
    with pytest.raises((TypeError, ValueError), match="batch"):
        fleet("a").map(started.append, batch=batch)
    assert not started


def test_stop_after_may_leave_unreachable_hosts_out_of_account():
    group = fleet("down1", "down2", "a", "b", parallel=1)
    assert list(group.map(str, stop_after=1).not_started) == ["down2", "a", "b"]
    group.reconnect()
    assert not group.map(str, stop_after=1, count_unreachable=False).not_started


def test_progress_is_called_with_hosts():
    calls = []
    fleet("a", "b", parallel=1).map(str, progress=lambda *numbers: calls.append(numbers))
    assert calls == [(1, 2, "a"), (2, 2, "b")]


def test_an_error_of_progress_ends_the_work_and_is_raised():
    def work(conn):
        if conn.hostname == "b":
            assert conn.closing.wait(10)
        started.append(conn.hostname)

    def progress(done, total, host):
        raise LookupError(host)

    started = []
    with pytest.raises(LookupError, match="a"):
        fleet("a", "b", "c", parallel=1).map(work, progress=progress)
    assert "c" not in started


def test_only_and_without_share_connections():
    group = fleet("a", "b", "c")
    group.map(str)
    part = group.only("a", "b").without("b")
    assert list(part) == ["a"] and part["a"] is group["a"]
    with pytest.raises(KeyError, match="x"):
        group.only("x")
    with pytest.raises(ValueError, match="no host is left"):
        group.without("a", "b", "c")


def test_a_program_s_own_connection_is_neither_closed_nor_opened_again():
    conn = Fleet("a")
    with remoto.Group([conn]) as group:
        assert group.map(lambda conn: conn).ok == {"a": conn}
    assert conn.has_connection()
    conn.exit()
    conn.gateway = None
    assert isinstance(group.map(str).unreachable["a"], exc.ConnectionLost)


def test_a_group_that_was_closed_connects_again_on_use():
    with fleet("a") as group:
        first = group.map(lambda conn: conn)["a"]
    assert group.map(lambda conn: conn)["a"] is not None
    assert first.is_closed


@pytest.mark.parametrize(
    ("hosts", "error", "text"),
    [
        ([], ValueError, "no host"),
        ({}, ValueError, "no host"),
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


def test_one_connection_in_place_of_hosts_is_refused():
    with pytest.raises(TypeError, match="in a list"):
        remoto.Group(Fleet("a"))


def test_a_host_that_is_named_twice_is_worked_on_once_with_a_warning():
    with pytest.warns(UserWarning, match="named more than once: a"):
        group = fleet("a", "b", "a")
    assert list(group) == ["a", "b"]


def test_hosts_may_have_keywords_of_their_own():
    group = remoto.Group({"a": {"sudo": True}, "b": {}}, backend=Fleet, interpreter="python3.9")
    assert group["a"].sudo and not group["b"].sudo and group["b"].interpreter == "python3.9"
    pairs = remoto.Group(["a", ("b", {"interpreter": "python3"})], backend=Fleet)
    assert pairs["b"].interpreter == "python3"


def test_the_name_becomes_the_container_s_or_the_pod_s():
    docker = remoto.Group(["web"], backend="docker")
    assert docker["web"].identifier == "web" and docker["web"].hostname == "localhost"
    assert remoto.Group(["web-0"], backend="kubernetes", namespace="shop")["web-0"].pod_name == "web-0"


def test_a_string_is_one_host():
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


def test_the_error_of_a_group_tells_which_hosts_and_why():
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


def test_a_result_without_errors_raises_none_and_returns_itself():
    result = GroupResult(["a"], {"a": Outcome("ok", 0)})
    assert result.raise_for_errors() is result


def test_the_text_of_a_result_folds_equal_output():
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


def test_work_that_ends_its_thread_is_a_failure():
    def work(conn):
        raise SystemExit(3)

    assert isinstance(fleet("a").map(work).failed["a"], SystemExit)
