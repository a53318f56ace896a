"""The tree of errors, and the attributes of each."""

import pickle
import re

import pytest
from execnet.gateway_bootstrap import HostNotFound

from remoto import exc
from remoto.fleets.result import GroupResult, Outcome


def documented_tree():
    """Return {name: names of its bases} from the tree in the docstring of exc.py."""
    tree, parents = {}, {}
    for indent, name, others in re.findall(r"^( {4,})(\w+)(?: +\(also (.*)\))?$", exc.__doc__, re.MULTILINE):
        parents[len(indent)] = name
        tree[name] = {parents.get(len(indent) - 4, "Exception"), *re.findall(r"\w+(?=,|$| and)", others)}
    return tree


def test_documented_tree_matches_the_classes():
    own = {name: getattr(exc, name) for name in exc.__all__ if issubclass(getattr(exc, name), exc.RemotoError)}
    assert documented_tree() == {name: {base.__name__ for base in error.__bases__} for name, error in own.items()}
    assert len(own) > 5


def test_connect_error_shows_command_stderr_and_advice():
    error = exc.HostError(
        "connection refused",
        host="node1",
        kind="refused",
        command=["ssh", "-o", "a b", "node1"],
        exit_status=255,
        stderr="ssh: first\n\nsecond\n",
        advice="Start it.",
    )
    assert str(error).splitlines() == [
        "cannot connect to node1: connection refused",
        "    ssh: first",
        "    second",
        "tried: ssh -o 'a b' node1 (exit status 255)",
        "Start it.",
    ]
    assert (error.host, error.kind, error.exit_status) == ("node1", "refused", 255)
    assert error.command == ["ssh", "-o", "a b", "node1"]


@pytest.mark.parametrize(
    ("error", "caught_by"),
    [
        (exc.ConnectError, {exc.ConnectError}),
        (exc.HostError, {exc.ConnectError, HostNotFound}),
        (exc.InvalidHostname, {exc.ConnectError, HostNotFound, ValueError}),
        (exc.StartError, {exc.ConnectError, OSError}),
        (exc.ContainerError, {exc.ConnectError, OSError, RuntimeError}),
        (exc.RsyncError, {HostNotFound, OSError}),
        (exc.ConnectionLost, {OSError, RuntimeError}),
    ],
)
def test_connection_errors_have_the_expected_bases(error, caught_by):
    asked = {exc.ConnectError, HostNotFound, OSError, RuntimeError, ValueError}
    assert {base for base in asked if issubclass(error, base)} == caught_by


def test_connect_error_without_a_command_shows_the_reason():
    assert str(exc.ConnectError("why", host="h")) == "cannot connect to h: why"
    assert "(killed by remoto)" in str(exc.ConnectError("why", host="h", command=["ssh"]))


def test_lost_connection_names_host_and_command():
    error = exc.ConnectionLost("node1", "ls -a", "it ended", "one\ntwo\n")
    assert str(error) == "it ended: node1, ls -a (one; two)"
    assert (error.host, error.command) == ("node1", "ls -a") and isinstance(error, RuntimeError)


def test_command_error_has_host_command_and_exit_code():
    error = exc.CommandError("node1", "ls -a", 3)
    assert str(error) == "Failed to execute command: ls -a" and isinstance(error, RuntimeError)
    assert (error.host, error.command, error.exit_code, error.traceback) == ("node1", "ls -a", 3, "")


ERRORS = [
    *[
        kind("why", host="h", kind="refused", command=["ssh", "h"], exit_status=255, stderr="x", advice="y")
        for kind in (exc.ConnectError, exc.HostError, exc.InvalidHostname, exc.StartError, exc.ContainerError)
    ],
    exc.ConnectionLost("h", "ls", "it ended", "words"),
    exc.CommandError("h", "ls", 3, "traceback"),
    exc.CommandTimeout("h", "ls", 2, ["out"], [], "It was left running."),
    exc.FunctionError("h", "f", "ValueError", "message", "traceback", "text"),
    exc.ModuleMissing("h", "f", "ImportError", "message", "traceback", "text"),
    exc.FileTransferError("put a to b", "h", [("a", "No such file"), ("b", "none")], 2),
    exc.RsyncError({"h": OSError(1, "no")}, ["i"]),
    exc.GroupError("1 of 1 hosts: h failed: exit status 3", GroupResult(["h"], {"h": Outcome("failed", 3)})),
]


def notes(error):
    """Return what a traceback shows below the error's text, or before Python 3.11 above it."""
    return str(error.__cause__), getattr(error, "__notes__", None)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error) and copy.args == error.args
    assert {name: str(value) for name, value in vars(copy).items()} == {
        name: str(value) for name, value in vars(error).items()
    }
    assert getattr(copy, "errno", None) == getattr(error, "errno", None)
    assert notes(copy) == notes(error)


def test_every_error_class_is_tested_for_pickling():
    own = {error for name in exc.__all__ if issubclass(error := getattr(exc, name), exc.RemotoError)}
    assert {type(error) for error in ERRORS} == own - {exc.RemotoError}
