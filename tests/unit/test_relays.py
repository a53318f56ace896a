"""Hosts are assigned to relays; invalid arguments are refused before anything starts."""

import pickle

import pytest

import remoto
from remoto.exc import HostError


def unopened(name, **kw):
    return remoto.Connection(name, eager=False, **kw)


def relays(group):
    return {host: group[host].via and group[host].via.hostname for host in group}


def test_hosts_are_assigned_to_relays_in_turn():
    group = remoto.Group(["a", "b", "c"], via=["r1", unopened("r2")])
    assert relays(group) == {"a": "r1", "b": "r2", "c": "r1"}
    assert group["a"].via is group["c"].via


def test_mapping_assigns_relays_and_leaves_the_other_hosts_alone():
    group = remoto.Group(["a", "b", "c", "d"], via={"r1": "a", unopened("r2"): ["b", "c"]})
    assert relays(group) == {"a": "r1", "b": "r2", "c": "r2", "d": None}


def test_single_relay_may_be_passed_without_a_list():
    assert relays(remoto.Group(["a", "b"], via="r")) == {"a": "r", "b": "r"}
    assert relays(remoto.Group(["a", "b"], via=unopened("r"))) == {"a": "r", "b": "r"}


@pytest.mark.parametrize("via", ["r", ["r"], {"r": ["a"]}])
def test_connect_timeout_applies_to_relays_by_name(via):
    group = remoto.Group(["a"], via=via, connect_timeout=3, interpreter="python4")
    assert group["a"].via.connect_timeout == 3
    assert group["a"].via.interpreter == "python3"


def test_smaller_groups_keep_the_relays():
    group = remoto.Group(["a", "b"], via="r")
    assert group.only("a")["a"].via is group["b"].via


@pytest.mark.parametrize(
    ("via", "error", "text"),
    [
        (["a"], ValueError, "the relay a is also a host$"),
        ({"b": "a"}, ValueError, "the relay b is also a host$"),
        (unopened("a"), ValueError, "the relay a is also a host$"),
        ([], ValueError, "expected at least one relay"),
        ({}, ValueError, "expected at least one relay"),
        ({"r[1-2]": "a"}, ValueError, r"r\[1-2\]: expected one relay, not a pattern"),
        ({"r": "z"}, ValueError, "not in the group: z"),
        ({"r": ["a"], "q": ["a"]}, ValueError, "a has two relays: r and q"),
        (3, TypeError, "expected names or connections, not int"),
        ([3], TypeError, "expected a name or a connection, not int"),
    ],
)
def test_group_refuses_wrong_relays(via, error, text):
    with pytest.raises(error, match=text):
        remoto.Group(["a", "b"], via=via)


def test_containers_are_found_through_a_connection_only():
    with pytest.raises(TypeError, match="via: expected a connection, which finds the containers, too, not str"):
        remoto.Group.containers(via="r")


def test_group_refuses_relays_for_existing_connections():
    with pytest.raises(TypeError, match="a is already a connection"):
        remoto.Group([unopened("a")], via="r")


def test_connection_refuses_a_name_as_its_relay():
    with pytest.raises(TypeError, match="via: expected a connection, not str: 'r'"):
        unopened("a", via="r")


def test_localhost_means_the_relay_and_the_name_of_this_machine_does_not():
    import socket

    relay = unopened("r")
    spec = unopened("localhost", via=relay)._make_connection_string("localhost")
    assert spec == "popen//python=python3"
    name = socket.gethostname()
    assert unopened(name, via=relay)._make_connection_string(name) == f"ssh={name}//python=python3"


def test_error_names_the_relay_even_after_pickling():
    error = HostError("connection refused", host="node7", kind="refused")
    error.name_relay("bastion")
    assert str(error) == "cannot connect to node7 via bastion: connection refused"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.via) == (str(error), "bastion")


def test_closed_relay_is_named_and_nothing_is_started():
    relay = unopened("r")
    relay.exit()
    with pytest.raises(HostError, match="cannot connect to a via r: the connection to the relay r is closed") as error:
        remoto.Connection("a", via=relay)
    assert (error.value.kind, error.value.via, error.value.command) == ("relay", "r", [])
