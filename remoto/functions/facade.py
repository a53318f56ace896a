"""A stand-in for a module: its functions are attributes. What both ways to call them share."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any, Callable

import execnet

from ..exc import FunctionError, ModuleMissing
from ..util import RemoteError

UNEXPECTED = "Unexpected remote exception"


class ModuleExecute:
    """What both have in common: a function is an attribute."""

    # these names and the subclasses' public ones are taken; whatever else there is must not hide a function of the module
    module: Any
    logger: Any

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {name_of(self.module)} on {self._remoto_place()}>"

    def _remoto_place(self) -> str:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__") or name in ("module", "logger"):
            raise AttributeError(name)
        if not hasattr(self.module, name):
            raise AttributeError(f"module {name_of(self.module)} does not have attribute {name}")
        here = getattr(self.module, name)
        description = (getattr(here, "__doc__", None) or "").strip().split("\n")[0]

        @functools.wraps(here, assigned=("__name__", "__qualname__", "__doc__"), updated=())
        def function(*args: Any, **kwargs: Any) -> Any:
            if not callable(here):
                raise TypeError(f"{name_of(self.module)}.{name} is not a function")
            if description:
                self.logger.debug(description)
            return self._remoto_call(name, args, kwargs)

        # found there from now on
        self.__dict__[name] = function
        return function

    def _remoto_call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError


def refuse(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], can: Callable[[Any], Any]) -> None:
    """TypeError for the first argument that can't be sent."""
    for key, value in itertools.chain(enumerate(args, 1), kwargs.items()):
        try:
            can(value)
        except Exception as error:
            what = f"argument {key!r} of {name}(): {type(value).__name__} can't be sent to the far side: {error}"
            raise TypeError(what) from None


def raised(host: str, name: str, problem: Mapping[str, Any], whole: bool, logger: Any) -> FunctionError:
    """The error for an exception of the far side.

    :param whole: all of its traceback is the text, not its last line alone.
    """
    exception, message, traceback = str(problem["name"]), str(problem["message"]), str(problem["traceback"])
    text = traceback if whole else RemoteError(traceback).exception_line
    if exception == "SystemExit":
        logger.error(f'error calling "{name}"')
        text = f'{UNEXPECTED}: error calling "{name}" on {host}: it ended with exit status {message}'
    if problem["missing"]:
        if "No module named" in message:
            text = f"{text.rstrip()} (include=[...] of import_module() sends modules along)"
        return ModuleMissing(host, name, exception, message, traceback, text)
    error = FunctionError(host, name, exception, message, traceback, text)
    if not whole and traceback:
        # shown above the error where nobody catches it
        error.__cause__ = execnet.RemoteError(traceback)
    return error


def name_of(module: Any) -> str:
    return str(getattr(module, "__name__", module))


def host_of(gateway: Any) -> str:
    return str(getattr(gateway, "remoteaddress", gateway))


def where(conn: Any) -> str:
    return str(conn.where()) if hasattr(type(conn), "where") else str(conn.hostname)
