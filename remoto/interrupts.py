"""Work that an exception of a signal's handler, such as KeyboardInterrupt, can't leave half done.

Python runs signal handlers in the main thread, between any two steps of Python code there, and that is where their exceptions
come out. So the main thread must neither hold a lock in Python code, as it does in threading.Event and queue.Queue, nor do
by itself what takes several steps. A call of a function written in C is one step.
"""

from __future__ import annotations

import _thread
import contextlib
import queue
import threading
from functools import partial
from typing import Any, Callable, TypeVar

Result = TypeVar("Result")

#: seconds that an exception waits for the work that it has interrupted
PATIENCE = 1.0


def interruptible() -> bool:
    """Return True in the main thread, where a signal's handler can come in between."""
    return _thread.get_ident() == threading.main_thread().ident


class Event:
    """As threading.Event, without a lock that is held in Python code."""

    def __init__(self) -> None:
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        return not self._tokens.empty()

    def set(self) -> None:
        self._tokens.put(None)  # more than one does no harm

    def wait(self, timeout: float | None = None) -> bool:
        """Return True if it is set within so many seconds."""
        # take a token and put it back for the next to wait, in one step
        step = map(self._tokens.put, iter(partial(self._tokens.get, True, timeout), self))
        try:
            next(step)
        except queue.Empty:
            return False
        return True


def uninterrupted(work: Callable[[], Result], interrupted: Callable[[], object] | None = None) -> Result:
    """Call ``work`` where no signal's handler can interrupt it: in a thread of its own, if this is the main thread.

    A handler's exception comes out of here; ``work`` goes on to its end.

    :param interrupted: is called then, in the thread of ``work`` or in one of its own; to make ``work`` end early.
    :returns: what ``work`` returns.
    """
    if not interruptible():
        return work()
    outcome: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    try:
        _thread.start_new_thread(_put_outcome, (work, outcome))
    except RuntimeError:  # there are no more threads: then an interrupt is the lesser evil
        return work()
    try:
        succeeded, value = outcome.get()
    except BaseException:
        if interrupted is not None:
            _wait_for(interrupted)
        with contextlib.suppress(queue.Empty):
            outcome.get(timeout=PATIENCE)
        raise
    if succeeded:
        return value  # type: ignore[no-any-return]
    try:
        raise value
    finally:
        del value, outcome  # they would hold each other


def _put_outcome(work: Callable[[], Any], outcome: queue.SimpleQueue[tuple[bool, Any]]) -> None:
    try:
        value = work()
    except BaseException as error:
        outcome.put((False, error))
    else:
        outcome.put((True, value))


def _wait_for(work: Callable[[], Any]) -> None:
    outcome: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    _thread.start_new_thread(_put_outcome, (work, outcome))
    with contextlib.suppress(queue.Empty):
        outcome.get(timeout=PATIENCE)
