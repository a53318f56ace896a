"""The keywords of a group's verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, Union, cast

from ..commands.request import PopenOptions
from .schedule import Progress, Size

if TYPE_CHECKING:
    from ..commands.output import Handler
    from .arguments import Keywords


class Options(TypedDict, total=False):
    """The options of every verb, see :class:`remoto.group.Group`."""

    batch: Union[Size, Sequence[Size], None]
    stop_after: Union[int, None]
    count_unreachable: bool
    progress: Union[Progress, None]


class CommandOptions(Options, PopenOptions, total=False):
    """The keywords that ``run`` and ``check`` share."""

    timeout: Union[float, None]
    stop_on_error: bool
    env: Union[Mapping[str, str], None]
    extend_env: Union[Mapping[str, str], None]
    stdin: Union[str, bytes, None]
    on_stdout: Union[Handler, None]
    on_stderr: Union[Handler, None]
    kill_on_timeout: Union[bool, None]
    raise_on_timeout: Union[bool, None]


class RunOptions(CommandOptions, total=False):
    """The keywords of ``run``."""

    stop_on_nonzero: bool
    text: bool


class CopyOptions(Options, total=False):
    """The keywords of ``put`` and ``get``."""

    timeout: Union[float, None]


class RsyncOptions(Options, total=False):
    """The keywords of ``rsync``."""

    delete: bool


_NAMES = frozenset(Options.__annotations__) | {"as_completed"}


def divided(keywords: Keywords) -> tuple[Options, Keywords]:
    """Return the options of every verb, and the verb's own keywords."""
    options = {name: value for name, value in keywords.items() if name in _NAMES}
    return cast("Options", options), {name: value for name, value in keywords.items() if name not in _NAMES}
