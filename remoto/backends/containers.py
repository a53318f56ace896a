"""The base class of container backends: a client, such as docker or kubectl, runs each command in the container."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from ..commands.channel import raise_cause_of_sending
from ..commands.request import Argv
from ..exc import CommandError, ConnectError, ContainerError, StartError
from ..functions import interpreter
from ..gateways.outbox import sending_within
from ..gateways.remote_calls import CommandFunction, RemoteFunction, lost
from ..process import _original_check as check
from ..remote.wire import NO_SCRIPT
from ..util import checked_text
from . import ssh
from .base import BaseConnection
from .client_requests import for_client, inside_of
from .patchable import get_python_executable
from .sessions import Pythons, for_session

if TYPE_CHECKING:
    import execnet
    from typing_extensions import Unpack

    from ..commands.request import Request
    from ..commands.target import Channel
    from ..gateways.execnet_internals import ExecnetGateway
    from ..process import CheckResult
    from .options import ConnectionOptions

#: characters of an argument to show in an error
LONGEST_ARGUMENT = 200
#: the exit status of a shell for a missing program
NO_PROGRAM = 127

#: a pattern in a client's stderr, case-insensitive; the kind and the reason of the error
Symptom = tuple[str, str, str]
# those of several clients, and of containerd and runc, which run the containers of all engines
_SHARED_SYMPTOMS: tuple[Symptom, ...] = (
    (r"is paused|paused container|container state paused", "stopped", "the container is paused"),
    # the last two: it has just ended
    (r"is not running|namespace path: lstat /proc/\d+/ns/\w+: no such file"
     r"|cannot exec (in )?a (stopped container|container that has stopped)", "stopped", "the container is not running"),
    (r"unable to find user|no matching entries in passwd|unable to find group", "user",
     "no such user in the container"),
    (r"forbidden|unauthorized", "permission", "permission denied"),
    (r"no such host|i/o timeout", "unreachable", "cannot reach the engine or API server"),
    (r"context \S+ does not exist|context was not found|context not found", "client",
     "the client's configuration is not valid"),
    (r"chdir to cwd|current working directory", "other", "cannot change to the container's working directory"),
    (r"/bin/sh\W.*(executable file not found|no such file or directory|not found)", "shell",
     "no /bin/sh in the container"),
    (r"executable file .*not found|stat .*: no such file or directory", "interpreter",
     "no such program in the container"),
)  # fmt: skip


class ContainerConnection(BaseConnection):
    """The base class of container backends. A subclass defines :meth:`client` and :meth:`where`."""

    #: the client's name or path
    executable = ""
    remote_import_system = "json"
    connect_error: type[StartError] = ContainerError
    #: the client's own errors; the first match is used
    symptoms: tuple[Symptom, ...] = ()
    #: the arguments that name the container, for errors
    named_by = "the keyword arguments of remoto.backends.BaseConnection"
    has_client = True
    _has_python_inside = True

    def __init__(
        self,
        hostname: str | None = None,
        *,
        executable: str | None = None,
        persistent: bool | Literal["require"] = False,
        **kw: Unpack[ConnectionOptions],
    ) -> None:
        self.refuse_unknown(kw)
        if persistent not in (False, True, "require"):
            raise ValueError(f"persistent: expected True, False or 'require', not {persistent!r}")
        self.persistent = persistent
        self.executable = checked_text("executable", executable) or self.executable
        self._pythons = Pythons(self._open_python)
        super().__init__(hostname or "localhost", **kw)

    @classmethod
    def refuse_unknown(cls, keywords: Mapping[str, object]) -> None:
        """Refuse unknown keyword arguments.

        :raises TypeError: there is one; the text also has the keyword arguments that name the container.
        """
        known = _keywords(cls) if keywords else ()
        for name in keywords:
            if name not in known:
                raise TypeError(f"{cls.__name__}: unknown keyword argument {name!r}; expected {cls.named_by}")

    @classmethod
    def diagnosed(cls, stderr: str) -> tuple[str, str]:
        """Return the kind and reason of a client's failure from its stderr."""
        for pattern, kind, reason in (*cls.symptoms, *_SHARED_SYMPTOMS):
            if re.search(pattern, stderr, re.MULTILINE | re.IGNORECASE):
                return kind, reason
        return "other", "the client failed"

    def client(self) -> list[str]:
        """Return the client's argv up to the command in the container, such as ``docker exec -i web``."""
        raise NotImplementedError

    def where(self) -> str:
        """Return the container, for messages."""
        raise NotImplementedError

    def require_unreplaced(self, recently: bool = False, timeout: float | None = None) -> None:
        """Raise a ContainerError if another container of the same name is known to have replaced this one.

        :param recently: True if a recent check will do.
        :param timeout: the command's, if the check is for one.
        :raises TimedOut: it expired.
        """

    def command_template(self) -> list[str]:
        """Return the argv of a command without its last item, the command line for the container's shell."""
        return [*self.client(), "/bin/sh", "-c"]

    def cmd(self, command: Argv) -> list[str]:
        """Return the argv that runs a command in the container, as it is logged.

        :param command: a list of arguments, which reach the program unchanged, or a string: a command line for the
            container's /bin/sh.
        """
        line = command if isinstance(command, str) else shlex.join(map(str, command))
        return [*self.command_template(), line]

    def prepare_command(self, request: Request) -> Request:
        """Return the request to send: for the client, unless a session may serve it."""
        if not self.persistent:
            return for_client(request, self.client(), self.env)
        inside_of(request, self.env)  # refuse what the client would refuse
        return request

    def start_command(self, function: RemoteFunction, request: Request, timeout: float | None) -> Channel:
        gateway = self._session_gateway() if self.persistent else None
        if gateway is None:
            if self.persistent:
                request = for_client(request, self.client(), self.env)
            self.require_unreplaced(recently=True, timeout=timeout)
            return super().start_command(_in_container(function), request, timeout)
        try:
            channel: Channel = sending_within(timeout, function.start, gateway, for_session(request))
        except OSError as error:
            raise_cause_of_sending(error)
            raise lost(gateway, self.where(), "") from None
        self.channel = channel
        return channel

    def _session_gateway(self) -> ExecnetGateway | None:
        """Return the gateway of the session; None if it could not be opened, so that the client serves the call.

        Opening it takes at most ``connect_timeout``, like opening any connection on first use.

        :raises ConnectError: it could not be opened, and ``persistent`` is ``'require'``.
        """
        self._live_gateway()
        is_required = self.persistent == "require"
        if self._pythons.refusal is not None and not is_required:
            return None
        try:
            return self._pythons.gateway(None)
        except ConnectError as error:
            if is_required:
                raise
            self.logger.debug("%s: each command calls %s: %s", self.where(), self.executable, error.reason)
            return None

    def client_failure(
        self, argv: Sequence[str], status: int | None, stderr: Sequence[str], action: str = "connect to"
    ) -> ContainerError:
        """Return the error for a failed client, with its stderr.

        :param argv: the argv as it was logged.
        :param status: the client's exit status; None if it could not be started.
        :param action: the action that failed, see :class:`remoto.exc.ConnectError`.
        """
        text = "\n".join(stderr)
        if status is None:
            kind, reason, status = "client", f"cannot run {self.executable} on {self.hostname}", NO_PROGRAM
        elif status == NO_SCRIPT:
            kind, reason = "other", "the shell's stdin ended before the command was sent"
        else:
            kind, reason = self.diagnosed(text)
        shown = [text if len(text) <= LONGEST_ARGUMENT else text[:LONGEST_ARGUMENT] + "..." for text in argv]
        error = ContainerError(
            reason, host=self.where(), kind=kind, command=shown, exit_status=status, stderr=text, action=action
        )
        if self.via is not None:
            error.name_relay(self.via.where())
        return error

    def inside(self, python: str | None = None) -> ExecnetGateway:
        """Return a gateway whose Python runs in the container; open it on first use.

        :param python: the Python; by default the one that :func:`get_python_executable` finds.
        :raises ContainerError: it could not be opened, for instance because the container has no Python.
        """
        python = interpreter.checked(python)
        if self.gateway is None:
            self._live_gateway()
        if python is None and self.persistent:
            gateway = self._session_gateway()
            if gateway is not None:
                return gateway
        return self._pythons.gateway(python or get_python_executable(self))

    def _open_python(self, command: list[str], python: str | None, group: execnet.Group) -> ExecnetGateway:
        """Open a gateway to the Python that a command starts in the container, see :class:`Pythons`."""
        if self._closed:
            raise self._is_closed()
        try:
            gateway = self._open_client([*self.client(), *command], python or "python3", group)
        except ConnectError as error:
            if python is None:
                raise _session_failure(self, error) from None
            if error.exit_status is None or error.kind == "sudo":
                raise
            stderr = error.stderr.splitlines() or [error.reason]
            status = None if error.kind == "client" and not self._needs_ssh(self.hostname) else error.exit_status
            raise self.client_failure(error.command, status, stderr, "start Python in") from None
        # check only now, since it may have been replaced meanwhile
        self.require_unreplaced()
        return gateway

    def _open_client(self, client: list[str], python: str, group: execnet.Group) -> ExecnetGateway:
        """Open a gateway to the Python that a call of the client starts.

        :param python: the Python, for messages.
        """
        if self.sudo:
            client.insert(0, "sudo")
        argv = client
        if self._needs_ssh(self.hostname):
            target = f"{self.ssh_options} {self.hostname}" if self.ssh_options else self.hostname
            argv = ssh.ssh_command_argv(
                ssh.split_target(target, self.hostname), shlex.join(client), self._keepalive_here()
            )
        try:
            return self._start(argv, self.where(), python, self.env, group)
        except ConnectError:
            if self._closed:
                raise self._is_closed() from None
            raise

    def _gateway_env(self) -> Mapping[str, str]:
        # env is for the container, not for the client
        return {}

    def _gateways(self) -> list[execnet.Gateway]:
        return [*super()._gateways(), *self._pythons.gateways()]

    def _close(self) -> None:
        self._give_up_opening(self._pythons.lock)
        self._pythons.close()
        super()._close()


