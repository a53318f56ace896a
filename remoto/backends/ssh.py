"""Hosts over ssh: hostnames, ssh's argv and keepalive, and the errors of ssh, sudo and the remote Python."""

from __future__ import annotations

import errno
import functools
import os
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import execnet

from ..exc import ConnectError, HostError, InvalidHostname, StartError
from ..gateways.bootstrap import BOOT_COMMAND, NotOpened
from ..lazy import importing
from .ssh_config import configuration

if TYPE_CHECKING:
    from .base import BaseConnection as SshConnection

    class _Socket(Protocol):
        """socket, or a program's mock of it."""

        def gethostname(self) -> str: ...

        def getfqdn(self) -> str: ...


__all__ = [
    "KEEPALIVE",
    "SshConnection",
    "diagnosis",
    "needs_ssh",
    "not_started",
    "split_hostname",
    "split_target",
    "ssh_argv",
    "ssh_command_argv",
]

#: seconds between ssh's probes of a silent peer; ssh exits after three without an answer (ssh_config(5),
#: ServerAliveCountMax)
KEEPALIVE = 20


def __getattr__(name: str) -> type[SshConnection]:
    # imported on first use, since the module of BaseConnection imports this one
    if name == "SshConnection":
        from .base import BaseConnection

        return BaseConnection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_LOCAL_NAMES = ("localhost", "127.0.0.1", "127.0.1.1", "::1")


def needs_ssh(hostname: str, _socket: _Socket | None = None) -> bool:
    """Return True unless a host is this machine.

    :param hostname: a hostname; also True if it has a user or options, since they may mean another user.

    >>> needs_ssh('localhost')
    False
    >>> needs_ssh('root@localhost')
    True
    """
    if not is_remote_name(hostname):
        return False
    with importing:
        import socket

    name = hostname.lower()
    here = (_socket or socket).gethostname().lower()
    if name in (here, here.split(".")[0]):
        return False
    # as the last check, and only once, since it may query DNS, which may be slow
    return name != (_socket.getfqdn() if _socket else _fqdn(here)).lower()


def is_remote_name(hostname: str) -> bool:
    """Return True unless a name means the local machine on every machine."""
    return hostname.lower() not in _LOCAL_NAMES


@functools.cache
def _fqdn(here: str) -> str:
    with importing:
        import socket

    return socket.getfqdn()


def split_hostname(hostname: str) -> list[str]:
    """Return ssh's arguments for a hostname: one, or the three of ``-F FILE HOST``.

    :raises InvalidHostname: ssh could parse it as an option, or a shell that ssh's configuration runs as syntax.

    >>> split_hostname('root@node1')
    ['root@node1']
    >>> split_hostname('-F /etc/lab.conf node1')
    ['-F', '/etc/lab.conf', 'node1']
    """

    def refuse(reason: str) -> InvalidHostname:
        return InvalidHostname(
            reason,
            host=repr(hostname),
            kind="hostname",
            advice="A hostname is HOST, USER@HOST or -F FILE HOST; other options of ssh go into ssh_options.",
        )

    if not isinstance(hostname, str):
        raise TypeError(f"hostname: expected str, not {type(hostname).__name__}: {hostname!r}")
    try:
        # do not split a hostname without blanks, since a user may be DOMAIN\name
        arguments = shlex.split(hostname) if hostname.split() != [hostname] else [hostname]
    except ValueError as error:
        raise refuse(f"not a hostname: {error}") from None
    if len(arguments) == 3 and arguments[0] == "-F" and not arguments[1].startswith("-"):
        host = arguments[2]
    elif arguments == [hostname]:
        host = hostname
    else:
        raise refuse("not a hostname")
    user, _, name = host.removeprefix("ssh://").rpartition("@")
    # like OpenSSH (ssh.c: valid_hostname, valid_ruser), refuse these characters, since they reach the shell of a
    # ProxyCommand
    if host.startswith(("-", "@")) or name.startswith("-") or not name:
        raise refuse("a hostname can't begin with a dash or @, or be empty")
    if re.search(r"[\s'`\"$\\;&<>|(){},\x00-\x1f\x7f]", name) or re.search(r"[\s'`\";&<>|(){}\x00-\x1f\x7f]", user):
        raise refuse("a hostname can't contain blanks or shell metacharacters")
    return arguments


