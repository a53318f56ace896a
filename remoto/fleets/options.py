"""The keywords of a group, and of its verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Literal, TypedDict, Union, cast

from ..backends.options import ClientOptions, SharedOptions
from ..commands.popen import PopenOptions
from .schedule import Progress, Size

if TYPE_CHECKING:
    from ..backends import BaseConnection
    from ..commands.output import Handler
    from .relays import Via


class _GroupOptions(SharedOptions, total=False):
    parallel: int
    logins: int
    connect_retries: int
    executor: Union[Executor, None]


class GroupOptions(_GroupOptions, total=False):
    """The keywords of a group of hosts and of its connections."""

    groups: bool
    via: Union[Via, None]


class ContainerGroupOptions(GroupOptions, ClientOptions, total=False):
    """The keywords of a group of containers and of its connections."""

    hostname: Union[str, None]
    user: Union[str, None]


class PodGroupOptions(GroupOptions, ClientOptions, total=False):
    """The keywords of a group of pods and of its connections."""

    namespace: Union[str, None]
    context: Union[str, None]
    container: Union[str, None]
    kubeconfig: Union[str, None]


class FoundPodsOptions(_GroupOptions, total=False):
    """The further keywords of ``Group.pods``."""

    via: Union[Via, None]
    persistent: Union[bool, Literal["require"]]


class FoundContainersOptions(_GroupOptions, total=False):
    """The further keywords of ``Group.containers``."""

    persistent: Union[bool, Literal["require"]]
    user: Union[str, None]
    via: Union[BaseConnection, None]


class Options(TypedDict, total=False):
    """The options of every verb, see :class:`remoto.group.Group`."""

    batch: Union[Size, Sequence[Size], None]
    stop_after: Union[int, None]
    count_unreachable: bool
    progress: Union[Progress, None]


class CommandKeywords(PopenOptions, total=False):
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


class CheckKeywords(CommandKeywords, total=False):
    """The keywords of ``check``."""

    text: bool


class RunKeywords(CheckKeywords, total=False):
    """The keywords of ``run``."""

    stop_on_nonzero: bool


class CopyKeywords(TypedDict, total=False):
    """The keywords of ``put`` and ``get``."""

    timeout: Union[float, None]


class RsyncKeywords(TypedDict, total=False):
    """The keywords of ``rsync``."""

    delete: bool


class CommandOptions(Options, CommandKeywords, total=False):
    """The keywords that ``run`` and ``check`` share, and the options of every verb."""


class CheckOptions(Options, CheckKeywords, total=False):
    """Likewise, of ``check``."""


class RunOptions(Options, RunKeywords, total=False):
    """Likewise, of ``run``."""


class CopyOptions(Options, CopyKeywords, total=False):
    """Likewise, of ``put`` and ``get``."""


class RsyncOptions(Options, RsyncKeywords, total=False):
    """Likewise, of ``rsync``."""


def pop_options(keywords: Options) -> Options:
    """Remove the options of every verb from the keywords of one, and return them."""
    given = cast("dict[str, object]", keywords)
    return cast("Options", {name: given.pop(name) for name in Options.__annotations__ if name in given})
