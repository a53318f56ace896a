"""The only types with ``Any``, for values that no type checker can know. Import it under ``TYPE_CHECKING``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, TypeVar

_Result = TypeVar("_Result")

#: the result of a function on the remote side: its name is looked up at run time
AnyResult = Any
#: a callable with any parameters, which are checked elsewhere: ``...`` is Any for type checkers
AnyFunction = Callable[..., _Result]
#: keywords of a class that is known only at run time, or options parsed by argparse
AnyKeywords = Mapping[str, Any]
#: keyword arguments in a program's own dict, which is changed in place: ``dict[str, str]`` is not ``dict[str, object]``
AnyArguments = dict[str, Any]
#: JSON that another program has printed, before it is checked
AnyJson = Any
#: a connection's gateway: None before the first use, or a program's mock; programs written for 1.x do not check that
AnyGateway = Any
#: the channel of the latest command or of a module, for the same reasons
AnyChannel = Any
