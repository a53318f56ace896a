"""The results of a group: one outcome for each host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar, Union, cast

from ..exc import CommandError, CommandTimeout, ConnectError, ConnectionLost, FileTransferError, GroupError, RemotoError
from ..process import CheckResult
from ..util import escape_controls
from .hosts import fold

__all__ = ["GroupResult", "Kind", "Outcome"]

Value = TypeVar("Value", covariant=True)
Kind = Literal["ok", "failed", "unreachable", "timed_out"]
# groups of hosts that the text of a GroupError names
_SHOWN = 10


class Outcome(NamedTuple):
    """The outcome of one host: its kind, and its value or error."""

    kind: Kind
    value: object


class GroupResult(Mapping[str, Union[Value, BaseException]], Generic[Value]):
    """A mapping of each host to its value or error, in the group's order.

    Each host of the group is in exactly one of the five attributes. A host that was not started is not in the mapping
    itself.

    :ivar dict ok: the values of hosts that succeeded: the exit status is 0, the function returned, or the files were
        copied.
    :ivar dict failed: the values or errors of hosts that failed: a non-zero exit status, even of ``check``, or an
        exception.
    :ivar dict unreachable: the errors of hosts without a connection; nothing was started on them.
    :ivar dict timed_out: the values or errors of hosts that timed out.
    :ivar dict not_started: the hosts that were not tried, because of ``stop_after`` or Ctrl-C; the values are None.

    >>> result = GroupResult(['node1', 'node2'], {'node1': Outcome('ok', 0)})
    >>> result['node1'], list(result.not_started)
    (0, ['node2'])
    """

    ok: dict[str, Value]
    failed: dict[str, Value | BaseException]
    unreachable: dict[str, BaseException]
    timed_out: dict[str, Value | BaseException]
    not_started: dict[str, None]

    def __init__(self, hosts: Sequence[str], outcomes: Mapping[str, Outcome]) -> None:
        started = [host for host in hosts if host in outcomes]
        self._outcomes = {host: outcomes[host] for host in started}
        # the work of each verb has values of one type
        self.ok = cast("dict[str, Value]", self._part("ok"))
        self.failed = cast("dict[str, Value | BaseException]", self._part("failed"))
        self.unreachable = cast("dict[str, BaseException]", self._part("unreachable"))
        self.timed_out = cast("dict[str, Value | BaseException]", self._part("timed_out"))
        self.not_started = dict.fromkeys(host for host in hosts if host not in outcomes)

    def _part(self, kind: Kind) -> dict[str, object]:
        return {host: outcome.value for host, outcome in self._outcomes.items() if outcome.kind == kind}

    def __getitem__(self, host: str) -> Value | BaseException:
        return self._outcomes[host].value  # type: ignore[return-value]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    def __repr__(self) -> str:
        parts = ("ok", "failed", "unreachable", "timed_out", "not_started")
        counts = ", ".join(f"{len(getattr(self, part))} {part}" for part in parts if getattr(self, part))
        return f"<GroupResult: {counts}>"

    def __str__(self) -> str:
        lines = []
        for outcome, hosts in self._gathered():
            lines.append(f"{_counted(hosts)}: {_headline(outcome)}")
            lines += [f"    {line}" for line in _output(outcome)]
        if self.not_started:
            lines.append(f"{_counted(list(self.not_started))}: not started")
        # a host's output must not control the terminal
        return "\n".join(map(escape_controls, lines))

    def gather(self) -> list[tuple[Value | BaseException, list[str]]]:
        """Return pairs of a value or error and the hosts that have it, most hosts first.

        Errors are the same if they differ only in the name of the host.

        >>> result = GroupResult(['a', 'b', 'c'], {'a': Outcome('ok', 1), 'b': Outcome('ok', 2), 'c': Outcome('ok', 2)})
        >>> result.gather()
        [(2, ['b', 'c']), (1, ['a'])]
        """
        return [(outcome.value, hosts) for outcome, hosts in self._gathered()]  # type: ignore[misc]

    def _gathered(self) -> list[tuple[Outcome, list[str]]]:
        groups: dict[object, tuple[Outcome, list[str]]] = {}
        for host, outcome in self._outcomes.items():
            groups.setdefault(_key(host, outcome), (outcome, []))[1].append(host)
        # sorted() keeps the group's order among groups of the same size
        return sorted(groups.values(), key=lambda group: -len(group[1]))

    def raise_for_errors(self) -> GroupResult[Value]:
        """Raise an error that names all hosts that did not succeed. Return this result if all did.

        :raises GroupError: also a RuntimeError: a host is not ``ok``. The error has this result.

        >>> from remoto.exc import GroupError
        >>> try:
        ...     GroupResult(['a', 'b', 'c'], {'a': Outcome('ok', 0), 'b': Outcome('failed', 3)}).raise_for_errors()
        ... except GroupError as error:
        ...     print(error)
        2 of 3 hosts: b failed: exit status 3; c not started
        """
        # by their text: hosts that failed alike may differ in their output
        named: dict[str, list[str]] = {}
        for outcome, hosts in self._gathered():
            if outcome.kind != "ok":
                named.setdefault(_headline(outcome), []).extend(hosts)
        problems = sorted(named.items(), key=lambda problem: -len(problem[1]))
        if not problems and not self.not_started:
            return self
        total = len(self._outcomes) + len(self.not_started)
        texts = [f"{fold(hosts)} {headline}" for headline, hosts in problems[:_SHOWN]]
        others = sum(len(hosts) for _, hosts in problems[_SHOWN:])
        if others:
            texts.append(f"{others} more with other errors")
        if self.not_started:
            texts.append(f"{fold(list(self.not_started))} not started")
        raise GroupError(escape_controls(f"{total - len(self.ok)} of {total} hosts: {'; '.join(texts)}"), self)


def reason(outcome: Outcome) -> str:
    """Return why a host did not succeed, in one line without its name; empty if the kind of the outcome is enough."""
    value = outcome.value
    if isinstance(value, BaseException):
        return reason_of_error(value)
    if outcome.kind == "timed_out":
        return ""
    status, last = (value.returncode, _last_line(value.stderr)) if isinstance(value, CheckResult) else (value, "")
    return f"exit status {status}{last and f': {last}'}"


def reason_of_error(error: BaseException) -> str:
    """Return the reason of an error in one line, without the host, stderr and advice."""
    if isinstance(error, ConnectError):
        return error.reason
    if isinstance(error, ConnectionLost):
        return error.what
    if isinstance(error, FileTransferError):
        return str(error).removeprefix(f"{error.host}: ").removeprefix(f"{error.what}: ")
    if isinstance(error, CommandTimeout):
        return f"no result within {error.timeout:g} seconds"
    if isinstance(error, CommandError) and (error.reason or error.exit_code is not None):
        return error.reason or f"exit status {error.exit_code}"
    last = ([line for line in str(error).splitlines() if line.strip()] or [""])[-1].strip()
    return last if isinstance(error, RemotoError) and last else f"{type(error).__name__}{last and f': {last}'}"


def _last_line(stderr: list[str] | bytes) -> str:
    lines = _lines(stderr)
    return lines[-1] if lines else ""


def _lines(output: list[str] | bytes) -> list[str]:
    return output.decode("utf-8", "backslashreplace").splitlines() if isinstance(output, bytes) else output


def _key(host: str, outcome: Outcome) -> object:
    """Return a value that is equal for hosts with the same outcome."""
    if isinstance(outcome.value, BaseException):
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w.-])", "HOST", reason(outcome))
        return outcome.kind, type(outcome.value), text
    return outcome.kind, _hashable(outcome.value)


def _hashable(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(_hashable, value))
    if isinstance(value, dict):
        return dict, frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, set):
        return set, frozenset(value)
    try:
        hash(value)
    except TypeError:
        return repr(value)
    # with its type: 1, True and 1.0 are equal
    return type(value), value


def _counted(hosts: list[str]) -> str:
    return f"{fold(hosts)} ({len(hosts)} hosts)" if len(hosts) > 1 else hosts[0]


def _headline(outcome: Outcome) -> str:
    kind = outcome.kind.replace("_", " ")
    if outcome.kind == "ok":
        return kind if outcome.value is None or isinstance(outcome.value, CheckResult) else f"{kind}: {outcome.value!r}"
    why = reason(outcome)
    return f"{kind}: {why}" if why else kind


def _output(outcome: Outcome) -> list[str]:
    if not isinstance(outcome.value, CheckResult):
        return []
    return [*_lines(outcome.value.stdout), *_lines(outcome.value.stderr)]
