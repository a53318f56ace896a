"""Check the answers to a command's request: a broken remote side may send anything."""

from __future__ import annotations

from typing import NamedTuple, Union

from ..exc import ConnectionLost
from ..util import shown

STATUS, STDOUT, STDERR, TAKEN = 0, 1, 2, 3
#: bytes that a message of ``run`` counts for besides its data, as in ``remote/command.py``
MESSAGE = 64
# the states of remote/ending.py that an answer may have
RUNNING, ENDED, LEFT = "running", "ended", "left"
# the range of exit statuses on any system; -N after signal N
_LOWEST, _HIGHEST = -(2**31), 2**32 - 1


class ClientEnded(NamedTuple):
    """Sent instead of an exit status: the container's client ended without reporting the command's."""

    #: the client's exit status; None if it could not be started
    status: int | None
    #: whether the command may have begun
    started: bool
    #: the last stderr lines of the client
    stderr: bytes
    #: the state of the command afterwards: RUNNING if nothing tried to end it
    ending: str
    #: the last stderr lines of the client that tried to end it
    problem: bytes


Status = Union[int, ClientEnded]


class Block(NamedTuple):
    """A block of output."""

    stream: int
    data: bytes


class Taken(NamedTuple):
    """The number of bytes of stdin that were written to the command since the last report."""

    size: int


class Ended(NamedTuple):
    """The command has ended."""

    status: Status


class Exited(NamedTuple):
    """The exit status of a command."""

    status: int


class Result(NamedTuple):
    """The result of a check: the rest of its output, which a program's mock gives as lines, and its status."""

    stdout: bytes | list[str]
    stderr: bytes | list[str]
    status: Status


class WrongAnswer(Exception):
    """A received item is not a valid answer."""


def answer_of_run(item: object) -> Block | Ended:
    """Return an item that was received while a command runs as a Block or Ended.

    :raises WrongAnswer: it is neither.
    """
    kind, value = _pair(item)
    if kind in (STDOUT, STDERR):
        return Block(kind, _data(value))
    if kind == STATUS:
        return Ended(_status(value))
    raise WrongAnswer


def answer_of_exchange(item: object, sent: int) -> Block | Ended | Taken:
    """Return an item as :func:`answer_of_run` does, or as Taken, while stdin is sent.

    :param sent: bytes of stdin that were sent and not yet reported as written.
    """
    kind, value = _pair(item)
    if kind != TAKEN:
        return answer_of_run(item)
    if type(value) is int and 0 <= value <= sent:
        return Taken(value)
    raise WrongAnswer


def answer_of_check(item: object) -> Block | Result:
    """Return an item as the Result of a check, or as one of the Blocks that precede it if the output is long.

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
    """Return True if an item reports that a command could not be ended."""
    try:
        status = _status(item[-1]) if isinstance(item, tuple) and item else None
    except WrongAnswer:
        return False
    return isinstance(status, ClientEnded) and status.ending == LEFT


def wrong_answer(host: str, command: str, item: object) -> ConnectionLost:
    """Return the error for an item that is not a valid answer."""
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
        # execnet decodes a Python 2's bytes as Latin-1
        data = value.encode("latin-1") if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise WrongAnswer from None
    if not isinstance(data, bytes):
        raise WrongAnswer
    return data
