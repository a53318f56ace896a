"""A proxy for a module on all hosts of a group."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Callable, Generic, TypeVar

from ..functions.calls import call_data
from ..functions.proxy import name_of
from .work import Import, Work, call

if TYPE_CHECKING:
    from ..untyped import AnyFunction

# the result of a call: a GroupResult, or an iterator with as_completed=True
_Outcomes = TypeVar("_Outcomes", covariant=True)


class GroupModule(Generic[_Outcomes]):
    """A proxy for a module on all hosts of a group. Its attributes are the functions of the module.

    A call returns a :class:`~remoto.group.GroupResult`.

    :raises AttributeError: the module has no such function.
    :raises TypeError: on a call: an argument can't be sent; nothing was started.
    """

    # add no public name here: it would hide the module's function of that name

    def __init__(self, imported: Import, on_each: Callable[[Work], _Outcomes], place: str) -> None:
        self._group_import = imported
        self._group_on_each = on_each
        self._group_place = place

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {name_of(self._group_import.module)} on {self._group_place}>"

    def __dir__(self) -> list[str]:
        module = self._group_import.module
        functions = [name for name in dir(module) if callable(getattr(module, name, None))]
        return sorted({*super().__dir__(), *(name for name in functions if not name.startswith("__"))})

    def __getattr__(self, name: str) -> AnyFunction[_Outcomes]:
        if name.startswith(("__", "_group_")):
            raise AttributeError(name)
        module = self._group_import.module
        if not hasattr(module, name):
            raise AttributeError(f"module {module!r} does not have attribute {name}")
        if not callable(getattr(module, name)):
            what = f"{name_of(module)}.{name} is not a function (its type is {type(getattr(module, name)).__name__})"
            raise AttributeError(f"{what}: only functions of the remote module can be used")

        def function(*args: object, **kwargs: object) -> _Outcomes:
            call_data(name, args, kwargs)
            return self._group_on_each(partial(call, imported=self._group_import, name=name, args=args, kwargs=kwargs))

        function.__name__ = name
        function.__doc__ = getattr(module, name).__doc__
        return function
