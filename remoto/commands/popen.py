"""Check and encode the keywords of subprocess.Popen, for a command's request."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict

import execnet

from .request import PathLike, as_bytes, without_nul


class _Decoding(TypedDict, total=False):
    """Keywords of subprocess.Popen for decoding output. Ignored, since remoto decodes it on this machine."""

    universal_newlines: bool | None
    encoding: str | None
    errors: str | None
    bufsize: int | None


class PopenOptions(_Decoding, total=False):
    """Keywords of subprocess.Popen that the remote side applies, if its Python supports them. None is the default."""

    executable: str | bytes | PathLike | None
    preexec_fn: None
    close_fds: bool | None
    shell: bool | None
    cwd: str | bytes | PathLike | None
    restore_signals: bool | None
    start_new_session: bool | None
    pass_fds: Sequence[int] | None
    user: str | int | None
    group: str | int | None
    extra_groups: Sequence[str | int] | None
    umask: int | None
    pipesize: int | None
    process_group: int | None
    creationflags: int | None
    startupinfo: None


_DECODING = {"text", *_Decoding.__annotations__}
_POPEN = PopenOptions.__annotations__.keys() - _DECODING
_PATHS = ("cwd", "executable")
_READS_OUTPUT = "remoto reads the output itself: check() returns it, on_stdout= and on_stderr= get it as it arrives"
_REFUSED = {
    "stdout": _READS_OUTPUT,
    "stderr": _READS_OUTPUT,
    "capture_output": _READS_OUTPUT,
    "args": "the command is the second argument",
    "stop_on_nonzero": "check() always returns the exit status; this is a keyword of run()",
}


def encoded(popen: Mapping[str, object]) -> dict[str, object]:
    """Return the keywords that the remote side applies.

    :raises TypeError, ValueError: a keyword is unknown, or its value is invalid or can't be sent; the text names it.
    """
    # None means the default
    return {
        name: _encoded(name, value)
        for name, value in popen.items()
        if name not in _DECODING and (value is not None or name not in _POPEN)
    }


def _encoded(name: str, value: object) -> object:
    if name in _REFUSED:
        raise TypeError(f"{name}: not supported: {_REFUSED[name]}")
    if name not in _POPEN:
        raise TypeError(f"{name}: unknown keyword, neither of remoto nor of subprocess.Popen")
    if name == "umask":
        return _umask(value)
    if name in _PATHS or isinstance(value, (str, bytes, os.PathLike)):
        return without_nul(name, as_bytes(name, value))
    try:
        execnet.dumps(value)
    except Exception as error:  # execnet.DumpError, struct.error, RecursionError, ...
        raise TypeError(f"{name}: {type(value).__name__} can't be sent to the remote side: {value!r}") from error
    return value


def _umask(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"umask: expected int, not {type(value).__name__}: {value!r}")
    if not -1 <= value <= 0o777:
        raise ValueError(f"umask: expected 0 to 0o777, not {value:#o}")
    return value
