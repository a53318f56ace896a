"""Rounds of any shape: each host is served at most once, and is in exactly one part of the result."""

import threading

import pytest

from remoto import exc
from remoto.fleets.result import GroupResult
from tests.unit.test_group import fleet

# distributions have none
hypothesis = pytest.importorskip("hypothesis")
given, settings, st = hypothesis.given, hypothesis.settings, hypothesis.strategies

PARTS = ("ok", "failed", "unreachable", "timed_out", "not_started")
KINDS = st.sampled_from(["ok", "down", "bad", "slow"])
SIZES = st.one_of(st.integers(1, 9), st.sampled_from(["1%", "25%", "100%"]))
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "batch": st.one_of(SIZES, st.lists(SIZES, min_size=1, max_size=3)),
        "stop_after": st.integers(1, 4),
        "count_unreachable": st.booleans(),
    },
)


class Counting:
    """Work whose outcome depends on the name of the host; count its calls."""

    def __init__(self):
        self.served = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, conn):
        with self._lock:
            self.served.append(conn.hostname)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if conn.hostname.startswith("bad"):
                raise ValueError("bad")
            if conn.hostname.startswith("slow"):
                raise TimeoutError("slow")
            return conn.hostname
        finally:
            with self._lock:
                self._now -= 1


@settings(deadline=None, max_examples=60)
@given(st.lists(KINDS, min_size=1, max_size=10), st.integers(1, 6), OPTIONS)
def test_each_host_is_in_one_part_and_is_served_once(kinds, parallel, options):
    hosts = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    work = Counting()
    result = fleet(*hosts, parallel=parallel).map(work, **options)
    assert sorted(host for part in PARTS for host in getattr(result, part)) == sorted(hosts)
    assert len(set(work.served)) == len(work.served) and work.most <= parallel
    assert set(work.served) == {*result.ok, *result.failed, *result.timed_out}
    expected = {"ok": "ok", "down": "unreachable", "bad": "failed", "slow": "timed_out"}
    assert all(host in getattr(result, expected[host.rstrip("0123456789")]) for host in result)
    counted = len(result.failed) + len(result.timed_out)
    counted += len(result.unreachable) if options.get("count_unreachable", True) else 0
    limit = options.get("stop_after")
    # other hosts may be running when the last counted one is done
    assert bool(result.not_started) <= (limit is not None and counted >= limit)
    assert limit is None or counted < limit + parallel


@settings(deadline=None, max_examples=40)
@given(st.lists(KINDS, min_size=1, max_size=8), st.integers(1, 4), st.integers(0, 8))
def test_completed_results_are_those_of_the_hosts_served(kinds, parallel, taken):
    hosts = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    work = Counting()
    results = fleet(*hosts, parallel=parallel).map(work, as_completed=True)
    came = dict(pair for pair, _ in zip(results, range(taken)))
    results.close()
    served = len(work.served)
    assert set(came) <= set(hosts) and len(came) == min(taken, len(hosts))
    assert all(isinstance(value, exc.HostError) == host.startswith("down") for host, value in came.items())
    # nothing starts after the loop was left
    assert len(work.served) == served


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 2), max_size=12))
def test_groups_of_hosts_with_the_same_outcome_make_up_all_hosts(values):
    hosts = [f"h{number}" for number in range(len(values))]
    result = (
        fleet(*hosts, parallel=2).map(lambda conn: values[int(conn.hostname[1:])]) if hosts else GroupResult([], {})
    )
    gathered = result.gather()
    assert sorted(host for _, group in gathered for host in group) == sorted(hosts)
    assert [len(group) for _, group in gathered] == sorted((len(group) for _, group in gathered), reverse=True)
    assert all(result[host] == value for value, group in gathered for host in group)