def _session_failure(conn: ContainerConnection, error: ConnectError) -> ContainerError:
    """Return the error for a session that could not be opened."""
    kind, reason, advice = error.kind, error.reason, error.advice
    if kind not in ("version", "sudo", "client"):
        advice = ""
        if interpreter.NOT_FOUND in error.stderr:
            kind, reason = "interpreter", interpreter.NOT_FOUND
            advice = "persistent=True instead of 'require' runs each command with the client."
        elif error.exit_status is None:
            kind = "timeout"
        else:
            kind, reason = conn.diagnosed(error.stderr)
    stderr = "\n".join(line for line in error.stderr.splitlines() if line != reason)
    failure = ContainerError(
        reason,
        host=conn.where(),
        kind=kind,
        command=error.command,
        exit_status=error.exit_status,
        stderr=stderr,
        advice=advice,
        action="keep a Python running in",
    )
    if error.via:
        failure.name_relay(error.via)
    return failure


def ask(
    conn: BaseConnection,
    kind: type[ContainerConnection],
    argv: Sequence[str],
    place: str,
    timeout: float | None,
    action: str,
) -> CheckResult[list[str]]:
    """Run a client for its own output, on the machine of a connection.

    :param kind: the client's class.
    :param place: what the client is asked about, for errors.
    :param action: see :class:`remoto.exc.ConnectError`.
    :raises ContainerError: the client failed.
    """

    def failure(kind: str, reason: str, status: int | None, stderr: str = "") -> ContainerError:
        return ContainerError(
            reason, host=place, kind=kind, command=argv, exit_status=status, stderr=stderr, action=action
        )

    try:
        result = check(conn, list(argv), timeout=timeout, kill_on_timeout=True)
    except CommandError as error:
        raise failure("client", error.reason or f"{argv[0]} can't be run", NO_PROGRAM) from None
    if result.timed_out:
        raise failure("timeout", f"no answer within {timeout:g} seconds", None)
    if result.returncode:
        stderr = "\n".join(result.stderr)
        raise failure(*kind.diagnosed(stderr), result.returncode, stderr)
    return result


def _in_container(function: RemoteFunction) -> RemoteFunction:
    """Return the function of ``remote/container.py`` for one of ``remote/command.py``."""
    return CommandFunction("container", function.name)


def _keywords(connection: type[ContainerConnection]) -> set[str]:
    """Return the names of the keyword arguments of a class and its bases."""
    makers = [vars(base)["__init__"] for base in connection.__mro__[:-1] if "__init__" in vars(base)]
    return {name for maker in makers for name in inspect.signature(maker).parameters} - {"self", "kw"}


def checked_name(what: str, name: str) -> str:
    """Return the name of a container or pod. Refuse names that a client could parse as an option.

    :param what: ``container`` or ``pod``, for errors.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a {what}: expected str, not {type(name).__name__}: {name!r}")
    if not name or name.startswith("-") or re.search(r"[\s\x00-\x1f\x7f]", name):
        raise ValueError(f"not the name of a {what}: {name!r}")
    return name
