"""Threads for many hosts, a limited number at the same time; and the options for batches."""

from __future__ import annotations

import math
import queue
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, Generic, NamedTuple, TypeVar, Union

from ..gateways.interrupts import take
from .result import Outcome

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Size = Union[int, str]
#: called with the number of hosts that are done, the number of all hosts, and the last host done
Progress = Callable[[int, int, str], object]

#: seconds that the main thread waits at a time: Ctrl-C just before a wait begins does not interrupt it (signal(7))
SLICE = 0.25


class Workers(Generic[Item, Answer]):
    """Call a function for each item, in threads. Iterate over it to get pairs of an item and its answer as they arrive.

    The threads are daemons: a thread that hangs in a program's own function does not keep the program alive.

    :param work: must not raise.
    """

    def __init__(self, items: Iterable[Item], work: Callable[[Item], Answer], parallel: int) -> None:
        self._waiting = deque(items)
        self._work = work
        self._parallel = min(parallel, len(self._waiting))
        # None for each thread that has ended
        self._answers: queue.SimpleQueue[tuple[Item, Answer] | None] = queue.SimpleQueue()
        self._threads = 0
        self._deadline: float | None = None
        self.running: dict[Item, None] = {}

    def __iter__(self) -> Iterator[tuple[Item, Answer]]:
        self.start()
        yield from self._take()

    def start(self) -> None:
        """Start the threads. Iterating starts them, too."""
        for _ in range(self._parallel):
            # count it before it starts: Ctrl-C may come while start() waits for a thread that is running already
            self._threads += 1
            try:
                if sys.is_finalizing():
                    raise RuntimeError("can't start new thread")  # before Python 3.12, it would never run
                threading.Thread(target=self._serve, name="remoto-group", daemon=True).start()
            except RuntimeError:  # can't start more threads: continue with fewer
                if self._threads == 1:
                    # none at all, for instance when the program ends
                    self._serve()
                else:
                    self._threads -= 1
                break

    def finish(self, timeout: float) -> None:
        """Wait for the started items, at most ``timeout`` seconds."""
        self.limit(timeout)
        for _ in self._take():
            pass

    def stop(self) -> None:
        """Start no further item."""
        self._waiting.clear()

    def limit(self, timeout: float) -> None:
        """Let the iteration end within ``timeout`` seconds, even if items are running."""
        self._deadline = time.monotonic() + timeout

    def _take(self) -> Iterator[tuple[Item, Answer]]:
        while self._threads:
            left = SLICE if self._deadline is None else self._deadline - time.monotonic()
            try:
                answer = take(self._answers, max(0.0, min(left, SLICE)))
            except queue.Empty:
                if left <= 0:
                    return
                continue
            if answer is None:
                self._threads -= 1
            else:
                yield answer

    def _serve(self) -> None:
        try:
            while self._waiting:
                try:
                    item = self._waiting.popleft()
                except IndexError:  # another thread has taken the last item
                    return
                self.running[item] = None
                answer = self._work(item)
                del self.running[item]
                self._answers.put((item, answer))
        finally:
            self._answers.put(None)


class Plan(NamedTuple):
    """The order of the hosts, and the checked options of a verb."""

    batches: list[list[str]]
    parallel: int
    #: the number of unsuccessful hosts after which no further host is started; None means no limit
    stop_after: int | None
    count_unreachable: bool

    @property
    def hosts(self) -> list[str]:
        return [host for batch in self.batches for host in batch]

    def counts(self, outcome: Outcome) -> bool:
        """Return True if an outcome counts for ``stop_after``."""
        return outcome.kind in ("failed", "timed_out") or (self.count_unreachable and outcome.kind == "unreachable")


def plan(
    hosts: Sequence[str],
    parallel: int,
    batch: Size | Sequence[Size] | None = None,
    stop_after: int | None = None,
    count_unreachable: bool = True,
    progress: Progress | None = None,
) -> Plan:
    """Check the options of a verb.

    :raises TypeError, ValueError: an option is invalid.
    """
    if stop_after is not None:
        positive("stop_after", stop_after)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress: expected a function, not {type(progress).__name__}: {progress!r}")
    return Plan(batches(hosts, batch), parallel, stop_after, count_unreachable)


def positive(name: str, value: object) -> int:
    """Return a number of hosts.

    :raises TypeError, ValueError: it is not a positive int.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a positive int, not {type(value).__name__}: {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected a positive number, not {value}")
    return value


def batches(hosts: Sequence[str], batch: Size | Sequence[Size] | None) -> list[list[str]]:
    """Divide hosts into batches; the last size repeats.

    :param batch: a number of hosts, a percentage of all hosts, rounded up, or a list of these; None means one batch.

    >>> batches(['a', 'b', 'c', 'd', 'e'], [1, '40%'])
    [['a'], ['b', 'c'], ['d', 'e']]
    """
    if batch is None:
        return [list(hosts)]
    given: Sequence[Size] = batch if isinstance(batch, (list, tuple)) else [batch]  # type: ignore[list-item]
    if not given:
        raise ValueError("batch: expected a number of hosts, a percentage, or a list of them, not an empty list")
    sizes = [_size(size, len(hosts)) for size in given]
    divided: list[list[str]] = []
    start = 0
    while start < len(hosts):
        size = sizes[min(len(divided), len(sizes) - 1)]
        divided.append(list(hosts[start : start + size]))
        start += size
    return divided


def _size(size: Size, total: int) -> int:
    if not isinstance(size, str):
        return positive("batch", size)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", size)
    if not found or not 0 < float(found[1]) <= 100:
        raise ValueError(f"batch: expected a number of hosts, or a percentage such as '25%', not {size!r}")
    return math.ceil(round(total * float(found[1]) / 100, 6))
