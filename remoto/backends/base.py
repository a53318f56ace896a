"""The base class of all connections, which is also the class of connections over ssh."""

from __future__ import annotations

import functools
import logging
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from ..commands.request import Request
from ..commands.target import Channel
from ..exc import ConnectError, ConnectionLost, HostError, StartError
from ..functions import interpreter
from ..functions.facade import ModuleExecute
from ..functions.legacy import LegacyModuleExecute
from ..gateways import bootstrap as gateways
from ..gateways.bootstrap import RemoteFunction
from ..gateways.execnet_internals import io_of
from ..gateways.interrupts import uninterrupted
from ..gateways.outbox import sending_within
from ..gateways.process_io import CLOSE_TIMEOUT, ProcessIO
from ..log import basic_remote_logger
from ..util import bound, checked_text
from . import ssh
from .patched import JsonModuleExecute

if TYPE_CHECKING:
    from typing_extensions import Self


class BaseConnection:
    """A connection to a host: over ssh, or to a Python on this machine if the host is this machine.

    It may be used from several threads at once.

    :param hostname: ``HOST``, ``USER@HOST`` or ``-F FILE HOST``.
    :param logger: the logger to use; by default one named after the host, see :func:`basic_remote_logger`.
    :param sudo: run the remote Python, and so all commands and functions, as root with sudo.
    :param threads: ignored; programs written for remoto 1.x pass it. Any number of threads may use a connection.
    :param eager: False connects on first use.
    :param detect_sudo: turn ``sudo`` on if the remote user is not root.
    :param use_ssh: use ssh even if the host is this machine.
    :param interpreter: the remote Python: a command for the remote user's shell. The default is ``python3``.
    :param ssh_options: further options for ssh, as one string that is split as a shell would.
    :param connect_timeout: seconds to wait for the remote Python's answer; None or 0 for no limit.
    :param keepalive: seconds between ssh's probes of a silent peer; after three without an answer the connection is lost. An
        interval in ``ssh_options`` or in ssh's configuration takes precedence. 0 or None for no probes.
    :param env: variables for every command and function on the remote side.
    :param kill_on_timeout: the default for :func:`remoto.process.run` and :func:`~remoto.process.check`.
    :param raise_on_timeout: likewise.
    :raises HostError: also an execnet.HostNotFound: the host was not reached.
    :raises StartError: also an OSError: Python could not be started.
    :raises TypeError: an argument is of the wrong type; nothing has been started.
    :raises ValueError: an argument's value cannot be used, for instance an InvalidHostname; nothing has been started.

    >>> from remoto.process import check
    >>> with BaseConnection('localhost') as conn:
    ...     check(conn, ['echo', 'a b'])
    (['a b'], [], 0)
    """

    #: how :meth:`import_module` runs functions: ``legacy`` in a Python that keeps running, ``json`` in a new one for each call
    remote_import_system = "legacy"
    #: the class of the error if no Python is found
    connect_error: type[StartError] = StartError

    def __init__(
        self,
        hostname: str,
        logger: Any = None,
        sudo: bool = False,
        threads: int = 1,
        eager: bool = True,
        detect_sudo: bool = False,
        use_ssh: bool = False,
        interpreter: str | None = None,
        ssh_options: str | None = None,
        *,
        connect_timeout: float | None = gateways.CONNECT_TIMEOUT,
        keepalive: float | None = ssh.KEEPALIVE,
        env: Mapping[str, str] | None = None,
        kill_on_timeout: bool = False,
        raise_on_timeout: bool = False,
    ) -> None:
        ssh.split_hostname(hostname)
        self.hostname = hostname
        self.logger: logging.Logger = _checked_logger(logger) if logger else basic_remote_logger(hostname)
        self.sudo = sudo
        self.detect_sudo = detect_sudo
        self.use_ssh = use_ssh
        self.interpreter = checked_text("interpreter", interpreter) or f"python{sys.version_info[0]}"
        if not self.interpreter.strip():
            raise ValueError(f"interpreter: expected a command, not blanks: {interpreter!r}")
        self.ssh_options = checked_text("ssh_options", ssh_options)
        self._ssh_words(self.ssh_options or "")
        self.connect_timeout = bound("connect_timeout", connect_timeout)
        self.keepalive = bound("keepalive", keepalive)
        self.env = _checked_env({} if env is None else env)
        self.kill_on_timeout = kill_on_timeout
        self.raise_on_timeout = raise_on_timeout
        self.global_timeout: float | None = None
        self.remote_module: ModuleExecute | None = None
        self.channel: Any = None
        self.gateway: Any = None
        self.group = gateways.new_group()
        self._connecting = threading.Lock()
        self._opening: set[gateways.Opening] = set()
        self._closed = False
        self._owner = os.getpid()
        if eager:
            self._connect()

    def __repr__(self) -> str:
        state = "connected" if self.has_connection() else "not connected"
        return f"<{type(self).__name__} {self.hostname} ({state})>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.exit()

    # opening and closing

    def connect(self) -> None:
        """Open the connection if it is not open yet. With ``eager=True``, the default, the constructor has done that.

        :raises ConnectError: it could not be opened. The next call tries again.
        :raises ConnectionLost: it is closed, or was lost.
        """
        self._live_gateway()

    def _connect(self) -> None:
        try:
            if self.detect_sudo:
                self.sudo = self._detect_sudo()
                if self.sudo:
                    self.logger.debug("connection detected need for sudo")
            if self.gateway is None:
                self.gateway = self._make_gateway(self.hostname)
        except ConnectError as error:
            if self._closed:
                raise self._is_closed() from None
            # 1.x passed them on to stderr: show them even if the program drops the error
            for line in error.stderr.splitlines():
                self.logger.warning(line)
            if error.kind == "interpreter":
                self.logger.error(
                    "Can't communicate with remote host, possibly because %s is not installed there", self.interpreter
                )
            raise
        except BaseException:
            # perhaps interrupted just after the gateway was opened
            gateways.close_group(self.group)
            self.gateway = None
            raise

    def _detect_sudo(self, _execnet: Any = None) -> bool:
        """Return True unless the remote user is root; if it is, keep the gateway that was opened to find out."""
        if _execnet is not None:
            gateway = _execnet.makegateway(self._make_connection_string(self.hostname, use_sudo=False))
            name = gateway.remote_exec("import getpass; channel.send(getpass.getuser())").receive()
            gateway.exit()
            return bool(name != "root")
        gateway = self._open(self._make_connection_string(self.hostname, use_sudo=False))
        if _remote_uid(gateway) == 0:
            self.gateway = gateway
            return False
        gateways.close(gateway)
        return True

    def _needs_ssh(self, hostname: str) -> bool:
        return self.use_ssh or needs_ssh(hostname)

    def _make_connection_string(self, hostname: str, _needs_ssh: Any = None, use_sudo: bool | None = None) -> str:
        """Return the execnet spec of the gateway to open: ``ssh=OPTIONS HOST//python=INTERPRETER`` or ``popen//python=INTERPRETER``.

        :param _needs_ssh: called instead of :func:`needs_ssh`; ``use_ssh`` takes precedence.
        :param use_sudo: by default the connection's setting.
        """
        python = self._python_command(use_sudo)
        if self.use_ssh or (_needs_ssh or self._needs_ssh)(hostname):
            target = f"{self.ssh_options} {hostname}" if self.ssh_options else hostname
            return f"ssh={target}//python={python}"
        return f"popen//python={python}"

    def _python_command(self, use_sudo: bool | None) -> str:
        sudo = self.sudo if use_sudo is None else use_sudo
        return f"sudo {self.interpreter}" if sudo else self.interpreter

    def _make_gateway(self, hostname: str) -> Any:
        return self._open(self._make_connection_string(hostname))

    def _open(self, spec: str) -> Any:
        # execnet splits a spec at every // and every blank; paths and quoted options may contain them
        found = re.fullmatch(r"(?:ssh=(?P<ssh>.+?)|popen)//python=(?P<python>(?:(?!//[\w:]+=).)+)", spec, re.DOTALL)
        if not found:
            return gateways.open_spec(spec, self.group)
        interpreter = found["python"]
        if found["ssh"]:
            argv = ssh.ssh_argv(self._ssh_words(found["ssh"]), interpreter, self.keepalive)
        else:
            try:
                argv = gateways.popen_argv(interpreter)
            except ValueError as error:
                raise StartError(f"interpreter: {error}", host=self.hostname, kind="interpreter") from None
        return self._start(argv)

    def _ssh_words(self, target: str) -> list[str]:
        """Return the options, split as a shell would, and the host; the last item is the host."""
        # the hostname is split as when it was checked: to a shell, the backslash of DOMAIN\user is an escape
        options = target.removesuffix(self.hostname)
        host = ssh.split_hostname(self.hostname) if options != target else []
        try:
            return shlex.split(options) + host
        except ValueError as error:
            raise HostError(f"ssh_options: {error}", host=self.hostname, kind="hostname") from None

    def _start(self, argv: list[str]) -> Any:
        return gateways.open_gateway(
            argv,
            host=self.hostname,
            interpreter=self.interpreter,
            logger=self.logger,
            timeout=self.connect_timeout,
            env=self._gateway_env(),
            group=self.group,
            opening=self._opening,
        )

    def _gateway_env(self) -> Mapping[str, str]:
        return self.env

    def has_connection(self) -> bool:
        """Return True if the connection is open and not known to be lost. With ``eager=False``, False before the first use."""
        if self._owner != os.getpid():
            return False
        return self.gateway is not None and bool(self.gateway.hasreceiver())

    def exit(self) -> None:
        """Close the connection; wait at most five seconds for its processes on this machine to end.

        Calling it again has no effect. If another thread is opening the connection, cancel that. In a child of ``fork()``,
        leave the parent's connection open.
        """
        self._closed = True
        if self._owner == os.getpid():
            uninterrupted(self._close)
        elif self.gateway is not None:
            gateways.close(self.gateway)

    def _close(self) -> None:
        """Close everything. :meth:`exit` calls this where no signal handler can interrupt it."""
        self._give_up_opening(self._connecting)
        if self.gateway is not None:
            gateways.close(self.gateway)

    def _give_up_opening(self, lock: threading.Lock) -> None:
        """Cancel openings in progress, and wait until the lock under which they run is free.

        The wait is limited: if a signal handler calls :meth:`exit`, the thread that it interrupted may hold the lock.
        """
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not lock.acquire(timeout=0.05):
            # repeated: an opening may have begun since the last round
            for opening in list(self._opening):
                opening.give_up()
            if time.monotonic() > deadline:
                return
        lock.release()

    # commands and functions

    def cmd(self, command: Any) -> Any:
        """Return the argv that runs a command on the remote side: the unchanged command, except in a container."""
        return command

    # the other members of remoto.commands.target.Target

    has_client = False

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`exit` was called."""
        return self._closed

    def where(self) -> str:
        """Return the host or container, for messages."""
        return self.hostname

    def prepare_command(self, request: Request) -> Request:
        return request

    def start_command(self, function: RemoteFunction, request: Request, timeout: float | None) -> Channel:
        """Send a command's request.

        :param timeout: seconds that sending may take.
        """
        channel: Channel = sending_within(timeout, self.execute, function, **request)
        return channel

    def client_failure(self, argv: Sequence[str], status: int | None, words: Sequence[str]) -> ConnectError | None:
        return None

    def execute(self, function: Any, **kw: Any) -> Any:
        """Start a function on the remote side; connect first if needed.

        :param function: source, a function whose first parameter is ``channel``, or a module, as for ``remote_exec`` of an
            execnet gateway.
        :param kw: the function's other arguments.
        :returns: execnet's channel.
        :raises ConnectionLost: the connection is closed or lost.
        """
        gateway = self._live_gateway()
        if isinstance(function, RemoteFunction):
            self.channel = channel = function.start(gateway, kw)
        else:
            self.channel = channel = gateway.remote_exec(function, **kw)
        return channel

    def _live_gateway(self) -> Any:
        if self.gateway is None:
            if (
                self._owner != os.getpid()
            ):  # a child of fork(): a lock that a thread of the parent held is never released
                self._connecting, self._opening, self._owner = threading.Lock(), set(), os.getpid()
            with self._connecting:
                if self.gateway is None and not self._closed:
                    self._connect()
        if not self.has_connection():
            raise self._is_closed()
        return self.gateway

    def _is_closed(self) -> ConnectionLost:
        gateways.wait_if_program_ends()
        what, stderr = "the connection is closed", ""
        if self._owner != os.getpid():
            what = "the connection was opened by another process, before a fork()"
        elif self.gateway is not None and not self._closed:
            what, stderr = "the connection has ended", gateways.lost(self.gateway, self.hostname, "").stderr
        return ConnectionLost(self.hostname, "nothing can be run", what, stderr)

    def import_module(
        self,
        module: Any,
        python_executable: str | None = None,
        *,
        include: ModuleType | Iterable[ModuleType] = (),
    ) -> ModuleExecute:
        """Return a stand-in for a module, whose functions run on the remote side.

        :param module: a module of functions. Its source is sent; the remote side need not have it.
        :param python_executable: the remote Python, for instance of a virtualenv; by default the connection's own.
        :param include: modules that it imports, to be sent along. A package, also ``module`` itself, is sent with all its
            parts.
        :returns: a :class:`LegacyModuleExecute` or :class:`JsonModuleExecute`; also kept as ``remote_module``.

        >>> import posixpath
        >>> with BaseConnection('localhost') as conn:
        ...     conn.import_module(posixpath).join('a', 'b')
        'a/b'
        """
        if self.remote_import_system not in ("legacy", "json"):
            raise ValueError(f"remote_import_system: neither 'legacy' nor 'json': {self.remote_import_system!r}")
        python_executable = interpreter.checked(python_executable)
        if self.remote_import_system == "json" or (python_executable and not self._has_python_inside):
            self.remote_module = JsonModuleExecute(self, module, self.logger, python_executable, include=include)
        else:
            gateway = self.inside(python_executable)
            self.remote_module = LegacyModuleExecute(gateway, module, self.logger, include=include)
        return self.remote_module

    # True where inside() starts a Python, as in a container, instead of returning the connection's own
    _has_python_inside = False

    def inside(self, python: str | None = None) -> Any:
        """Return the gateway whose Python runs where commands run; connect first if needed.

        :param python: the Python in a container; by default the one that :func:`get_python_executable` finds.
        :raises ConnectError: it could not be opened, for instance a StartError because a container has no Python.
        """
        return self._live_gateway()


def _checked_logger(logger: Any) -> Any:
    """Return the logger if it has a logger's methods, as have a LoggerAdapter and classes of programs."""
    if not all(callable(getattr(logger, level, None)) for level in ("debug", "info", "warning", "error")):
        raise TypeError(f"logger: expected a logger, not {type(logger).__name__}: {logger!r}")
    return logger


def _checked_env(env: Any) -> dict[str, str]:
    if not isinstance(env, Mapping):
        raise TypeError(f"env: expected a mapping of names to values, not {type(env).__name__}: {env!r}")
    checked = {_text(name): _text(value) for name, value in env.items()}
    for name, value in checked.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"env: not a variable that can be set: {name!r}")
    return checked


def _text(value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else str(value)


def _remote_uid(gateway: Any) -> int:
    io = io_of(gateway)
    if isinstance(io, ProcessIO) and io.far_uid is not None:
        return io.far_uid
    return int(gateway.remote_exec("import os; channel.send(os.getuid())").receive())


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
