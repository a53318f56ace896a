"""The work of a group's verbs on one host."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Callable

from .. import process
from ..backends import BaseConnection
from ..exc import CommandError, CommandTimeout, ConnectError
from ..functions.facade import ModuleExecute
from .result import Outcome

#: returns the outcome of a host, or raises an exception
Work = Callable[[BaseConnection], Outcome]


class GroupModule:
    """A stand-in for a module on all hosts of a group: each of its functions is an attribute."""

    def __init__(
        self, module: Any, import_on: Callable[[BaseConnection], ModuleExecute], on_each: Callable[[Work], Any]
    ) -> None:
        self._group_module = module
        self._group_import = functools.lru_cache(maxsize=None)(import_on)
        self._group_on_each = on_each

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_group_"):
            raise AttributeError(name)
        if not hasattr(self._group_module, name):
            raise AttributeError(f"module {self._group_module!r} does not have attribute {name}")

        def function(*args: Any, **kwargs: Any) -> Any:
            return self._group_on_each(lambda conn: call(self._group_import(conn), name, args, kwargs))

        return function


def ok(value: object) -> Outcome:
    return Outcome("ok", value)


def run(conn: BaseConnection, command: Any, keywords: dict[str, Any]) -> Outcome:
    raises = keywords.get("raise_on_timeout")
    try:
        # its -1 may also be that of a command killed by SIGHUP
        status = process.run(conn, command, **{**keywords, "raise_on_timeout": True})
    except CommandTimeout as error:
        return Outcome(
            "timed_out", error if (conn.raise_on_timeout if raises is None else raises) else process.NO_EXIT_CODE
        )
    except CommandError as error:
        if error.exit_code is None:
            raise
        return Outcome("failed", error.exit_code)
    return Outcome("failed" if status else "ok", status)


def check(conn: BaseConnection, command: Any, keywords: dict[str, Any]) -> Outcome:
    result = process.check(conn, command, **keywords)
    if result.timed_out:
        return Outcome("timed_out", result)
    return Outcome("failed" if result.returncode else "ok", result)


def map_to(conn: BaseConnection, work: Callable[[BaseConnection], Any]) -> Outcome:
    try:
        return ok(work(conn))
    except ConnectError as error:
        # the work may have started something before
        return Outcome("failed", error)


def call(module: ModuleExecute, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
    value = getattr(module, name)(*args, **kwargs)
    return ok(list(value) if isinstance(value, Iterator) else value)
