"""Check a command's request before anything starts, and encode it for the remote side."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, Union

from ..lazy import importing

PathLike = Union[os.PathLike[str], os.PathLike[bytes]]
Command = Union[str, Sequence[Union[str, bytes, PathLike]]]
Argv = Union[str, list[str]]


if TYPE_CHECKING:

    class _Contents(TypedDict):
        kill: bool
        args: bytes | list[bytes]
        sudo: bool
        stdin: bytes | bool | None
        env: dict[bytes, bytes] | None
        extend_env: dict[bytes, bytes] | None
        popen: dict[str, object] | None

    class Request(_Contents, total=False):
        """The request that ``remote/command.py`` receives."""

        container: dict[str, object]


def argv_of(command: Command) -> Argv:
    """Return the command with its arguments as str, for ``conn.cmd``."""
    if isinstance(command, (str, bytes)):
        return os.fsdecode(command)
    if isinstance(command, (list, tuple)):
        if not command:
            raise ValueError("the command is empty")
        return [as_text(item) if isinstance(item, (str, bytes, os.PathLike)) else item for item in command]
    raise _not_a_command(command)


def encoded(
    argv: Argv,
    *,
    kill: bool,
    sudo: bool,
    stdin: str | bytes | bool | None,
    env: Mapping[str, str] | None,
    extend_env: Mapping[str, str] | None,
    popen: Mapping[str, object],
) -> Request:
    """Return the request for a command.

    :raises TypeError, ValueError: an argument is invalid or can't be sent; the text names it.
    """
    return {
        "kill": kill,
        "args": _args(argv),
        "sudo": sudo,
        "stdin": stdin if stdin is None or stdin is True else as_bytes("stdin", stdin),
        "env": None if env is None else _variables("env", env),
        "extend_env": None if extend_env is None else _variables("extend_env", extend_env),
        "popen": _popen(popen) if popen else None,
    }


def require_callables(**handlers: object) -> None:
    """Raise TypeError unless each handler is callable or None."""
    for name, handler in handlers.items():
        if handler is not None and not callable(handler):
            raise TypeError(f"{name}: expected a callable, not {type(handler).__name__}: {handler!r}")


def warn_of_unused_arguments(command: object, popen: Mapping[str, object]) -> None:
    """Warn about ``shell=True`` with a list of several items. It points at the call of ``run`` or ``check``."""
    if popen.get("shell") and isinstance(command, (list, tuple)) and len(command) > 1:
        warnings.warn(
            "shell=True with a list of several items: only the first is the command, the others are arguments of the "
            f"shell, as in subprocess; pass one string, such as {shlex.join(map(str, command))!r}",
            stacklevel=3,
        )


def as_logged(argv: object) -> str:
    text = " ".join(str(argument) for argument in argv) if isinstance(argv, (list, tuple)) else str(argv)
    # escape lone surrogates: a log handler can't write them as UTF-8
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if not text.isascii() else text


def as_text(value: str | bytes | PathLike) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(os.fspath(value))


def _not_a_command(given: object) -> TypeError:
    return TypeError(f"command: expected a list or a string, not {type(given).__name__}: {given!r}")


def _args(argv: object) -> bytes | list[bytes]:
    if isinstance(argv, str):
        return without_nul("command", as_bytes("command", argv))
    if not isinstance(argv, (list, tuple)):
        raise _not_a_command(argv)
    return [without_nul("command", as_bytes("command", argument)) for argument in argv]


def as_bytes(name: str, value: object) -> bytes:
    """Encode str and paths, so that they arrive unchanged in any locale."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    expected = "str or bytes" if name == "stdin" else "str, bytes or a path"
    raise TypeError(f"{name}: expected {expected}, not {type(value).__name__}: {value!r}")


def without_nul(name: str, value: bytes) -> bytes:
    if b"\0" in value:
        raise ValueError(f"{name}: embedded null byte: {value!r:.200}")
    return value


def _popen(popen: Mapping[str, object]) -> dict[str, object]:
    with importing:
        from .popen import encoded as encoded_popen  # most commands have none of its keywords

    return encoded_popen(popen)


def _variables(name: str, variables: Mapping[str, str]) -> dict[bytes, bytes]:
    if not isinstance(variables, Mapping):
        raise TypeError(f"{name}: expected a mapping of names to values, not {type(variables).__name__}: {variables!r}")
    encoded = {as_bytes(name, key): as_bytes(f"{name}[{key!r}]", value) for key, value in variables.items()}
    for variable, value in encoded.items():
        if not variable or b"=" in variable or b"\0" in variable + value:
            raise ValueError(f"{name}: invalid environment variable: {variable!r}")
    return encoded
