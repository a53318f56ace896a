"""Turn the exit status and stderr of a process that should have carried a gateway into an error with a reason."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Sequence

import execnet

from ..exc import ConnectError, HostError, StartError
from .bootstrap import BOOT_COMMAND, NotOpened

# (pattern in stderr, kind, reason, advice); the first that matches counts
_OF_PYTHON_OR_SUDO = (
    (r"remoto: Python (?P<found>\S+) cannot run execnet", "version", "", ""),
    (
        r"sudo: .*(password is required|terminal is required|no tty present|must have a tty)",
        "sudo",
        "sudo requires a password",
        "Allow that user NOPASSWD in sudoers, or connect as root.",
    ),
    (
        r"is not in the sudoers file|may not run sudo|is not allowed to (execute|run sudo)",
        "sudo",
        "the user is not allowed to run sudo",
        "Add the user to sudoers, or connect as root.",
    ),
    (
        r"(^|[\s:])sudo: (command )?not found|'sudo'",
        "sudo",
        "sudo: command not found",
        "Install sudo on the remote host, or connect as root.",
    ),
)
_OF_SSH = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "hostkey",
        "host key has changed",
        "If the machine was installed anew: ssh-keygen -R HOST, then connect once with ssh.",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "hostkey",
        "host key verification failed",
        "Connect once with ssh and accept the key, or add it to known_hosts.",
    ),
    (
        r"Could not resolve hostname",
        "unresolvable",
        "could not resolve hostname",
        "Check the spelling, DNS, /etc/hosts and HostName in ssh's configuration.",
    ),
    (r"Connection refused", "refused", "connection refused", "Is sshd running, and on that port?"),
    (r"timed out", "timeout", "connection timed out", "Is the machine up, and does a firewall let ssh through?"),
    (r"No route to host", "unreachable", "no route to host", ""),
    (r"Network is unreachable", "unreachable", "network is unreachable", ""),
    (
        r"Permission denied \(|Too many authentication failures|Permission denied, please try again",
        "permission",
        "permission denied",
        "Check the user's name and that ssh finds a key which the host accepts.",
    ),
    (
        # sshd's MaxStartups and PerSourcePenalties (sshd_config(5)) end a connection before, or during, the key exchange
        r"(kex|ssh)_exchange_identification: .*(Connection (closed|reset)|Exceeded MaxStartups|Not allowed at this time)"
        r"|Connection (closed|reset) by \S+ port \d+",
        "closed",
        "connection closed by the remote host before authentication",
        "Does sshd limit unauthenticated connections (MaxStartups, PerSourcePenalties)? Connect to fewer hosts at a time.",
    ),
)
#: ssh's own exit status where it failed; any other is the remote command's (ssh(1))
_SSH_FAILED = 255


def diagnosis(argv: Sequence[str], host: str, interpreter: str, failure: NotOpened) -> ConnectError:
    """Return the error for a process that ended before Python answered.

    :returns: a HostError for ssh's failures and the timeout, a StartError for those of sudo and Python.
    """
    status, stderr = failure.status, failure.printed

    def error(cause: type[ConnectError], kind: str, reason: str, advice: str = "") -> ConnectError:
        return cause(
            reason, host=host, kind=kind, command=_printable(argv), exit_status=status, stderr=stderr, advice=advice
        )

    if failure.waited is not None:
        reason = f"no answer within {failure.waited:g} seconds"
        return error(HostError, "timeout", reason, "Set connect_timeout= to wait longer.")
    for pattern, kind, reason, advice in _OF_PYTHON_OR_SUDO:
        found = re.search(pattern, stderr, re.MULTILINE)
        if found and kind == "version":
            reason = f"{interpreter} is Python {found['found']}, and {_needed_python()}"
            advice = "Name another one with interpreter=. With execnet 1.9 on this machine, 2.7 and 3.5 do as well."
        if found:
            return error(StartError, kind, reason, advice)
    # with another status such words are from a banner or a start-up file
    for pattern, kind, reason, advice in _OF_SSH if status == _SSH_FAILED else ():
        if re.search(pattern, stderr, re.MULTILINE):
            return error(HostError, kind, reason, advice)
    if status == 126:
        return error(StartError, "interpreter", f"{interpreter}: cannot execute", "Name another one with interpreter=.")
    if status == 127 or re.search(r"sudo: .*: command not found", stderr):
        return error(
            StartError, "interpreter", f"{interpreter}: command not found", "Name another one with interpreter=."
        )
    program = os.path.basename(argv[0])
    # a signal ended it: ssh itself, since a remote command's signal is 128 + its number
    failed = status is None or status < 0 or status == _SSH_FAILED
    cause = HostError if program == "ssh" and failed else StartError
    return error(cause, "other", f"{program} ended before Python started")


def not_started(argv: Sequence[str], host: str, interpreter: str, error: OSError) -> StartError:
    """Return the error for a program that could not be started on this machine."""
    kind, advice = "client", f"Install {argv[0]}, or add its directory to PATH."
    if error.errno not in (errno.ENOENT, errno.EACCES, errno.ENOEXEC):
        kind, advice = "other", ""
    elif argv[0] == "sudo":
        kind, advice = "sudo", "Install sudo, or run this program as root."
    elif argv[0] == shlex.split(interpreter)[0]:
        kind, advice = "interpreter", "Name another one with interpreter=."
    reason = f"cannot run {argv[0]} on this machine: {error.strerror}"
    return StartError(reason, host=host, kind=kind, command=_printable(argv), exit_status=127, advice=advice)


def _printable(argv: Sequence[str]) -> list[str]:
    """Without the line that only Python reads."""
    return [word.replace(BOOT_COMMAND, "...") for word in argv]


def _needed_python() -> str:
    from importlib import metadata

    needed = metadata.metadata("execnet")["Requires-Python"] or "a newer one"
    return f"execnet {execnet.__version__} on this machine requires {needed}"
