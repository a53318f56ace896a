"""Import modules on first use, so that ``import remoto`` is fast; safely with threads and fork()."""

from __future__ import annotations

import importlib
import logging  # noqa: F401  # before the registration below, since fork() acquires the lock registered last first
import os
import threading
from collections.abc import Mapping
from typing import Callable

#: Hold it to import a module inside a function. fork() waits for that: the child has no thread that could finish the
#: import, and would wait for it forever. No module of remoto may use it, or a name of :func:`attributes`, while it is
#: imported itself, since two threads could then wait for each other: use ``import remoto.process as process``, not
#: ``from . import process``.
importing = threading.RLock()
#: seconds that fork() waits for imports, in case they wait for a lock of the program that fork() holds
_FORK_TIMEOUT = 5.0
_held = threading.local()  # by this thread's fork(); several threads may fork at the same time


def attributes(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a module (PEP 562), which imports the module of a name on first use.

    :param package: the module's name, for errors.
    :param names: for each name, the module that has it; or that is it, if the name is the last part of the module's.
    """

    def __getattr__(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with importing:
            module = importlib.import_module(names[name])
        return module if names[name].endswith(f".{name}") else getattr(module, name)

    return __getattr__


def _before_fork() -> None:
    _held.by_fork = importing.acquire(timeout=_FORK_TIMEOUT)


def _after_fork() -> None:
    if getattr(_held, "by_fork", False):
        importing.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
