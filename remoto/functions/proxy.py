"""The base class of proxies for a module, and the errors of remote functions."""

from __future__ import annotations

import functools
import itertools
import reprlib
from types import ModuleType
from typing import TYPE_CHECKING, Callable, TypedDict

import execnet

from ..exc import FunctionError, ModuleMissing
from ..util import RemoteError

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

    from ..log import AnyLogger
    from ..untyped import AnyFunction, AnyResult

    class Problem(TypedDict):
        """The description of a remote exception, from ``remote/exceptions.py``."""

        name: str
        message: str
        traceback: str
        #: True if it is an ImportError of a missing module
        missing: bool


UNEXPECTED = "Unexpected remote exception"

#: positional and keyword arguments of a call
Arguments = tuple[object, ...]
Keywords = dict[str, object]


class ModuleExecute:
    """A proxy for a module. Its attributes are the module's functions, which run on the remote side."""

    # add no public name here or in a subclass: it would hide the module's function of that name
    module: ModuleType
    logger: AnyLogger

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {name_of(self.module)} on {self._remoto_place()}>"

    def __dir__(self) -> list[str]:
        functions = [name for name in dir(self.module) if callable(getattr(self.module, name, None))]
        return sorted({*super().__dir__(), *(name for name in functions if not name.startswith("__"))})

    def _remoto_place(self) -> str:
        raise NotImplementedError

    def __getattr__(self, name: str) -> AnyFunction[AnyResult]:
        if name.startswith("__") or name in ("module", "logger"):
            raise AttributeError(name)
        if not hasattr(self.module, name):
            raise AttributeError(f"module {self.module!r} does not have attribute {name}")
        local = getattr(self.module, name)
        if not callable(local):
            what = f"{name_of(self.module)}.{name} is not a function (its type is {type(local).__name__})"
            raise AttributeError(f"{what}: only functions of the remote module can be used")
        description = (getattr(local, "__doc__", None) or "").strip().split("\n")[0]

        @functools.wraps(local, assigned=("__name__", "__qualname__", "__doc__"), updated=())
        def function(*args: object, **kwargs: object) -> object:
            if description:
                self.logger.debug(description)
            return self._remoto_call(name, args, kwargs)

        # __getattr__ is not called for it again
        self.__dict__[name] = function
        return function

    def _remoto_call(self, name: str, args: Arguments, kwargs: Keywords) -> object:
        raise NotImplementedError


def refuse(name: str, args: Arguments, kwargs: Keywords, can: Callable[[object], object]) -> None:
    """Raise TypeError for the first argument that can't be sent.

    :param can: raises an error for such an argument.
    """
    for key, value in itertools.chain(enumerate(args, 1), kwargs.items()):
        try:
            can(value)
        except Exception as error:
            what = f"argument {key!r} of {name}(): {type(value).__name__} can't be sent to the remote side: {error}"
            raise TypeError(what) from None


def is_problem(value: object) -> TypeGuard[Problem]:
    """Return True if a received value is a valid description of an exception."""
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(part), str) for part in ("name", "message", "traceback"))
        and isinstance(value.get("missing"), bool)
    )


def wrong_answer(host: str, name: str, answer: object) -> FunctionError:
    """Return the error for an invalid answer."""
    what = f"invalid answer to {name}() on {host}: {_excerpt(answer)}"
    return FunctionError(host, name, "", what, "", f"{UNEXPECTED}: {what}")


def _excerpt(value: object) -> str:
    # repr() may return too much, recurse too deeply, or raise ValueError for a long int
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    try:
        return short.repr(value)
    except ValueError:
        return f"a value of the type {type(value).__name__}"


def raised(host: str, name: str, problem: Problem, whole: bool, logger: AnyLogger) -> FunctionError:
    """Return the error for a remote exception.

    :param problem: its description, checked by :func:`is_problem`.
    :param whole: the error's text is the whole traceback, not only its last line.
    """
    exception, message, traceback = problem["name"], problem["message"], problem["traceback"]
    text = traceback if whole else RemoteError(traceback).exception_line
    if exception == "SystemExit":
        logger.error('error calling "%s"', name)
        text = f'{UNEXPECTED}: error calling "{name}" on {host}: exit status {message}'
    if problem["missing"]:
        if "No module named" in message:
            text = f"{text.rstrip()} (include=[...] of import_module() sends modules along)"
        return ModuleMissing(host, name, exception, message, traceback, text)
    error = FunctionError(host, name, exception, message, traceback, text)
    if not whole and traceback:
        # so that Python prints the remote traceback before this error
        error.__cause__ = execnet.RemoteError(traceback)
    return error


def name_of(module: object) -> str:
    return str(getattr(module, "__name__", module))


def host_of(gateway: object) -> str:
    return str(getattr(gateway, "remoteaddress", gateway))
