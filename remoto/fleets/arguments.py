"""Check the arguments of a group's verbs, so that invalid ones are refused before anything starts."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

import remoto.file_sync as file_sync

from ..commands.request import Command, argv_of, encoded, require_callables
from ..files.arguments import advice, local_path, remote_path, require_source
from ..files.errors import shown
from ..util import checked_seconds

if TYPE_CHECKING:
    from ..untyped import AnyFunction
    from .options import CommandKeywords

# keywords of run and check that are not for Popen
_CALL_KEYWORDS = {
    "timeout",
    "stop_on_error",
    "stop_on_nonzero",
    "on_stdout",
    "on_stderr",
    "kill_on_timeout",
    "raise_on_timeout",
}
_REQUEST_KEYWORDS = {"env", "extend_env", "stdin"}


def require_command(verb: AnyFunction[object], command: object, keywords: CommandKeywords, executor: object) -> None:
    """Check the arguments of ``run`` or ``check``.

    :param executor: the group's executor, whose processes can't call this program's functions; or None.
    :raises TypeError, ValueError: an argument is invalid or can't be sent.
    """
    if "exit" in keywords:
        raise TypeError("exit: a group's connections stay open until close()")
    inspect.signature(verb).bind(None, command, **keywords)
    handlers = {name: keywords.get(name) for name in ("on_stdout", "on_stderr")}
    require_callables(**handlers)
    if executor is not None and any(handlers.values()):
        raise TypeError("on_stdout, on_stderr: not supported with executor=")
    checked_seconds("timeout", keywords.get("timeout"))
    own = _CALL_KEYWORDS | _REQUEST_KEYWORDS | {"text"}
    popen = {name: value for name, value in keywords.items() if name not in own}
    encoded(
        argv_of(cast("Command", command)),
        kill=False,
        sudo=False,
        stdin=keywords.get("stdin"),
        env=keywords.get("env"),
        extend_env=keywords.get("extend_env"),
        popen=popen,
    )


def require_put(source: object, destination: object, keywords: Mapping[str, object], hosts: str) -> None:
    """Check the arguments of ``put``.

    :param hosts: the hosts, for errors.
    :raises FileTransferError: the source does not exist.
    :raises TypeError, ValueError: an argument is invalid.
    """
    _require_copy(file_sync.put, source, destination, keywords)
    if hasattr(source, "read"):
        raise TypeError("source: expected a path or bytes: an open file can be read for one host only")
    place = remote_path("destination", destination)
    if not isinstance(source, (bytes, bytearray, memoryview)):
        path = local_path("source", source)
        require_source(path, f"put {shown(path)} to {shown(place)}", hosts, advice(source))


def require_get(source: object, destination: object, keywords: Mapping[str, object]) -> None:
    _require_copy(file_sync.get_as, source, destination, keywords)
    remote_path("source", source)
    local_path("destination", destination)


def require_rsync(source: object, destination: object, keywords: Mapping[str, object], hosts: str) -> None:
    _require_copy(file_sync.rsync_conn, source, destination, keywords)
    remote_path("destination", destination)
    path = local_path("source", source)
    require_source(path, f"rsync {shown(path)}", hosts)


def _require_copy(
    verb: AnyFunction[object], source: object, destination: object, keywords: Mapping[str, object]
) -> None:
    inspect.signature(verb).bind(None, source, destination, **keywords)
    checked_seconds("timeout", keywords.get("timeout"))


def destinations(directory: str, hosts: Iterable[str]) -> dict[str, str]:
    """Return the local path of each host's copy.

    :raises ValueError: two hosts would have the same path.

    >>> destinations('logs', ['node1', '-F /etc/lab.conf node2'])
    {'node1': 'logs/node1', '-F /etc/lab.conf node2': 'logs/-F _etc_lab.conf node2'}
    """
    names: dict[str, str] = {}
    for host in hosts:
        name = host.replace("/", "_")
        if name in (".", ".."):
            raise ValueError(f"no file can be named after the host {host!r}")
        if name in names:
            raise ValueError(f"the copies of {names[name]} and {host} would have the same name: {name}")
        names[name] = host
    return {host: os.path.join(directory, name) for name, host in names.items()}