def split_target(target: str, hostname: str) -> list[str]:
    """Return ssh's arguments for a target: its options and then the host.

    The options are split as by a shell, the host by :func:`split_hostname`.

    :param target: options and the host; or options alone.
    :param hostname: the connection's hostname.
    :raises HostError: the options have an open quote.

    >>> split_target("-p 22 -i '/a b' node1", 'node1')
    ['-p', '22', '-i', '/a b', 'node1']
    """
    # do not split the hostname as a shell would: in DOMAIN\user, the backslash would be an escape
    options = target.removesuffix(hostname)
    host = split_hostname(hostname) if options != target else []
    try:
        return shlex.split(options) + host
    except ValueError as error:
        raise HostError(f"ssh_options: {error}", host=hostname, kind="hostname") from None


def ssh_argv(arguments: Sequence[str], interpreter: str, keepalive: float | None = KEEPALIVE) -> list[str]:
    """Return the ssh argv that starts Python on another machine.

    :param arguments: ssh's options, and then the host.
    :param interpreter: a command for the remote user's shell, such as ``python3`` or ``sudo python3``.
    :param keepalive: seconds between probes of a silent peer; 0 or None means no probes. An interval in the options or
        in ssh's configuration takes precedence.
    """
    return ssh_command_argv(arguments, f'{interpreter} -c "{BOOT_COMMAND}"', keepalive)


def ssh_command_argv(arguments: Sequence[str], command: str, keepalive: float | None = KEEPALIVE) -> list[str]:
    """Return the ssh argv that runs a command line in the remote user's shell; see :func:`ssh_argv`."""
    *options, host = arguments
    if keepalive and not _names_keepalive(options) and _has_no_keepalive(arguments):
        options += ["-o", f"ServerAliveInterval={max(1, round(keepalive))}"]
    return ["ssh", "-T", *options, host, command]


def keepalive_on_relay(argv: Sequence[str], keepalive: float | None) -> int:
    """Return the keepalive for ssh on a relay, in seconds. The relay's ssh configuration takes precedence.

    :returns: 0 if the argv is not ssh's, or has an interval, or if no probes are wanted.
    """
    if not keepalive or argv[0] != "ssh" or _names_keepalive(argv[1:-1]):
        return 0
    return max(1, round(keepalive))


def _has_no_keepalive(arguments: Sequence[str]) -> bool:
    configured = configuration(arguments)
    return configured is not None and configured.keepalive == 0


def _names_keepalive(options: Sequence[str]) -> bool:
    """Return True if ssh's options set ServerAliveInterval."""
    # in upper or lower case, with or without a blank after -o
    line = " ".join(options)
    return re.search(r"(^| )-[46AaCfGgKkMNnqsTtVvXxYy]*o ?[\"']?serveraliveinterval\b", line, re.IGNORECASE) is not None


# (pattern in stderr, kind, reason, advice); the first match is used
_PYTHON_SYMPTOMS = (
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
#: ssh's name for the peer behind a ProxyCommand or jump host: it has a pipe instead of an address
_PROXY = "UNKNOWN port 65535"
_CLOSED = (
    "closed",
    "connection closed by the remote host before authentication",
    "sshd may limit logins in progress (MaxStartups): connect to fewer hosts at a time. Or it may penalise this "
    "machine, or the jump host, for failed logins (PerSourcePenalties): correct them, and wait. Its log says which.",
)
_SSH_SYMPTOMS = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "hostkey",
        "host key has changed",
        "If the machine was reinstalled, run ssh-keygen -R HOST, and connect once with ssh.",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "hostkey",
        "host key verification failed",
        "Connect once with ssh and accept the key, or add it to known_hosts.",
    ),
    (
        # the second: what a jump host answers to ssh -W
        r"Could not resolve hostname|open failed: connect failed: (Name or service not|Temporary failure in name)",
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
    # sshd's MaxStartups and PerSourcePenalties (sshd_config(5)) end a connection before, or during, the key exchange.
    # The address is that of the host, or of a jump host
    (rf"Connection (closed|reset) by (?!{_PROXY})\S+ port \d+|Exceeded MaxStartups|Not allowed at this time", *_CLOSED),
    (
        r"stdio forwarding failed",
        "other",
        "the jump host does not forward the connection",
        "Does its sshd allow that (AllowTcpForwarding, PermitOpen), and does it know the host?",
    ),
    (
        r"(not found|No such file or directory|cannot execute.*|Permission denied|Exec format error)\r?$"
        rf"[\s\S]*{_PROXY}",
        "other",
        "the ProxyCommand cannot be run",
        "Check it in ssh's configuration, or in ssh_options.",
    ),
    (
        _PROXY,
        "proxy",
        # also sshd's MaxStartups: ssh prints the same if the ProxyCommand, or a jump host on a relay, failed silently
        "connection closed before authentication, behind a ProxyCommand or jump host",
        "Run the ProxyCommand in a shell. Does sshd behind it limit unauthenticated connections (MaxStartups)?",
    ),
    # printed by an ssh that does not name the address
    (r"(kex|ssh)_exchange_identification: .*Connection (closed|reset)", *_CLOSED),
)
#: ssh's exit status if it failed itself; any other is the remote command's (ssh(1))
_SSH_FAILED = 255


