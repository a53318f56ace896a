"""Hosts over ssh: the hostnames that are accepted, ssh's command line and its keepalive."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..exc import HostError, InvalidHostname
from ..gateways.bootstrap import BOOT_COMMAND
from .ssh_config import configuration

if TYPE_CHECKING:
    from .base import BaseConnection as SshConnection

__all__ = [
    "KEEPALIVE",
    "SshConnection",
    "needs_ssh",
    "split_hostname",
    "split_target",
    "ssh_argv",
    "ssh_command_argv",
]

#: seconds between ssh's probes of a silent peer; ssh gives up after three of them (ssh_config(5), ServerAliveCountMax)
KEEPALIVE = 20


def __getattr__(name: str) -> Any:
    # on first use: the module of BaseConnection imports this one
    if name == "SshConnection":
        from .base import BaseConnection

        return BaseConnection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_LOCAL_NAMES = ("localhost", "127.0.0.1", "127.0.1.1", "::1")


def needs_ssh(hostname: str, _socket: Any = None) -> bool:
    """Return True if a host is another machine than this one.

    :param hostname: with a user or options, it counts as another machine: it may mean another user.

    >>> needs_ssh('localhost')
    False
    >>> needs_ssh('root@localhost')
    True
    """
    name = hostname.lower()
    if name in _LOCAL_NAMES:
        return False
    import socket

    here = (_socket or socket).gethostname().lower()
    if name in (here, here.split(".")[0]):
        return False
    # this may ask DNS, which may be slow: do it last, and once
    return name != (_socket.getfqdn() if _socket else _fqdn(here)).lower()


@functools.cache
def _fqdn(here: str) -> str:
    import socket

    return socket.getfqdn()


def split_hostname(hostname: str) -> list[str]:
    """Return ssh's arguments for a hostname: one, or the three of ``-F FILE HOST``.

    :raises InvalidHostname: ssh could take it for an option, or a shell in ssh's configuration for syntax.

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
        # a user may be DOMAIN\name: without blanks there is nothing to split
        words = shlex.split(hostname) if hostname.split() != [hostname] else [hostname]
    except ValueError as error:
        raise refuse(f"not a hostname: {error}") from None
    if len(words) == 3 and words[0] == "-F" and not words[1].startswith("-"):
        host = words[2]
    elif words == [hostname]:
        host = hostname
    else:
        raise refuse("not a hostname")
    user, _, name = host.removeprefix("ssh://").rpartition("@")
    # OpenSSH refuses these characters as well (ssh.c: valid_hostname, valid_ruser), since they reach a shell in ProxyCommand
    if host.startswith("-") or name.startswith("-") or not name:
        raise refuse("a hostname can't begin with a dash or be empty")
    if re.search(r"[\s'`\"$\\;&<>|(){},\x00-\x1f\x7f]", name) or re.search(r"[\s'`\";&<>|(){}\x00-\x1f\x7f]", user):
        raise refuse("a hostname can't hold blanks or characters that are special to a shell")
    return words


def split_target(target: str, hostname: str) -> list[str]:
    """Return ssh's arguments for a target: its options, split as a shell would, then the host as :func:`split_hostname` does.

    :param target: the options, then the host; or the options alone.
    :param hostname: the host, as the connection has it.
    :raises HostError: the options have an open quote.

    >>> split_target("-p 22 -i '/a b' node1", 'node1')
    ['-p', '22', '-i', '/a b', 'node1']
    """
    # the hostname is split as when it was checked: to a shell, the backslash of DOMAIN\user is an escape
    options = target.removesuffix(hostname)
    host = split_hostname(hostname) if options != target else []
    try:
        return shlex.split(options) + host
    except ValueError as error:
        raise HostError(f"ssh_options: {error}", host=hostname, kind="hostname") from None


def ssh_argv(words: Sequence[str], interpreter: str, keepalive: float | None = KEEPALIVE) -> list[str]:
    """Return the ssh argv that starts Python on another machine.

    :param words: ssh's options, then the host.
    :param interpreter: a command for the remote user's shell, such as ``python3`` or ``sudo python3``.
    :param keepalive: seconds between probes of a silent peer, 0 or None for none. An interval in the options or in ssh's
        configuration takes precedence.
    """
    return ssh_command_argv(words, f'{interpreter} -c "{BOOT_COMMAND}"', keepalive)


def ssh_command_argv(words: Sequence[str], command: str, keepalive: float | None = KEEPALIVE) -> list[str]:
    """Return the ssh argv that runs a command line in the remote user's shell; see :func:`ssh_argv`."""
    *options, host = words
    if keepalive and not _names_keepalive(options) and _has_no_keepalive(words):
        options += ["-o", f"ServerAliveInterval={max(1, round(keepalive))}"]
    return ["ssh", "-T", *options, host, command]


def _has_no_keepalive(words: Sequence[str]) -> bool:
    configured = configuration(words)
    return configured is not None and configured.keepalive == 0


def _names_keepalive(options: Sequence[str]) -> bool:
    """Return True if ssh's options set ServerAliveInterval. ssh accepts it in any case, also without a blank after ``-o``."""
    line = " ".join(options)
    return re.search(r"(^| )-[46AaCfGgKkMNnqsTtVvXxYy]*o ?[\"']?serveraliveinterval\b", line, re.IGNORECASE) is not None
