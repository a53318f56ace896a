"""The only types with ``Any``: what no type checker can know. For annotations: import it under ``TYPE_CHECKING``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, TypeVar

_Result = TypeVar("_Result")

#: the result of a function on the remote side: its name is looked up at run time
AnyResult = Any
#: a callable with any parameters, which another one checks: ``...`` is Any for type checkers
AnyFunction = Callable[..., _Result]
#: keywords of a class that is known at run time only, or of options that argparse has parsed
AnyKeywords = Mapping[str, Any]
#: keyword arguments in a program's own dict, which is changed in place: a dict of str is not one of object
AnyArguments = dict[str, Any]
#: JSON that another program has printed, before it is checked
AnyJson = Any
#: a connection's gateway: None before the first use, or a mock in a program's test. Programs of 1.x do not check
AnyGateway = Any
#: the channel of the latest command or of a module: likewise
AnyChannel = Any
