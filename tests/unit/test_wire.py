"""Constants that both sides use are the same on both."""

from remoto.commands import answers
from remoto.remote import command, ending, streams


def test_both_sides_have_the_same_constants():
    assert answers.MESSAGE == command.MESSAGE
    for name in ("STATUS", "STDOUT", "STDERR", "TAKEN"):
        assert getattr(answers, name) == getattr(streams, name)
    for name in ("RUNNING", "ENDED", "LEFT"):
        assert getattr(answers, name) == getattr(ending, name)
