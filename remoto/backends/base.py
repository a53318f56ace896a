"""The base class of all connections, which is also the class of connections over ssh."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Callable, Protocol, cast

import execnet

from ..exc import ConnectError, StartError
from ..gateways import bootstrap, closing
from ..gateways.execnet_internals import ExecnetGateway
from ..gateways.gateway_io import own_io
from ..log import basic_remote_logger
from ..util import checked_seconds, checked_text
from . import ssh, ssh_config
from .executor import Executor
from .relayed import checked_relay, through

if TYPE_CHECKING:
    from ..log import AnyLogger

    class _Execnet(Protocol):
        """execnet, or a program's mock of it."""

        def makegateway(self, spec: str) -> execnet.Gateway: ...


class BaseConnection(Executor):
    """A connection to a host: over ssh, or to a Python on this machine if the host is this machine.

    Several threads may use it at the same time.

    :param hostname: ``HOST``, ``USER@HOST`` or ``-F FILE HOST``.
    :param logger: the logger; by default one named after the host, see :func:`basic_remote_logger`.
    :param sudo: run the remote Python, and so all commands and functions, as root with sudo.
    :param threads: ignored; accepted for programs written for remoto 1.x.
    :param eager: False connects on first use.
    :param detect_sudo: set ``sudo`` if the remote user is not root.
    :param use_ssh: use ssh even if the host is this machine.
    :param interpreter: the remote Python: a command for the remote user's shell. The default is ``python3``.
    :param ssh_options: further options for ssh, as one string that is split as a shell would.
    :param connect_timeout: seconds to wait for the remote Python's answer; None or 0 means no limit.
    :param keepalive: seconds between ssh's probes of a silent peer; after three without an answer the connection is
        lost. An interval in ``ssh_options`` or in ssh's configuration takes precedence. 0 or None means no probes.
    :param env: variables for all commands and functions on the remote side.
    :param kill_on_timeout: the default for :func:`remoto.process.run` and :func:`~remoto.process.check`.
    :param raise_on_timeout: the default for :func:`remoto.process.run` and :func:`~remoto.process.check`.
    :param via: the connection to a relay. ssh runs on the relay, ``localhost`` is the relay, and paths in
        ``ssh_options`` are paths on the relay. Closing the relay closes this connection first.
    :raises HostError: also an execnet.HostNotFound: the host could not be reached.
    :raises StartError: also an OSError: Python could not be started.
    :raises TypeError: an argument has the wrong type; nothing was started.
    :raises ValueError: an argument is invalid, for instance the hostname (InvalidHostname); nothing was started.

    >>> from remoto.process import check
    >>> with BaseConnection('localhost') as conn:
    ...     check(conn, ['echo', 'a b'])
    (['a b'], [], 0)
    """

    def __init__(
        self,
        hostname: str,
        logger: AnyLogger | None = None,
        sudo: bool = False,
        threads: int = 1,
        eager: bool = True,
        detect_sudo: bool = False,
        use_ssh: bool = False,
        interpreter: str | None = None,
        ssh_options: str | None = None,
        *,
        connect_timeout: float | None = bootstrap.CONNECT_TIMEOUT,
        keepalive: float | None = ssh.KEEPALIVE,
        env: Mapping[str, str] | None = None,
        kill_on_timeout: bool = False,
        raise_on_timeout: bool = False,
        via: BaseConnection | None = None,
    ) -> None:
        ssh.split_hostname(hostname)
        self.hostname = hostname
        self.via: BaseConnection | None = checked_relay(via)
        self.logger: logging.Logger = _checked_logger(logger) if logger else basic_remote_logger(hostname)
        self.sudo = sudo
        self.detect_sudo = detect_sudo
        self.use_ssh = use_ssh
        self.interpreter = checked_text("interpreter", interpreter) or f"python{sys.version_info[0]}"
        if not self.interpreter.strip():
            raise ValueError(f"interpreter: expected a command, not blanks: {interpreter!r}")
        self.ssh_options = checked_text("ssh_options", ssh_options)
        ssh.split_target(self.ssh_options or "", hostname)
        self.connect_timeout = checked_seconds("connect_timeout", connect_timeout)
        self.keepalive = checked_seconds("keepalive", keepalive)
        self.env = _checked_env({} if env is None else env)
        self.kill_on_timeout = kill_on_timeout
        self.raise_on_timeout = raise_on_timeout
        self.global_timeout: float | None = None
        super().__init__()
        if eager:
            self._connect()

    def __repr__(self) -> str:
        state = "connected" if self.has_connection() else "not connected"
        return f"<{type(self).__name__} {self.where()} ({state})>"

    # opening

    def _open_gateway(self) -> None:
        if self.detect_sudo:
            self.sudo = self._detect_sudo()
            if self.sudo:
                self.logger.debug("connection detected need for sudo")
        if self.gateway is None:
            self.gateway = self._make_gateway(self.hostname)

    def report_failure(self, error: ConnectError) -> None:
        """Log why the connection could not be opened, with ssh's stderr."""
        # 1.x let ssh's stderr through: show it even if the program drops the error
        for line in error.stderr.splitlines():
            self.logger.warning(line)
        if error.kind == "interpreter":
            self.logger.error(
                "Can't communicate with remote host, possibly because %s is not installed there", self.interpreter
            )

    def first_hop(self) -> str | None:
        """Return the jump host or relay that a login goes through first; empty for a direct login, None without ssh."""
        if not self._needs_ssh(self.hostname):
            return None
        if self.via is not None:
            return f"relay {self.via.where()}"
        target = f"{self.ssh_options} {self.hostname}" if self.ssh_options else self.hostname
        configured = ssh_config.configuration(ssh.split_target(target, self.hostname))
        return "" if configured is None else configured.jump

    def _detect_sudo(self, _execnet: _Execnet | None = None) -> bool:
        """Return True unless the remote user is root; for root, keep the gateway that was opened to find out."""
        if _execnet is not None:
            gateway = _execnet.makegateway(self._make_connection_string(self.hostname, use_sudo=False))
            name = gateway.remote_exec("import getpass; channel.send(getpass.getuser())").receive()
            gateway.exit()
            return bool(name != "root")
        gateway = self._open(self._make_connection_string(self.hostname, use_sudo=False))
        if _remote_uid(gateway) == 0:
            self.gateway = gateway
            return False
        closing.close(gateway)
        return True

    def _needs_ssh(self, hostname: str) -> bool:
        # on a relay, the name of this machine means another machine
        needs_ssh = ssh.needs_ssh if self.via is None else ssh.is_remote_name
        return self.use_ssh or needs_ssh(hostname)

    def _make_connection_string(
        self, hostname: str, _needs_ssh: Callable[[str], bool] | None = None, use_sudo: bool | None = None
    ) -> str:
        """Return the execnet spec of the gateway.

        It is ``ssh=OPTIONS HOST//python=INTERPRETER`` or ``popen//python=INTERPRETER``.

        :param _needs_ssh: called instead of :func:`~remoto.backends.needs_ssh`; ``use_ssh`` takes precedence.
        :param use_sudo: put sudo before the interpreter; the default is the connection's setting.
        """
        python = self._python_command(use_sudo)
        if self.use_ssh or (_needs_ssh or self._needs_ssh)(hostname):
            target = f"{self.ssh_options} {hostname}" if self.ssh_options else hostname
            return f"ssh={target}//python={python}"
        return f"popen//python={python}"

    def _python_command(self, use_sudo: bool | None) -> str:
        sudo = self.sudo if use_sudo is None else use_sudo
        return f"sudo {self.interpreter}" if sudo else self.interpreter

    def _make_gateway(self, hostname: str) -> execnet.Gateway:
        return self._open(self._make_connection_string(hostname))

    def _open(self, spec: str) -> execnet.Gateway:
        # do not let execnet split the spec: it does so at every // and blank, which paths and options may contain
        found = re.fullmatch(r"(?:ssh=(?P<ssh>.+?)|popen)//python=(?P<python>(?:(?!//[\w:]+=).)+)", spec, re.DOTALL)
        if not found:
            return bootstrap.open_spec(spec, self.group)
        interpreter = found["python"]
        if found["ssh"]:
            argv = ssh.ssh_argv(ssh.split_target(found["ssh"], self.hostname), interpreter, self._keepalive_here())
        else:
            try:
                argv = bootstrap.popen_argv(interpreter)
            except ValueError as error:
                raise StartError(f"interpreter: {error}", host=self.hostname, kind="interpreter") from None
        return self._start(argv, self.hostname, self.interpreter, self._gateway_env(), self.group)

    def _keepalive_here(self) -> float | None:
        """Return the keepalive of ssh on this machine; None for ssh on a relay, where ``remote/relay.py`` adds it."""
        return self.keepalive if self.via is None else None

    def _start(
        self, argv: list[str], host: str, interpreter: str, env: Mapping[str, str], group: execnet.Group
    ) -> ExecnetGateway:
        """Start a process that runs Python, on this machine or on the relay; return a gateway to that Python.

        :param host: the host's name, for messages.
        :param interpreter: the Python, for messages.
        :param env: variables for that Python and its children.
        :raises ConnectError: the process failed, or Python did not answer.
        """
        with through(self.via, host) as relay:
            try:
                return bootstrap.open_gateway(
                    argv,
                    host=host,
                    logger=self.logger,
                    timeout=self.connect_timeout,
                    env=env,
                    group=group,
                    opening=self._opening,
                    relay=relay,
                    relay_keepalive=ssh.keepalive_on_relay(argv, self.keepalive) if relay else 0,
                )
            except bootstrap.NotOpened as failure:
                raise ssh.diagnosis(argv, host, interpreter, failure, is_relayed=relay is not None) from None
            except OSError as error:
                machine = relay.name if relay else "this machine"
                raise ssh.not_started(argv, host, interpreter, error, machine) from error

    def _gateway_env(self) -> Mapping[str, str]:
        return self.env


def _checked_logger(logger: AnyLogger) -> logging.Logger:
    """Return the logger. A LoggerAdapter, or a program's own object, need only have a logger's methods."""
    if not all(callable(getattr(logger, level, None)) for level in ("debug", "info", "warning", "error")):
        raise TypeError(f"logger: expected a logger, not {type(logger).__name__}: {logger!r}")
    return cast("logging.Logger", logger)


def _checked_env(env: object) -> dict[str, str]:
    if not isinstance(env, Mapping):
        raise TypeError(f"env: expected a mapping of names to values, not {type(env).__name__}: {env!r}")
    checked = {_text(name): _text(value) for name, value in env.items()}
    for name, value in checked.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"env: invalid environment variable: {name!r}")
    return checked


def _text(value: object) -> str:
    return os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else str(value)


def _remote_uid(gateway: execnet.Gateway) -> int:
    io = own_io(gateway)
    if io is not None and io.remote_uid is not None:
        return io.remote_uid
    return int(gateway.remote_exec("import os; channel.send(os.getuid())").receive())
