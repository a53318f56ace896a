"""The benchmarks measure what they report, and their tables mark failures and missed limits."""

import subprocess
import sys
import types

import pytest

from benchmarks import host_cost, race
from benchmarks.figures import LIMIT, REMOTO, Figure, Work, full_name
from benchmarks.table import table, tables
from benchmarks.worker import Contestant, LargestChild

VERSIONS = {"with_remoto": "2.0.0", "without": "2.1.2", "with_old_remoto": "1.2.1", "with_fabric": "3.2.3"}


def figure(remoto, limit, fabric, at_most=None, quantity="seconds"):
    values = {"with_remoto": remoto, "without": limit, "with_fabric": fabric}
    reasons = {"with_old_remoto": {"missing": "it has no such thing"}}
    return {
        "name": "some work",
        "full_name": "some work",
        "quantity": quantity,
        "values": values,
        "limit": "work without a library",
        "at_most": at_most,
        "reasons": reasons,
    }


def test_each_contestant_has_its_ratio():
    line = table(VERSIONS, [figure(0.002, 0.001, 0.006, at_most=0.003)]).splitlines()[1]
    assert line.split("  ")[0] == "some work"
    for text in ("2 ms", "3 ms", "1 ms (0.5x)", "6 ms (3x)"):
        assert text in line
    assert "ahead" not in line and "MISSED" not in line


def test_faster_peer_is_marked():
    text = table(VERSIONS, [figure(2, 1, 1.5)])
    assert "1.5 s (0.75x, ahead)" in text
    assert "1 s (0.5x)" in text, "the limit is always ahead"


def test_missed_limit_is_marked():
    assert "1.5 s MISSED" in table(VERSIONS, [figure(2, 1, 3, at_most=1.5)])


def test_missing_figure_has_its_reason():
    text = table(VERSIONS, [figure(2, 1, 3)] * 2)
    assert text.count("  remoto 1.2.1: it has no such thing (some work)") == 1


def test_reason_names_all_its_figures():
    call, large = figure(2, 1, 3), {**figure(2, 1, 3), "full_name": "some work of 1 MB"}
    processor = {**figure(2, 1, 3), "full_name": "some work: processor time here"}
    assert "it has no such thing (some work; some work of 1 MB)" in table(VERSIONS, [call, processor, large])


def test_failure_of_remoto_is_shown():
    failing = figure(2, 1, 3, at_most=1)
    del failing["values"]["with_remoto"]
    failing["reasons"]["with_remoto"] = {"failed": "OSError: no"}
    text = table(VERSIONS, [failing])
    assert "failed" in text.splitlines()[1] and "MISSED" not in text
    assert "  remoto: failed: OSError: no (some work)" in text


def test_failed_figure_has_its_error():
    failing = figure(2, 1, 3)
    failing["reasons"] = {"with_old_remoto": {"failed": "OSError: no"}}
    text = table(VERSIONS, [failing])
    assert "failed" in text.splitlines()[1]
    assert "  remoto 1.2.1: failed: OSError: no" in text


@pytest.mark.parametrize(
    ("value", "quantity", "words"),
    [(64e6, "memory", "64 MB"), (1, "trips", "1"), (51234, "bytes", "51,234"), (0, "processes", "0")],
)
def test_quantities_have_their_units(value, quantity, words):
    assert words in table(VERSIONS, [figure(value, value, value, quantity=quantity)]).splitlines()[1]


class Fake:
    """A worker that answers each request by calling ``answer``."""

    def __init__(self, name, answer, asked):
        self.name, self.answer, self.asked = name, answer, asked

    def ask(self, **request):
        self.asked.append((self.name, request))
        return self.answer(request)

    def close(self):
        pass


@pytest.fixture
def raced(tmp_path):
    """Return a function that runs a race of fake workers, and returns the results and the requests."""

    def raced(work, answers, rounds):
        asked = []
        workers = {name: Fake(name, answer, asked) for name, answer in answers.items()}
        links = [types.SimpleNamespace(bytes=0, delay=delay) for delay in (0.05, 0)]
        (tmp_path / "new").mkdir()
        ran = race.Race(work, workers, {"new": str(tmp_path / "new")}, links)
        ran.run(1, rounds)
        return ran, asked

    return raced


TRIPS = Figure("round trips", "trips")
SLOW_WORK = Work("command", ("connection", "slow"), [TRIPS])


def test_round_trips_are_computed_from_the_time_that_the_delay_adds(raced):
    def answer(request):
        # the work itself takes as long as three round trips
        return {"seconds": 0.33 + 0.205 * (request["on"][1] == "slow")}

    ran, _ = raced(SLOW_WORK, {REMOTO: answer}, 1)
    assert ran.values("trips") == {REMOTO: [2]}


def test_order_changes_in_each_round(raced):
    work = Work("command", ("connection", "node0"), [Figure("a command")])
    _, asked = raced(work, dict.fromkeys("abc", lambda request: {"seconds": 1}), 3)
    assert "".join(name for name, _ in asked) == "abc" + "abc" + "bca" + "cab"


def test_result_has_the_median_lowest_and_highest_of_its_rounds(raced):
    seconds = iter([9, 3, 1, 2])
    work = Work("command", ("connection", "node0"), [Figure("a command")])
    ran, _ = raced(work, {REMOTO: lambda request: {"seconds": next(seconds)}}, 3)
    found = race.result(work.figures[0], "a command", ran, {})
    assert [found[key] for key in ("rounds", "values", "least", "most")] == [3, {REMOTO: 2}, {REMOTO: 1}, {REMOTO: 3}]


