"""The answers to a command's request, checked before they are used: a broken remote side may send anything."""

from __future__ import annotations

from typing import NamedTuple, Union

from ..exc import ConnectionLost
from ..util import shown

STATUS, STDOUT, STDERR, TAKEN = 0, 1, 2, 3
#: bytes that count of each message of ``run`` besides its data, as in ``remote/command.py``
MESSAGE = 64
# the states of remote/ending.py that an answer may have
RUNNING, ENDED, LEFT = "running", "ended", "left"
# what an exit status can be on any system, -N after signal N
_LOWEST, _HIGHEST = -(2**31), 2**32 - 1


class ClientEnded(NamedTuple):
    """In the place of an exit status: the container's client has ended without one of the command."""

    #: the client's exit status; None if it could not be started
    status: int | None
    #: whether the command may have begun
    started: bool
    #: the last lines of the client's stderr
    stderr: bytes
    #: how the command was ended then: RUNNING is without an attempt
    ending: str
    #: the last lines of the stderr of a client that was to end it
    problem: bytes


Status = Union[int, ClientEnded]


class Block(NamedTuple):
    """A block of output."""

    stream: int
    data: bytes


class Taken(NamedTuple):
    """So many bytes of stdin have been written to the command."""

    size: int


class Ended(NamedTuple):
    """The command has ended."""

    status: Status


class Result(NamedTuple):
    """The end of a check: its last output, which a program's mock has as lines, and its status."""

    stdout: bytes | list[str]
    stderr: bytes | list[str]
    status: Status


class WrongAnswer(Exception):
    """It is no answer that the remote side of remoto sends."""


def answer_of_run(item: object) -> Block | Ended:
    """Return what was received while a command runs.

    :raises WrongAnswer: it is nothing of the kind.
    """
    kind, value = _pair(item)
    if kind in (STDOUT, STDERR):
        return Block(kind, _data(value))
    if kind == STATUS:
        return Ended(_status(value))
    raise WrongAnswer


def answer_of_exchange(item: object, sent: int) -> Block | Ended | Taken:
    """As :func:`answer_of_run`, for a command that is being sent its stdin.

    :param sent: bytes of stdin that have not been written to the command, as far as is known.
    """
    kind, value = _pair(item)
    if kind != TAKEN:
        return answer_of_run(item)
    if type(value) is int and 0 <= value <= sent:
        return Taken(value)
    raise WrongAnswer


def answer_of_check(item: object) -> Block | Result:
    """Return one of the blocks that come first where the output is long, or the result.

    :raises WrongAnswer: it is neither.
    """
    if isinstance(item, (tuple, list)) and len(item) == 3:
        stdout, stderr, status = item
        return Result(_output(stdout), _output(stderr), _status(status))
    answer = answer_of_run(item)
    if not isinstance(answer, Block):
        raise WrongAnswer
    return answer


def is_left(item: object) -> bool:
    """Return True for the last answer to the request of a command that was to be ended, and could not be."""
    try:
        status = _status(item[-1]) if isinstance(item, tuple) and item else None
    except WrongAnswer:
        return False
    return isinstance(status, ClientEnded) and status.ending == LEFT


def wrong_answer(host: str, command: str, item: object) -> ConnectionLost:
    """Return the error for something received that is no answer to what was sent."""
    return ConnectionLost(host, command, f"the remote side sent something that is not an answer: {shown(item)}")


def _pair(item: object) -> tuple[int, object]:
    if not isinstance(item, tuple) or len(item) != 2 or type(item[0]) is not int:
        raise WrongAnswer
    return item


def _status(value: object) -> Status:
    if type(value) is int and _LOWEST <= value <= _HIGHEST:
        return value
    if isinstance(value, (list, tuple)) and len(value) == 6:
        _, status, started, stderr, ending, problem = value
        is_status = status is None or type(status) is int
        if is_status and isinstance(started, bool) and ending in (RUNNING, ENDED, LEFT):
            return ClientEnded(status, started, _data(stderr), str(ending), _data(problem))
    raise WrongAnswer


def _output(value: object) -> bytes | list[str]:
    if isinstance(value, (list, tuple)) and all(isinstance(line, str) for line in value):
        return list(value)
    return _data(value)


def _data(value: object) -> bytes:
    try:
        # execnet makes text of a Python 2's bytes, one character for each
        data = value.encode("latin-1") if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise WrongAnswer from None
    if not isinstance(data, bytes):
        raise WrongAnswer
    return data
