"""Work that an exception of a signal's handler, such as KeyboardInterrupt, can't leave half done.

Python runs signal handlers in the main thread, between any two steps of Python code there, and that is where their exceptions
come out. So the main thread must neither hold a lock in Python code, as it does in threading.Event and queue.Queue, nor do
by itself what takes several steps. A call of a function written in C is one step.
"""

from __future__ import annotations

import _thread
import queue
import threading
import weakref
from functools import partial
from typing import Any, Callable, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")
Result = TypeVar("Result")

#: seconds that an exception waits for the work that it has interrupted
PATIENCE = 1.0
# of _thread.start_new_thread
_NO_THREADS = ("can't start new thread", "can't create new thread")


def interruptible() -> bool:
    """Return True in the main thread, where a signal's handler can come in between."""
    return _thread.get_ident() == threading.main_thread().ident


class Event:
    """As threading.Event, without a lock that is held in Python code."""

    def __init__(self) -> None:
        # from Python 3.13 on a queue hands an item to a thread that waits, and is empty until that thread puts it back:
        # whether the event is set takes a queue that no thread takes from
        self._flag: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        return not self._flag.empty()

    def set(self) -> None:
        # both in one step; more than once does no harm
        any(map(queue.SimpleQueue.put, (self._flag, self._tokens), (None, None)))

    def wait(self, timeout: float | None = None) -> bool:
        """Return True if it is set within so many seconds."""
        # take a token and put it back for the next to wait, in one step
        step = map(self._tokens.put, iter(partial(self._tokens.get, True, timeout), self))
        try:
            next(step)
        except queue.Empty:
            return False
        return True


class PerObject(Generic[Key, Value]):
    """A value for each object, while that lives. As WeakKeyDictionary, whose callback is Python code: an interrupt vanishes in it."""

    def __init__(self) -> None:
        self._values: dict[weakref.ref[Key], Value] = {}

    def setdefault(self, key: Key, value: Value) -> Value:
        # when the key ends, its reference is called back for: pop() has it in the one argument that it needs
        return self._values.setdefault(weakref.ref(key, self._values.pop), value)


class _Work:
    """A function that is called in a thread of its own."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self.ended = Event()

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self.ended.set()

    def result(self) -> Any:
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback has this frame, which would keep it
        return self._result


def uninterrupted(function: Callable[[], Result], interrupted: Callable[[], object] | None = None) -> Result:
    """Call a function where no signal's handler can interrupt it: in a thread of its own, if this is the main thread.

    A handler's exception comes out of here, after a second at most; the function goes on to its end.

    :param interrupted: is called then, likewise, to make the function end early.
    :returns: what the function returns.
    """
    if not interruptible():
        return function()
    work = _Work(function)
    try:
        _thread.start_new_thread(work.run, ())
        work.ended.wait()
    except BaseException as error:
        if isinstance(error, RuntimeError) and str(error).startswith(_NO_THREADS):
            return function()  # then an interrupt is the lesser evil
        if interrupted is not None:
            _thread.start_new_thread(interrupted, ())
        work.ended.wait(PATIENCE)
        raise
    return work.result()  # type: ignore[no-any-return]
