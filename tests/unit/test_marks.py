"""The reports of container.sh are found in streams that are cut into any blocks."""

import types

import pytest

from remoto.remote.container import Marked
from remoto.remote.termination import Termination

STDOUT, STDERR = 1, 2
WORD = b"remoto-0123"
START = b"remoto started 12\n"


@pytest.fixture
def marks():
    return Marked(WORD, {"program": b"prog", "cwd": b"/x"})


def outcome(marks, client_status, script_sent):
    termination = Termination(types.SimpleNamespace(output=b""))
    return marks.outcome(client_status, script_sent, termination)


@pytest.mark.parametrize("size", [1, 2, 7, 11, 1000])
def test_output_of_the_command_is_separated_in_blocks_of_any_size(marks, size):
    stream = b"the client's\n" + START + b"remoto-0124 own\nno newline" + WORD + b" ended 3\nlate\n"
    for name in (STDOUT, STDERR):
        own = b"".join(marks.feed(name, stream[place : place + size]) for place in range(0, len(stream), size))
        assert own == b"remoto-0124 own\nno newline"
    assert (marks.pid, marks.status, marks.is_complete(), marks.rest()) == ("12", 3, True, [])
    assert outcome(marks, 0, True) == 3


def test_one_complete_stream_gives_no_exit_status(marks):
    marks.feed(STDOUT, START + WORD + b" ended 0\n")
    marks.feed(STDERR, START + b"the last line\n")
    assert outcome(marks, 137, True) == ["client", 137, True, b"the last line\n", "running", b""]


@pytest.mark.parametrize(("cut", "whole"), [(STDOUT, STDERR), (STDERR, STDOUT)])
def test_stream_without_its_beginning_gives_no_exit_status(marks, cut, whole):
    end = WORD + b" ended 0\n"
    assert marks.feed(whole, START + end) == b""
    assert marks.feed(cut, b"the rest of the output\n" + end) == b""
    assert not marks.is_complete() and outcome(marks, 0, True)[:3] == ["client", 0, True]


def test_command_has_not_begun_before_its_script_arrived(marks):
    marks.feed(STDOUT, START)
    assert outcome(marks, 137, False)[2] is False
    assert outcome(marks, 98, True)[2] is False


def test_client_that_started_nothing_is_reported(marks):
    assert marks.feed(STDERR, b"Error: no such container\n") == b""
    assert marks.rest() == []
    assert outcome(marks, 125, False) == ["client", 125, False, b"Error: no such container\n", "running", b""]


def test_client_that_exits_early_gives_no_exit_status(marks):
    marks.feed(STDOUT, START)
    assert marks.feed(STDOUT, b"some" + WORD[:4]) == b"some"
    assert marks.rest() == [(STDOUT, WORD[:4])]
    marks.feed(STDERR, START + b"x" * 10_000 + b"\nthe end\n")
    client, status, started, words, *_ = outcome(marks, 137, True)
    assert (client, status, started) == ("client", 137, True) and words.endswith(b"x\nthe end\n") and len(words) < 5000


def test_output_that_looks_like_a_mark_is_kept(marks):
    marks.feed(STDOUT, START)
    lines = [b" 12 sh -c " + WORD + b" program\n", WORD + b"\n", WORD + b" ended\n", b"\xff" + START]
    assert b"".join(marks.feed(STDOUT, line) for line in lines) + marks.held[STDOUT] == b"".join(lines)
    assert not marks.is_complete() and marks.failed is None


@pytest.mark.parametrize(
    ("mark", "error"),
    [
        (b" failed program ENOENT\n", "No such file or directory: 'prog'"),
        (b" failed program 126\n", "Permission denied: 'prog'"),
        (b" failed program E2BIG\n", "Argument list too long: 'prog'"),
        (b" failed cwd ENOTDIR\n", "Not a directory: '/x'"),
    ],
)
def test_command_that_cannot_be_started_is_reported(marks, mark, error):
    marks.feed(STDERR, START + WORD + mark + WORD + b" ended 127\n")
    with pytest.raises(OSError, match=error):
        outcome(marks, 0, True)
