"""Numbers that both sides know are the same on both."""

from remoto.commands import answers
from tests.unit.far import far_module


def test_numbers_of_commands():
    far = far_module("command")
    for name in ("STATUS", "STDOUT", "STDERR", "TAKEN", "MESSAGE", "RUNNING", "ENDED", "LEFT"):
        assert getattr(far, name) == getattr(answers, name)
