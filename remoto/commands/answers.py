"""Check the answers to a command's request, since a broken remote side may send anything."""

from __future__ import annotations

from typing import Union

from ..exc import ConnectionLost
from ..remote.wire import ENDED, LEFT, RUNNING, STATUS, STDERR, STDOUT, WRITTEN
from ..util import shown

# the range of exit statuses on any system; -N after signal N
_LOWEST, _HIGHEST = -(2**31), 2**32 - 1


class ClientEnded:
    """Sent instead of an exit status: the container's client exited without reporting the command's exit status.

    :ivar status: the client's exit status; None if it could not be started.
    :ivar started: False if the command was certainly not started.
    :ivar stderr: the last stderr lines of the client.
    :ivar state: the state of the command: RUNNING if nothing tried to kill it.
    :ivar problem: the last stderr lines of the client that tried to kill it.
    """

    def __init__(self, status: int | None, started: bool, stderr: bytes, state: str, problem: bytes) -> None:
        self.status, self.started, self.stderr, self.state, self.problem = status, started, stderr, state, problem


Status = Union[int, ClientEnded]


class Block:
    """A block of output."""

    def __init__(self, stream: int, data: bytes) -> None:
        self.stream, self.data = stream, data


class Written:
    """A report that so many more bytes of stdin were written to the command."""

    def __init__(self, size: int) -> None:
        self.size = size


class Ended:
    """The end of a command's output, with its exit status."""

    def __init__(self, status: Status) -> None:
        self.status = status


class Exited:
    """A command's exit status, after its output."""

    def __init__(self, status: int) -> None:
        self.status = status


class Result:
    """The result of ``check``: the rest of the output and the exit status. A program's mock sends lines, not bytes."""

    def __init__(self, stdout: bytes | list[str], stderr: bytes | list[str], status: Status) -> None:
        self.stdout, self.stderr, self.status = stdout, stderr, status


class WrongAnswer(Exception):
    """A received item is not a valid answer."""


def answer_of_run(item: object) -> Block | Ended:
    """Parse an item received from ``run``.

    :raises WrongAnswer: it is neither.
    """
    kind, value = _pair(item)
    if kind in (STDOUT, STDERR):
        return Block(kind, _data(value))
    if kind == STATUS:
        return Ended(_status(value))
    raise WrongAnswer


def answer_of_exchange(item: object, sent: int) -> Block | Ended | Written:
    """Parse an item received while stdin is sent.

    :param sent: bytes of stdin that were sent and not yet reported as written.
    :raises WrongAnswer: it is not valid.
    """
    kind, value = _pair(item)
    if kind != WRITTEN:
        return answer_of_run(item)
    if type(value) is int and 0 <= value <= sent:
        return Written(value)
    raise WrongAnswer


def answer_of_check(item: object) -> Block | Result:
    """Parse an item received from ``check``: the Result, or, if the output is long, a Block before it.

    :raises WrongAnswer: it is neither.
    """
    if isinstance(item, (tuple, list)) and len(item) == 3:
        stdout, stderr, status = item
        return Result(_output(stdout), _output(stderr), _status(status))
    answer = answer_of_run(item)
    if not isinstance(answer, Block):
        raise WrongAnswer
    return answer


def could_not_be_killed(item: object) -> bool:
    """Return True if an item reports that a command could not be killed."""
    try:
        status = _status(item[-1]) if isinstance(item, tuple) and item else None
    except WrongAnswer:
        return False
    return isinstance(status, ClientEnded) and status.state == LEFT


def wrong_answer(host: str, command: str, item: object) -> ConnectionLost:
    """Return the error for an item that is not a valid answer."""
    return ConnectionLost(host, command, f"the remote side sent an invalid answer: {shown(item)}")


def _pair(item: object) -> tuple[int, object]:
    if not isinstance(item, tuple) or len(item) != 2 or type(item[0]) is not int:
        raise WrongAnswer
    return item


def _status(value: object) -> Status:
    if type(value) is int and _LOWEST <= value <= _HIGHEST:
        return value
    if isinstance(value, (list, tuple)) and len(value) == 6:
        _, status, started, stderr, state, problem = value
        is_status = status is None or type(status) is int
        if is_status and isinstance(started, bool) and state in (RUNNING, ENDED, LEFT):
            return ClientEnded(status, started, _data(stderr), str(state), _data(problem))
    raise WrongAnswer


def _output(value: object) -> bytes | list[str]:
    if isinstance(value, (list, tuple)) and all(isinstance(line, str) for line in value):
        return list(value)
    return _data(value)


def _data(value: object) -> bytes:
    try:
        # execnet decodes bytes from Python 2 as Latin-1
        data = value.encode("latin-1") if isinstance(value, str) else value
    except UnicodeEncodeError:
        raise WrongAnswer from None
    if not isinstance(data, bytes):
        raise WrongAnswer
    return data
