"""The work of a group's verbs on one host, as functions that can be pickled for an executor's processes."""

from __future__ import annotations

import builtins
import errno
import pickle
import sys
import types
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Callable

import execnet

import remoto.file_sync as file_sync
import remoto.process as process  # not "from . import process": see lazy.py

from ..backends import BaseConnection
from ..exc import CommandError, CommandTimeout, ConnectError, FunctionError
from ..functions import interpreter
from ..functions.proxy import ModuleExecute
from ..functions.shipping import checked_module, listed
from .result import Outcome

if TYPE_CHECKING:
    from ..commands.request import Command
    from ..files.arguments import Path
    from ..files.listing import Listing
    from .options import CheckKeywords, CopyKeywords, RsyncKeywords, RunKeywords

#: called with the name of a host and its open connection; returns the host's outcome, or raises an exception
Work = Callable[[str, BaseConnection], Outcome]


def attempt(work: Work, host: str, conn: BaseConnection) -> Outcome:
    """Return the outcome of work, even if it raises an exception, including SystemExit."""
    try:
        return work(host, conn)
    except ConnectError as error:
        # a container's client failed before it started the command, function or transfer
        return Outcome("unreachable", error)
    except BaseException as error:
        return Outcome("timed_out" if _is_timeout(error) else "failed", error)


def _is_timeout(error: BaseException | None) -> bool:
    if isinstance(error, (builtins.TimeoutError, execnet.TimeoutError)):
        return True
    if isinstance(error, FunctionError):
        return _is_timeout(error.__cause__)
    return isinstance(error, OSError) and error.errno == errno.ETIMEDOUT


def nothing(host: str, conn: BaseConnection) -> Outcome:
    return Outcome("ok", None)


def run(host: str, conn: BaseConnection, *, command: Command, keywords: RunKeywords) -> Outcome:
    raises = keywords.get("raise_on_timeout")
    given: RunKeywords = {"stop_on_nonzero": False, **keywords, "raise_on_timeout": True}
    try:
        # raise on a timeout, since -1 is also the exit status of a command killed by SIGHUP
        status = process.run(conn, command, **given)
    except CommandTimeout as error:
        raises = conn.raise_on_timeout if raises is None else raises
        return Outcome("timed_out", error if raises else process.NO_EXIT_CODE)
    except CommandError as error:
        if error.exit_code is None:
            raise
        status = error.exit_code
    return Outcome("failed" if status else "ok", status)


def check(host: str, conn: BaseConnection, *, command: Command, keywords: CheckKeywords) -> Outcome:
    result = process.check(conn, command, **keywords)
    if result.timed_out:
        return Outcome("timed_out", result)
    return Outcome("failed" if result.returncode else "ok", result)


def put(
    host: str,
    conn: BaseConnection,
    *,
    source: Path | bytes,
    destination: Path,
    listing: Listing | None,
    keywords: CopyKeywords,
) -> Outcome:
    return Outcome("ok", file_sync.put_listed(conn, source, destination, listing, **keywords))


def get(
    host: str, conn: BaseConnection, *, source: Path, destinations: Mapping[str, str], keywords: CopyKeywords
) -> Outcome:
    return Outcome("ok", file_sync.get_as(conn, source, destinations[host], **keywords))


def rsync(
    host: str, conn: BaseConnection, *, source: Path, destination: Path, listing: Listing, keywords: RsyncKeywords
) -> Outcome:
    file_sync.rsync_listed(conn, source, destination, listing, **keywords)
    return Outcome("ok", None)


def apply(host: str, conn: BaseConnection, *, function: Callable[[BaseConnection], object]) -> Outcome:
    try:
        return Outcome("ok", _as_list(function(conn)))
    except ConnectError as error:
        # the function may have started something
        return Outcome("failed", error)


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, types.GeneratorType) else value


class Import:
    """A module to import on each host. It is pickled by name, like a function."""

    def __init__(
        self,
        module: types.ModuleType,
        python_executable: str | None,
        include: types.ModuleType | Iterable[types.ModuleType],
    ) -> None:
        self.module = checked_module(module)
        self._python = interpreter.checked(python_executable)
        self._include = listed(include)
        # by host, with its connection, which may have been replaced after it was lost
        self._imported: dict[str, tuple[BaseConnection, ModuleExecute]] = {}

    def on(self, host: str, conn: BaseConnection) -> ModuleExecute:
        """Return the proxy for the module on a host, the same one for each call."""
        known = self._imported.get(host)
        if known is None or known[0] is not conn:
            known = conn, conn.import_module(self.module, self._python, include=self._include)
            self._imported[host] = known
        return known[1]

    def __reduce__(self) -> tuple[object, ...]:
        for module in (self.module, *self._include):
            if module.__name__ == "__main__" or sys.modules.get(module.__name__) is not module:
                raise pickle.PicklingError(f"another process can't import {module!r}")
        return _import, (self.module.__name__, self._python, [module.__name__ for module in self._include])


def _import(name: str, python_executable: str | None, include: Iterable[str]) -> Import:
    import importlib

    return Import(importlib.import_module(name), python_executable, map(importlib.import_module, include))


def call(
    host: str, conn: BaseConnection, *, imported: Import, name: str, args: tuple[object, ...], kwargs: dict[str, object]
) -> Outcome:
    return Outcome("ok", _as_list(getattr(imported.on(host, conn), name)(*args, **kwargs)))
