"""Call functions of a module, each call in a new remote Python that answers in JSON."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

import remoto.process as process  # not "from . import process": see lazy.py

from .. import remote
from ..commands.target import adapted
from ..exc import CommandError, CommandTimeout, FunctionError
from ..gateways.bootstrap import BOOT_COMMAND
from ..lazy import importing
from . import interpreter
from .proxy import UNEXPECTED, Arguments, Keywords, ModuleExecute, is_problem, raised, refuse, wrong_answer
from .shipping import Shipment, shown

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..backends import BaseConnection
    from ..log import AnyLogger
    from .interpreter import CheckOptions

#: the deepest nesting of an argument: the remote Python parses it, and old parsers accept about twice as many brackets
DEEPEST = 45
# modules that remote/json_call.py uses for exceptions, unusual answers, old Pythons, and packages
_RARELY_NEEDED = ("json_answers", "printing", "including")


class JsonModuleExecute(ModuleExecute):
    """A proxy for a module: each call starts a new Python on the remote side, which answers in JSON.

    :param conn: a connection of any backend.
    :param module: a module of functions.
    :param logger: logs the functions' stdout at DEBUG and stderr at WARNING; by default the connection's.
    :param python_executable: the remote Python, for instance of a virtualenv; by default the one that
        :func:`~remoto.backends.get_python_executable` finds. The attribute may be changed later.
    :param include: modules that it imports, to be sent along. Packages, including ``module`` itself, are sent with all
        their modules.
    :raises TypeError: on a call: an argument can't be sent.
    :raises FunctionError: on a call: the function raised an exception; the text is the remote traceback. Also a
        RuntimeError.
    :raises CommandError: on a call: the remote Python can't be started. Also a RuntimeError.

    >>> import shutil, remoto
    >>> with remoto.Connection('localhost') as conn:
    ...     remote = JsonModuleExecute(conn, shutil)
    ...     remote.which('sh', path='/bin')
    '/bin/sh'
    """

    def __init__(
        self,
        conn: BaseConnection,
        module: ModuleType,
        logger: AnyLogger | None = None,
        python_executable: str | None = None,
        *,
        include: ModuleType | Iterable[ModuleType] = (),
    ) -> None:
        self.conn = conn
        self.module = module
        self.logger = logger or conn.logger
        self.python_executable = interpreter.checked(python_executable)
        self._remoto_include = include
        # a program's test may pass a mock, and never call it
        if isinstance(module, (ModuleType, str)):
            self._remoto_shipment  # noqa: B018

    def _remoto_place(self) -> str:
        return adapted(self.conn).where()

    def _remoto_check(
        self, conn: BaseConnection, command: list[str], **options: Unpack[CheckOptions]
    ) -> process.CheckResult[list[str]]:
        return process.check(conn, command, **options)

    @functools.cached_property
    def _remoto_shipment(self) -> Shipment:
        return Shipment.of(self.module, self._remoto_include)

    @functools.cached_property
    def _remoto_module(self) -> str:
        """The arguments of the remote side that are the same for all calls."""
        shipment = self._remoto_shipment
        return ascii((tuple(shipment.module), shipment.included, shipment.parents))

    def _remoto_call(self, name: str, args: Arguments, kwargs: Keywords) -> object:
        mark = f"remoto-answer-{os.urandom(8).hex()}"
        try:
            request = ascii((mark, name, [plain(value) for value in args], {key: plain(kwargs[key]) for key in kwargs}))
        except Exception:
            refuse(name, args, kwargs, lambda value: ascii(plain(value)))
            raise
        chosen = interpreter.checked(self.python_executable)
        python = chosen or interpreter.find(self.conn, self._remoto_check)
        call = f"{request} + {self._remoto_module}\n"
        stdin = remote.program("json_call", "call", *_RARELY_NEEDED) + call.encode("ascii")
        started = time.monotonic()
        try:
            stdout, stderr, status = self._remoto_check(self.conn, [python, "-c", BOOT_COMMAND], stdin=stdin)
        except CommandTimeout:  # the connection has raise_on_timeout set
            stdout, stderr, status = [], [], process.NO_EXIT_CODE
        except CommandError as error:
            if not chosen and interpreter.forget_guess(self.conn):
                raise interpreter.missing(self.conn) from error
            raise CommandError(error.host, python, traceback=error.traceback, reason=error.reason) from error
        limit = _time_limit(self.conn, started, status)
        stderr = [shown(line) for line in stderr]
        self._remoto_log(stdout, stderr, mark)
        answers = [line for line in stdout if mark in line]
        if answers:
            return self._remoto_result(name, answers[-1].partition(mark)[2])
        if status == 0:
            return None
        if limit is not None:
            what = f"{python}: no answer within {limit:g} seconds (global_timeout)"
            raise self._remoto_no_answer(name, what, stderr) from TimeoutError(f"no answer within {limit:g} seconds")
        raise self._remoto_no_answer(name, f"{python}: no answer (exit status {status})", stderr)

    def _remoto_log(self, stdout: list[str], stderr: list[str], mark: str) -> None:
        """Log the function's output, without the answer."""
        for line in stderr:
            self.logger.warning(line)
        for line in stdout:
            line, marked, _ = line.partition(mark)
            if line or not marked:
                self.logger.debug(shown(line))

    def _remoto_no_answer(self, name: str, what: str, stderr: list[str]) -> FunctionError:
        host = adapted(self.conn).where()
        self.logger.error('error calling "%s"', name)
        what = f'{UNEXPECTED}: error calling "{name}" on {host}: {what}'
        return FunctionError(host, name, "", what, "\n".join(stderr), "\n".join([what, *stderr]))

    def _remoto_result(self, name: str, answer: str) -> object:
        with importing:
            import json

        host = adapted(self.conn).where()
        try:
            content = json.loads(answer)
        except (ValueError, RecursionError):
            raise wrong_answer(host, name, answer) from None
        if isinstance(content, dict) and content.keys() == {"return"}:
            return content["return"]
        if isinstance(content, dict) and content.keys() == {"raise"} and is_problem(content["raise"]):
            raise raised(host, name, content["raise"], whole=True, logger=self.logger)
        raise wrong_answer(host, name, content)


def _time_limit(conn: BaseConnection, started: float, status: int) -> float | None:
    """Return the connection's time limit in seconds if the command exceeded it, else None."""
    limit = adapted(conn).global_timeout
    # the status alone does not prove a timeout: it is the same if SIGHUP killed the command
    if status == process.NO_EXIT_CODE and limit and 0 < limit <= time.monotonic() - started:
        return limit
    return None


def plain(value: object, depth: int = 0) -> object:
    """Convert a value to built-in types, whose literals mean the same to every Python."""
    if depth > DEEPEST:
        raise TypeError(f"nested more than {DEEPEST} levels deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return memoryview(value).tobytes()
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [plain(item, depth + 1) for item in value]
        return next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))(items)
    if isinstance(value, dict):
        return {plain(key, depth + 1): plain(item, depth + 1) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is not supported in JSON calls")
