"""What it means when a process that was to carry a gateway has ended: its own words and exit status in plain ones."""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Sequence

import execnet

from .exc import ConnectError

#: what every far Python is started with; execnet's own
FAR_LINE = "import sys;exec(eval(sys.stdin.readline()))"

# what is said, what that means, and what to do; the first that fits counts
_OF_PYTHON_OR_SUDO = (
    (r"remoto: Python (?P<found>\S+) cannot run execnet", "version", "", ""),
    (
        r"sudo: .*(password is required|terminal is required|no tty present|must have a tty)",
        "sudo",
        "sudo wants a password there",
        "Allow that user NOPASSWD in sudoers, or connect as root.",
    ),
    (r"is not in the sudoers file|may not run sudo|is not allowed to (execute|run sudo)", "sudo",
     "sudo is not allowed to that user there", "Add the user to sudoers, or connect as root."),
    (r"(^|[\s:])sudo: (command )?not found|'sudo'", "sudo", "sudo is not installed there", "Install sudo, or connect as root."),
)  # fmt: skip
_OF_SSH = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "hostkey",
        "its host key is not the one that is known",
        "If the machine was installed anew: ssh-keygen -R HOST, then connect once with ssh.",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "hostkey",
        "its host key is not known here",
        "Connect once with ssh and accept the key, or add it to known_hosts.",
    ),
    (
        r"Could not resolve hostname",
        "unresolvable",
        "no address is known for that name",
        "Check the spelling, DNS, /etc/hosts and HostName in ssh's configuration.",
    ),
    (r"Connection refused", "refused", "nothing listens on that port there", "Is sshd running, and on that port?"),
    (r"timed out", "timeout", "it does not answer", "Is the machine up, and does a firewall let ssh through?"),
    (r"No route to host|Network is unreachable", "unreachable", "the network does not lead there", ""),
    (
        r"Permission denied \(|Too many authentication failures|Permission denied, please try again",
        "permission",
        "it does not let that user in",
        "Check the user's name and that ssh finds a key which the host accepts.",
    ),
)  # fmt: skip


def diagnosis(
    argv: Sequence[str], host: str, interpreter: str, status: int | None, stderr: str, timeout: float | None
) -> ConnectError:
    """The error for a process that ended before Python had answered.

    :param status: its exit status; None where it was ended here.
    :param stderr: what it said.
    :param timeout: the seconds that were waited for, where that was the reason.
    """

    def error(kind: str, reason: str, advice: str) -> ConnectError:
        return ConnectError(
            reason, host=host, kind=kind, command=_printable(argv), exit_status=status, stderr=stderr, advice=advice
        )

    if timeout is not None:
        return error(
            "timeout", f"no answer within {timeout:g} seconds", "connect_timeout= sets how many seconds are waited for."
        )
    for pattern, kind, reason, advice in _OF_PYTHON_OR_SUDO:
        found = re.search(pattern, stderr, re.MULTILINE)
        if found and kind == "version":
            reason = f"{interpreter} there is Python {found.group('found')}, and {_needed_python()} is needed"
            advice = "interpreter= names another one there; execnet 1.9 here starts Python 2.7 and 3.5 as well."
        if found:
            return error(kind, reason, advice)
    # ssh's own status; with another one, such words are a banner's or a start-up file's
    for pattern, kind, reason, advice in _OF_SSH if status == 255 else ():
        if re.search(pattern, stderr, re.MULTILINE):
            return error(kind, reason, advice)
    if status in (126, 127) or re.search(r"sudo: .*: command not found", stderr):
        return error("interpreter", f"{interpreter} can't be run there", "interpreter= names another one.")
    return error("other", "it ended before Python had started there", "")


def not_started(argv: Sequence[str], host: str, interpreter: str, error: OSError) -> ConnectError:
    """The error for a program that is not on this machine."""
    kind, reason = "client", f"{argv[0]} can't be run here: {error.strerror}"
    advice = f"Install {argv[0]}; it is looked for on PATH."
    if error.errno not in (errno.ENOENT, errno.EACCES, errno.ENOEXEC):
        kind, advice = "other", ""
    elif argv[0] == "sudo":
        kind, advice = "sudo", "Install sudo, or run this program as root."
    elif argv[0] == shlex.split(interpreter)[0]:
        kind, reason = "interpreter", f"{interpreter} can't be run here: {error.strerror}"
        advice = "interpreter= names another one."
    return ConnectError(reason, host=host, kind=kind, command=_printable(argv), exit_status=127, advice=advice)


def _printable(argv: Sequence[str]) -> list[str]:
    """Without the line that only Python reads."""
    return [word.replace(FAR_LINE, "...") for word in argv]


def _needed_python() -> str:
    from importlib import metadata

    needed = metadata.metadata("execnet")["Requires-Python"] or "a newer one"
    return f"{needed} (by execnet {execnet.__version__} here)"
