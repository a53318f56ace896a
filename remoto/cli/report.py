"""Report the results of all hosts: folded output, JSON, a summary, and a file of the hosts that failed."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..commands.lines import Lines
from ..fleets.hosts import fold
from .hosts import Outcome
from .output import Output, in_one_line
from .selection import saved_name

_RULE = "---------------"


def gathered(hosts: Sequence[str], outcomes: Sequence[Outcome | None], output: Output) -> None:
    """Write identical output of several hosts with the same exit status once, as ``clush -b`` does.

    The summary names hosts that failed without output.
    """
    groups: dict[tuple[bytes, bytes, int], list[str]] = {}
    for host, outcome in zip(hosts, outcomes):
        if outcome is not None and (outcome.kind == "ok" or outcome.stdout or outcome.stderr):
            groups.setdefault((outcome.stdout, outcome.stderr, outcome.status), []).append(host)
    for (stdout, stderr, _), names in sorted(groups.items(), key=lambda group: -len(group[1])):
        count = f" ({len(names)})" if len(names) > 1 else ""
        for line in (_RULE, f"{fold(names)}{count}", _RULE):
            output.write_line(line)
        for line in (*_lines(stdout), *_lines(stderr)):
            output.write_output_line(line)


def _lines(data: bytes) -> list[str]:
    lines = Lines("backslashreplace")
    return [*lines.feed(data), *lines.end()]


def in_json(host: str, outcome: Outcome, output: Output, kind: str = "") -> None:
    """Write a host's result as one line.

    :param kind: the outcome's by default.
    """
    output.write_json(
        json.dumps(
            {
                "host": host,
                "outcome": kind or outcome.kind,
                "exit_status": outcome.exit_status,
                "kind": outcome.error,
                "reason": outcome.reason,
                "stdout": outcome.stdout.decode("utf-8", "backslashreplace"),
                "stderr": outcome.stderr.decode("utf-8", "backslashreplace"),
                "seconds": round(outcome.seconds, 3),
            }
        )
    )


def not_started_in_json(hosts: Sequence[str], outcomes: Sequence[Outcome | None], output: Output) -> None:
    """Write a line for each host that was not started."""
    for host, outcome in zip(hosts, outcomes):
        if outcome is None:
            in_json(host, Outcome(0), output, "not_started")


def summarise(hosts: Sequence[str], outcomes: Sequence[Outcome | None], output: Output, folded: bool = False) -> int:
    """Report the hosts that failed, if there are several hosts; return the highest exit status.

    :param folded: report hosts that failed for the same reason once, most hosts first.
    """
    failed = [(host, outcome) for host, outcome in zip(hosts, outcomes) if outcome is not None and outcome.status]
    problems = [([host], outcome.reason or f"exit status {outcome.status}") for host, outcome in failed]
    for names, reason in (_folded(problems) if folded else problems) if len(hosts) > 1 else []:
        output.write_error(in_one_line(fold(names), reason))
    counts = Counter(outcome.kind.replace("_", " ") for _, outcome in failed if outcome.kind != "failed")
    counts["not started"] = outcomes.count(None)
    more = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    if (failed or counts["not started"]) and len(hosts) > 1:
        output.write_error(f"remoto: {len(failed)} of {len(hosts)} hosts failed{f' ({more})' if more else ''}")
    return max((outcome.status for outcome in outcomes if outcome is not None), default=0)


def _folded(problems: Sequence[tuple[list[str], str]]) -> list[tuple[list[str], str]]:
    by_reason: dict[str, list[str]] = {}
    for names, reason in problems:
        by_reason.setdefault(reason, []).extend(names)
    return sorted(((names, reason) for reason, names in by_reason.items()), key=lambda problem: -len(problem[0]))


@contextlib.contextmanager
def failures_saved(options: argparse.Namespace, done: Mapping[str, Outcome]) -> Iterator[None]:
    """Write the names of the hosts that did not succeed to a file, even after Ctrl-C; ``@FILE`` reads them.

    :param done: the outcomes of the hosts that are done.
    """
    try:
        yield
    finally:
        if options.save_failed:
            failed = [host for host in options.chosen if host.name not in done or done[host.name].status]
            with open(options.save_failed, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.writelines(f"{saved_name(host, options)}\n" for host in failed)