def test_failed_contestant_is_not_measured_again(raced):
    work = Work("command", ("connection", "node0"), [Figure("a command", at_most=lambda of: of[LIMIT])])
    answers = {REMOTO: lambda request: {"seconds": 1}, LIMIT: lambda request: {"failed": "OSError: no"}}
    ran, asked = raced(work, answers, 2)
    assert [name for name, _ in asked].count(LIMIT) == 1
    found = race.result(work.figures[0], "a command", ran, {})
    assert found["reasons"] == {LIMIT: {"failed": "OSError: no"}} and found["at_most"] is None


def test_limit_may_come_from_an_earlier_figure(raced):
    work = Work("call", ("connection", "node0"), [Figure("a call", at_most=lambda of: of["a slow call"] / 100)])
    ran, _ = raced(work, {REMOTO: lambda request: {"seconds": 1}}, 1)
    assert race.result(work.figures[0], "a call", ran, {"a slow call": 50})["at_most"] == 0.5


@pytest.mark.parametrize(("contestant", "kind"), [(REMOTO, "failed"), (LIMIT, "failed"), ("with_fabric", "missing")])
def test_worker_killed_by_its_alarm_is_reported(tmp_path, monkeypatch, contestant, kind):
    worker = tmp_path / "worker.py"
    worker.write_text(
        'import os, signal\ninput()\nprint(\'{"version": "1"}\', flush=True)\n'
        "input()\nos.kill(os.getpid(), signal.SIGALRM)\n"
    )
    monkeypatch.setattr(race, "WORKER", worker)
    monkeypatch.setattr(race, "python_for", lambda contestant: sys.executable)
    assert list(race.Worker(contestant, {}).ask(do="output")) == [kind]


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        (Figure("a tree"), "a tree"),
        (Figure("  over 100 ms"), "a function over 100 ms"),
        (Figure("  round trips", "trips"), "a function: round trips"),
    ],
)
def test_figures_have_unique_names(figure, name):
    assert full_name(figure, "a function") == name


def test_memory_includes_the_largest_child():
    hold = "import sys; held = b'x' * 50_000_000; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child, LargestChild() as largest:
        child.stdout.readline()
    assert 50_000_000 < largest.bytes < 100_000_000


def test_each_work_has_a_table_with_the_contestants_as_rows():
    processor = {**figure(0.2, 0.1, 0.3), "name": "  processor time", "quantity": "cpu"}
    text = tables(VERSIONS, [figure(0.002, 0.001, 0.006, at_most=0.003), processor, figure(3, 2, 1)])
    assert text.count("Some work\n~~~~~~~~~\n") == 2
    assert '   "", "time", "processor time"\n   "remoto", "2 ms", "200 ms"\n' in text
    assert '   "fabric 3.2.3", "6 ms (3x)", "300 ms (1.5x)"\n   "our target", "3 ms", ""\n' in text
    assert "- remoto 1.2.1: it has no such thing." in text


def row(way, hosts, **changed):
    usual = {"connect": 0.1, "own": 0.002, "check": 0.001, "close": 0.01, "memory": 1e5}
    return {"way": way, "hosts": hosts, **usual, "threads": 1, "descriptors": 3, "left": 0, **changed}


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, set()),
        ({"check": 0.00119, "memory": 199_000}, set()),
        ({"check": 0.00121, "memory": 201_000}, {"check", "memory"}),
        ({"threads": 2.0, "descriptors": 5.0, "left": 1}, {"threads", "descriptors", "left"}),
    ],
)
def test_cost_of_a_host_held_open_has_limits(changed, missed):
    rows = [row("ssh", 20), row("ssh", 200, **changed)]
    assert host_cost.missed(rows[1], rows) == missed


def test_thousand_hosts_are_compared_with_hundred():
    rows = [row("stand-in", 10, memory=5e4), row("stand-in", 100), row("stand-in", 1000, connect=0.13)]
    assert [host_cost.missed(each, rows) for each in rows] == [set(), set(), {"connect"}]


def test_hosts_held_open_are_shown_with_missed_limits_and_failures():
    rows = [row("ssh", 20), row("ssh", 200, memory=3e5), {"way": "stand-in", "hosts": 1000, "failed": "OSError: no"}]
    lines = list(host_cost.text(rows))
    assert "0.3 MB MISSED" in lines[3] and "MISSED" not in lines[2]
    assert "1,000" in lines[4] and lines[4].endswith("failed: OSError: no")
    figures = "100 ms", "2 ms", "1 ms", "10 ms", "0.3 MB MISSED", "1.00", "3.00", "0"
    assert ", ".join(f'"{cell}"' for cell in ("ssh", "200", *figures)) in host_cost.rst(rows)


def test_contestant_may_measure_itself():
    module = types.SimpleNamespace(held=lambda count: {"threads": count}, MISSING={})
    answer = Contestant(module).measure("held", ("name", 3), 1)
    assert answer["threads"] == 3 and answer["seconds"] > 0
    assert Contestant(module).measure("fleet", ("name", "node"), 1) == {"missing": "not measured"}


def test_work_may_be_limited_to_some_contestants(raced):
    work = Work("relayed", ("name", "node"), [Figure("through a relay")], by=(REMOTO,))
    ran, asked = raced(work, dict.fromkeys([REMOTO, LIMIT], lambda request: {"seconds": 1}), 1)
    assert ran.values("seconds") == {REMOTO: [1]} and {name for name, _ in asked} == {REMOTO}
