"""Turn a command's request into one that runs a container's client.

The client runs ``/bin/sh`` in the container, which reads ``remote/container.sh`` from stdin. That script sets the
environment and the directory, and reports the exit status, so the client's own stderr is never mistaken for the
command's. Since the script arrives on stdin, no list of processes, in the container or on the client's machine, shows
the variables, the mark of the reports, or the command a second time.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from .. import remote
from ..remote.wire import NO_SCRIPT

if TYPE_CHECKING:
    from ..commands.request import Request

#: bytes of arguments and variables that the kernel may refuse: Linux limits each string to 128 KiB (execve(2))
LONG_ARGUMENTS = 100_000

# The container's shell first reports its process group. Only then is the script sent, up to a line that equals its
# first one. The shell's read consumes no byte after that line, so the rest is the command's stdin. It reads in a
# subshell, so that no variable is set, and runs nothing of an incomplete script.
_READER = """\
echo "remoto started $$"
echo "remoto started $$" >&2
set -- "$(
IFS= read -r end && while IFS= read -r line; do
if [ "$line" = "$end" ]; then echo "# complete"; exit; fi
printf "%s\\n" "$line"
done
)"
case $1 in *"# complete") eval "$1" ;; esac
exit @"""
_READER = _READER.replace("@", str(NO_SCRIPT))


class Inside(NamedTuple):
    """The parts of a request that apply inside the container."""

    directory: bytes
    #: True if the command is a command line for a shell
    is_line: bool
    variables: dict[bytes, bytes]


def inside_of(request: Request, env: Mapping[str, str]) -> Inside:
    """Return the parts of a request that apply inside the container.

    :param env: the connection's variables.
    :raises TypeError: a keyword of Popen is not supported in containers.
    :raises ValueError: a shell can't set a variable of that name.
    """
    popen = dict(request["popen"] or {})
    directory = cast("bytes", popen.pop("cwd", b""))
    if directory == b"-":
        directory = b"./-"  # alone, cd takes it for the directory before
    shell = popen.pop("shell", False)
    if popen:
        raise TypeError(f"{', '.join(popen)}: not supported in containers")
    variables: dict[bytes, bytes] = {}
    if request["env"] is None:
        variables.update((_encoded(name), _encoded(value)) for name, value in env.items())
    for more in (request["env"], request["extend_env"]):
        variables.update(more or {})
    _assignments(variables)
    return Inside(directory, bool(shell or isinstance(request["args"], bytes)), variables)


def for_client(request: Request, client: list[str], env: Mapping[str, str]) -> Request:
    """Return a request that runs the client.

    :param client: the client's argv, up to the command in the container.
    :param env: the connection's variables.
    :raises TypeError, ValueError: see :func:`inside_of`.
    """
    inside = inside_of(request, env)
    mark = f"remoto-{os.urandom(8).hex()}".encode("ascii")
    args = request["args"]
    command = [args] if isinstance(args, bytes) else args
    client_argv = list(map(_encoded, client))
    return {
        **request,
        "args": [*client_argv, b"/bin/sh", b"-c", _READER.encode("ascii")],
        "stdin": request["stdin"] or b"",
        "env": None,
        "extend_env": None,
        "popen": None,
        "container": {
            "mark": mark,
            "script": _script_of(request, mark, inside, command),
            "names": {
                "program": b"/bin/sh" if inside.is_line else command[0],
                "cwd": inside.directory,
                "variable": b"one of the environment variables " + b", ".join(inside.variables),
            },
            "client": client_argv,
        },
    }


def _script_of(request: Request, mark: bytes, inside: Inside, command: list[bytes]) -> bytes:
    """Return the script with its arguments, between two lines that mark its beginning and end."""
    assignments = _assignments(inside.variables)
    long = sum(map(len, [*assignments, *command])) >= LONG_ARGUMENTS
    arguments = [
        *(b"extend" if request["env"] is None else b"replace", *assignments, b"--"),
        *(mark, b"" if request["stdin"] is None else b"stdin", b"line" if inside.is_line else b"program"),
        *(b"long" if long else b"", inside.directory),
        *command,
    ]
    return b"\n".join([mark, b"set -- " + b" ".join(map(_quoted, arguments)), _script(), mark, b""])


@functools.cache
def _script() -> bytes:
    lines = remote.text("container.sh").splitlines()
    return "\n".join(line.strip() for line in lines if not line.lstrip().startswith("#")).encode("ascii")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _quoted(argument: bytes) -> bytes:
    """Quote an argument for a shell, as bytes, which shlex.quote does not accept.

    :raises ValueError: it has a NUL, which a shell drops.
    """
    if b"\0" in argument:
        raise ValueError(f"embedded null byte: {argument!r:.200}")
    return b"'" + argument.replace(b"'", b"'\\''") + b"'"


def _assignments(variables: Mapping[bytes, bytes]) -> list[bytes]:
    for name in variables:
        if not re.fullmatch(rb"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name.decode('utf-8', 'backslashreplace')}: a shell can't set a variable of that name")
    return [name + b"=" + value for name, value in variables.items()]
