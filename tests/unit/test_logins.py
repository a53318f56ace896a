"""The limit on logins at the same time, and retries. Time and hosts are scripted."""

import threading

import pytest

from remoto.exc import ConnectionLost, HostError
from remoto.fleets.logins import LoginLimit, Logins


class Host:
    """A connection that fails with each of these kinds in turn, and then opens, or keeps failing."""

    connect_timeout = 60

    def __init__(self, *kinds, first_hop="", forever=None):
        self.kinds, self.hop, self.forever = list(kinds), first_hop, forever
        self.tries, self.reported, self.is_closed = 0, [], False

    def first_hop(self):
        return self.hop

    def connect(self, report=True):
        if self.is_closed:
            raise ConnectionLost("h", "", "the connection is closed")
        self.tries += 1
        kind = self.kinds.pop(0) if self.kinds else self.forever
        if kind:
            raise HostError(kind, host="h", kind=kind)

    def report_failure(self, error):
        self.reported.append(error.kind)


class Time:
    def __init__(self):
        self.now, self.pauses = 0.0, []

    def __call__(self):
        return self.now

    def pause(self, conn, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def logins(clock):
    return Logins(8, 2, clock=clock, pause=clock.pause)


@pytest.mark.parametrize("kind", ["timeout", "proxy"])
def test_what_may_pass_is_tried_again_with_growing_pauses_and_reported_once(logins, clock, kind):
    host = Host(forever=kind)
    with pytest.raises(HostError):
        logins.connect(host)
    assert host.tries == 3 and host.reported == [kind]
    first, second = clock.pauses
    assert 0.25 <= first <= 0.5 and 0.5 <= second <= 1.0


@pytest.mark.parametrize(
    "kind", ["permission", "hostkey", "refused", "unresolvable", "unreachable", "hostname", "other"]
)
def test_permanent_errors_are_not_retried(logins, kind):
    host = Host(kind)
    with pytest.raises(HostError):
        logins.connect(host)
    assert host.tries == 1 and host.reported == [kind]


def test_connections_closed_by_sshd_do_not_count_as_retries(logins):
    host = Host(*["closed"] * 6)
    logins.connect(host)
    assert host.tries == 7 and not host.reported


def test_connections_closed_by_sshd_are_retried_within_connect_timeout(logins, clock):
    host = Host(forever="closed")
    with pytest.raises(HostError):
        logins.connect(host)
    assert clock.now == pytest.approx(60) and host.reported == ["closed"]


def test_wait_for_a_login_does_not_count_for_connect_timeout(logins, clock, monkeypatch):
    host = Host(*["closed"] * 3)
    acquire = LoginLimit.acquire

    def late(limit, given_up):
        clock.now += 50
        return acquire(limit, given_up)

    monkeypatch.setattr(LoginLimit, "acquire", late)
    logins.connect(host)
    assert host.tries == 4 and clock.now > 200


def test_only_login_in_flight_is_retried_after_the_shortest_penalty(clock):
    host = Host("closed", "closed")
    Logins(1, clock=clock, pause=clock.pause).connect(host)
    assert host.tries == 3 and all(7.5 <= pause <= 15 for pause in clock.pauses)


def test_one_of_several_logins_is_retried_soon(logins, clock):
    logins.connect(Host("closed"))
    assert clock.pauses[0] <= 0.5


def test_closed_connection_is_not_retried(logins):
    host = Host("timeout")
    host.report_failure = None
    logins._pause = lambda conn, seconds: setattr(conn, "is_closed", True)
    with pytest.raises(ConnectionLost):
        logins.connect(host)
    assert host.tries == 1


def test_host_without_ssh_has_no_limit_of_logins(logins):
    host = Host(first_hop=None)
    logins.connect(host)
    assert host.tries == 1


def test_each_jump_host_has_its_own_limit_of_logins(logins):
    assert logins.limit_for("bastion") is logins.limit_for("bastion") is not logins.limit_for("")


def test_refused_logins_halve_the_limit_once_and_it_grows_slowly():
    limit = LoginLimit(8)
    numbers = [limit.acquire(lambda: False) for _ in range(8)]
    for number in numbers:
        limit.release(number, "closed")
    assert limit.allowed == 4
    for expected in (4.25, 4.485):
        limit.release(limit.acquire(lambda: False), "open")
        assert limit.allowed == pytest.approx(expected, abs=0.01)
    for _ in range(100):
        limit.release(limit.acquire(lambda: False), "open")
    assert limit.allowed == 8


def test_limit_of_logins_never_falls_below_one():
    limit = LoginLimit(2)
    for _ in range(5):
        limit.release(limit.acquire(lambda: False), "closed")
    assert limit.allowed == 1


def test_no_more_than_the_limit_log_in_at_the_same_time():
    limit, most, inside, lock = LoginLimit(3), [], [], threading.Lock()

    def log_in():
        number = limit.acquire(lambda: False)
        with lock:
            inside.append(1)
            most.append(len(inside))
        with lock:
            inside.pop()
        limit.release(number, "open")

    threads = [threading.Thread(target=log_in) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert len(most) == 20 and max(most) <= 3


def test_cancelled_wait_for_a_login_ends():
    limit = LoginLimit(1)
    limit.acquire(lambda: False)
    limit.acquire(lambda: True)
