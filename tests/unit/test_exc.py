"""The tree of errors, and what each carries."""

import re

from execnet.gateway_bootstrap import HostNotFound

from remoto import exc


def documented_tree():
    """{name: names of its bases} from the picture at the top of exc.py."""
    tree, parents = {}, {}
    for indent, name, others in re.findall(r"^( {4,})(\w+)(?: +\(also (.*)\))?$", exc.__doc__, re.MULTILINE):
        parents[len(indent)] = name
        tree[name] = {parents.get(len(indent) - 4, "Exception"), *re.findall(r"\w+(?=,|$| and)", others)}
    return tree


def test_the_picture_is_the_tree():
    own = {name: getattr(exc, name) for name in exc.__all__ if issubclass(getattr(exc, name), exc.RemotoError)}
    assert documented_tree() == {name: {base.__name__ for base in error.__bases__} for name, error in own.items()}
    assert len(own) > 5


def test_a_connect_error_tells_all_it_knows():
    error = exc.ConnectError(
        "nothing listens there",
        host="node1",
        kind="refused",
        command=["ssh", "-o", "a b", "node1"],
        exit_status=255,
        stderr="ssh: first\n\nsecond\n",
        advice="Start it.",
    )
    assert str(error).splitlines() == [
        "cannot connect to node1: nothing listens there",
        "    ssh: first",
        "    second",
        "tried: ssh -o 'a b' node1 (exit status 255)",
        "Start it.",
    ]
    assert (error.host, error.kind, error.exit_status) == ("node1", "refused", 255)
    assert isinstance(error, (OSError, HostNotFound)) and error.command == ["ssh", "-o", "a b", "node1"]


def test_a_connect_error_of_what_was_never_tried():
    assert str(exc.ConnectError("why", host="h")) == "cannot connect to h: why"
    assert "(ended by remoto)" in str(exc.ConnectError("why", host="h", command=["ssh"]))


def test_a_lost_connection_names_host_and_command():
    error = exc.ConnectionLost("node1", "ls -a", "it ended", "one\ntwo\n")
    assert str(error) == "it ended: node1, ls -a (one; two)"
    assert (error.host, error.command) == ("node1", "ls -a") and isinstance(error, RuntimeError)


def test_a_failed_command():
    error = exc.CommandError("node1", "ls -a", 3)
    assert str(error) == "Failed to execute command: ls -a" and isinstance(error, RuntimeError)
    assert (error.host, error.command, error.exit_code, error.traceback) == ("node1", "ls -a", 3, "")
