"""Describe a failed command: the reason, advice, the last stderr lines, and a short traceback."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from ..exc import ConnectionLost
from ..remote.wire import ENDED, LEFT
from ..util import RemoteError
from .answers import ClientEnded
from .lines import split_lines

#: stderr lines to show in an error, and characters of each line
STDERR_LINES = 10
LONGEST_LINE = 500
# stderr lines of a container's client to show in an error
CLIENT_LINES = 5

_SHELL_ADVICE = "Without shell=True, a string is the name of one program: pass shell=True, or a list."
# a frame of a traceback: a line, and the indented source below it
_FRAME = r'(?m)^  File "[^"]*", .*\n(?:    .*\n)*'
# one of remoto's and execnet's own files on the remote side
_OWN_FRAME = (
    r'(?m)^  File "(?:[^"]*execnet/gateway_base\.py|remoto/remote/[^"]*|<string>|<remote exec>)", .*\n(?:    .*\n)*'
)


def reason_of(traceback: str) -> str:
    """Return why a command could not be started: the system's error message.

    >>> reason_of("Traceback:\\nFileNotFoundError: [Errno 2] No such file or directory: 'foo'\\n")
    "No such file or directory: 'foo'"
    """
    line = RemoteError(traceback).exception_line
    return re.sub(r"^[\w.]+: (\[Errno \d+\] )?", "", line)


def shell_advice(command: object, popen: Mapping[str, object], problem: str) -> str:
    """Return advice if a string command needs ``shell=True``, else an empty string.

    :param problem: the reason why the command could not be started, or sudo's stderr.

    >>> shell_advice('ls -a', {}, "No such file or directory: 'ls -a'")
    'Without shell=True, a string is the name of one program: pass shell=True, or a list.'
    """
    if not isinstance(command, str) or not command or popen.get("shell") or shlex.quote(command) == command:
        return ""
    # Python 2's errors name no path; if one names another path, such as cwd, that is the problem
    is_the_problem = repr(command) in problem or f"{command}: command not found" in problem or "'" not in problem
    return _SHELL_ADVICE if is_the_problem else ""


def without_own_frames(traceback: str) -> str:
    """Return a remote traceback without the frames of remoto's and execnet's own files."""
    return re.sub(_OWN_FRAME, "", traceback)


def without_frames(traceback: str) -> str:
    """Return a remote traceback without its frames: only the first line and the exception.

    >>> without_frames('Traceback:\\n  File "a.py", line 1, in b\\n    c()\\nOSError: d\\n')
    'Traceback:\\nOSError: d\\n'
    """
    return re.sub(_FRAME, "", traceback)


def last_lines(stderr: Iterable[str | bytes]) -> str:
    """Return the last stderr lines for an error.

    :param stderr: lines, or blocks.
    """
    lines: list[str] = []
    blocks: list[bytes] = []
    for part in stderr:
        if isinstance(part, bytes):
            blocks.append(part)
        else:
            lines.append(part)
    last = [line for line in lines or split_lines(b"".join(blocks)) if line.strip()][-STDERR_LINES:]
    shown = "\n".join(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in last)
    return shown.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def client_lost(host: str, text: str, status: ClientEnded) -> ConnectionLost:
    """Return the error for a container's client that exited before its command."""
    what = "the connection to the container ended before the command did"
    lines = split_lines(status.stderr)[-CLIENT_LINES:]
    if status.state == ENDED:
        what += ", and the command was killed"
    elif status.state == LEFT:
        what += "; the command could not be killed and may still be running"
        lines += split_lines(status.problem)[-CLIENT_LINES:]
    return ConnectionLost(host, text, what, "\n".join(lines))