def diagnosis(
    argv: Sequence[str], host: str, interpreter: str, failure: NotOpened, is_relayed: bool = False
) -> ConnectError:
    """Return the error for a process that exited before Python answered.

    :param is_relayed: the process ran on a relay, whose ssh configuration is unknown.
    :returns: a HostError if ssh failed or the timeout expired, a StartError if sudo or Python failed.
    """
    status, stderr = failure.status, failure.printed

    def error(cause: type[ConnectError], kind: str, reason: str, advice: str = "") -> ConnectError:
        return cause(
            reason, host=host, kind=kind, command=_printable(argv), exit_status=status, stderr=stderr, advice=advice
        )

    if failure.waited is not None:
        reason = f"no answer within {failure.waited:g} seconds"
        return error(HostError, "timeout", reason, "Set connect_timeout= to wait longer.")
    for pattern, kind, reason, advice in _PYTHON_SYMPTOMS:
        found = re.search(pattern, stderr, re.MULTILINE)
        if found and kind == "version":
            reason = f"{interpreter} is Python {found['found']}, and {_needed_python()}"
            advice = "Pass another Python as interpreter=. With execnet 1.9 on this machine, 2.7 and 3.5 will do."
        if found:
            return error(StartError, kind, reason, advice)
    # with another status, a match would be from a banner or a start-up file
    for pattern, kind, reason, advice in _SSH_SYMPTOMS if status == _SSH_FAILED else ():
        if re.search(pattern, stderr, re.MULTILINE):
            if kind == "proxy" and not is_relayed and _closed_behind_jump_host(argv, stderr):
                kind, reason, advice = _CLOSED
            return error(HostError, kind, reason, advice)
    if status == 126:
        return error(
            StartError, "interpreter", f"{interpreter}: cannot execute", "Pass another Python as interpreter=."
        )
    if status == 127 or re.search(r"sudo: .*: command not found", stderr):
        return error(
            StartError, "interpreter", f"{interpreter}: command not found", "Pass another Python as interpreter=."
        )
    program = os.path.basename(argv[0])
    # a negative status: a signal killed ssh itself; for a remote command, the status would be 128 + N
    failed = status is None or status < 0 or status == _SSH_FAILED
    cause = HostError if program == "ssh" and failed else StartError
    return error(cause, "other", f"{program} exited before Python started")


def _closed_behind_jump_host(argv: Sequence[str], stderr: str) -> bool:
    """Return True if the host itself closed the connection through a jump host.

    Otherwise the ssh that connects to the jump host would have printed an error, which an earlier pattern matches.
    """
    if not re.search(rf"Connection (closed|reset) by {_PROXY}|Connection to {_PROXY}: Broken pipe", stderr):
        return False
    configured = configuration(argv[1:-1])
    return configured is not None and configured.by_ssh


def not_started(
    argv: Sequence[str], host: str, interpreter: str, error: OSError, machine: str = "this machine"
) -> StartError:
    """Return the error for a program that could not be started on this machine, or on a relay."""
    kind, advice = "client", f"Install {argv[0]}, or add its directory to PATH."
    if error.errno not in (errno.ENOENT, errno.EACCES, errno.ENOEXEC):
        kind, advice = "other", ""
    elif argv[0] == "sudo":
        kind, advice = "sudo", "Install sudo, or run this program as root."
    elif argv[0] == shlex.split(interpreter)[0]:
        kind, advice = "interpreter", "Pass another Python as interpreter=."
    reason = f"cannot run {argv[0]} on {machine}: {error.strerror}"
    return StartError(reason, host=host, kind=kind, command=_printable(argv), exit_status=127, advice=advice)


def _printable(argv: Sequence[str]) -> list[str]:
    """Return an argv for messages, with ``...`` instead of the boot command."""
    return [argument.replace(BOOT_COMMAND, "...") for argument in argv]


def _needed_python() -> str:
    with importing:
        from importlib import metadata

    needed = metadata.metadata("execnet")["Requires-Python"] or "a newer one"
    return f"execnet {execnet.__version__} on this machine requires {needed}"
