"""Finish work that KeyboardInterrupt, or another exception of a signal handler, must not interrupt.

Python runs signal handlers in the main thread, between any two bytecode instructions, and raises their exceptions
there. So the main thread must not hold a lock in Python code, as threading.Event and queue.Queue do, and must leave
work of several steps to another thread. A call of a function written in C is one step.
"""

from __future__ import annotations

import _thread
import contextlib
import queue
import sys
import threading
import weakref
from functools import partial
from typing import Callable, Generic, TypeVar

Item = TypeVar("Item")
Key = TypeVar("Key")
Value = TypeVar("Value")
Result = TypeVar("Result")

#: seconds to wait for interrupted work to finish, before the exception is raised
INTERRUPT_TIMEOUT = 1.0
# the errors of _thread.start_new_thread
_NO_THREADS = ("can't start new thread", "can't create new thread")


def interruptible() -> bool:
    """Return True in the main thread, where a signal handler can interrupt."""
    return _thread.get_ident() == threading.main_thread().ident


def take(items: queue.SimpleQueue[Item], timeout: float | None) -> Item:
    """Return the next item of a queue.

    :param timeout: seconds; None means no limit.
    :raises queue.Empty: the timeout expired.
    """
    # get() with a timeout may wait forever if no thread has found the queue empty since the last item: it acquires the
    # lock, computes the time left, and waits without limit if that is negative (Python 3.9, Modules/_queuemodule.c)
    try:
        return items.get(False)
    except queue.Empty:
        if timeout is not None and timeout <= 0:
            raise
    return items.get(True, timeout)


class Event:
    """Like threading.Event, but without a lock that is held in Python code."""

    def __init__(self) -> None:
        # since Python 3.13, a queue passes an item directly to a waiting thread, and is empty until that thread puts it
        # back: is_set() needs a second queue, which no thread reads
        self._flag: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        # find the queue empty once, as take() does, for the reason given there
        with contextlib.suppress(queue.Empty):
            self._tokens.get(False)

    def is_set(self) -> bool:
        return not self._flag.empty()

    def set(self) -> None:
        # put into both queues in one step; doing it again is harmless
        any(map(queue.SimpleQueue.put, (self._flag, self._tokens), (None, None)))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set. Return False if the timeout, in seconds, expired first."""
        if timeout is not None and timeout <= 0:
            return self.is_set()
        # in one step, take a token and put it back for the next waiting thread
        step = map(self._tokens.put, iter(partial(self._tokens.get, True, timeout), self))
        try:
            next(step)
        except queue.Empty:
            return False
        return True


class PerObject(Generic[Key, Value]):
    """A value for each object, as long as the object lives.

    Like WeakKeyDictionary, whose callback is written in Python, where an exception of a signal handler is lost.
    """

    def __init__(self) -> None:
        self._values: dict[weakref.ref[Key], Value] = {}

    def setdefault(self, key: Key, value: Value) -> Value:
        # when the key is collected, its weak reference calls pop(reference), which is written in C
        return self._values.setdefault(weakref.ref(key, self._values.pop), value)


class _Work(Generic[Result]):
    """A function to call in a new thread."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._result: Result | None = None
        self._error: BaseException | None = None
        self.ended = Event()

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self.ended.set()

    def result(self) -> Result:
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # avoids a reference cycle: its traceback refers to this frame
        return self._result  # type: ignore[return-value]


def uninterrupted(function: Callable[[], Result], interrupted: Callable[[], object] | None = None) -> Result:
    """Call a function where no signal handler can interrupt it: in the main thread, call it in a new thread.

    If a signal handler raises, its exception is raised here, after a second at most, and the function runs to its end.

    :param interrupted: called in that case, in a new thread, to make the function end early.
    :returns: the function's result.
    """
    # before Python 3.12, a thread that is started when the program ends never runs
    if not interruptible() or sys.is_finalizing():
        return function()
    work = _Work(function)
    try:
        _thread.start_new_thread(work.run, ())
        work.ended.wait()
    except BaseException as error:
        if isinstance(error, RuntimeError) and str(error).startswith(_NO_THREADS):
            return function()  # can't start a thread: accept that an interrupt may leave the work half done
        if interrupted is not None:
            _thread.start_new_thread(interrupted, ())
        work.ended.wait(INTERRUPT_TIMEOUT)
        raise
    return work.result()  # type: ignore[no-any-return]
