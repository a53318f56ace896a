"""What docker, podman, kubectl and oc have in common: a client program that runs a command in a container.

A command goes through ``remote/container.sh``, which the container's /bin/sh runs: it sets the environment and the
directory there and reports how the command has ended, and so the client's own stderr is never taken for the command's.
The shell reads it from stdin: a list of processes, in the container or on the client's machine, has neither the
environment in it, nor the word that marks the end, nor the command a second time.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import shlex
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

from .. import remote
from ..commands.request import Argv, Request
from ..commands.target import Channel
from ..commands.wire import raise_cause_of_sending
from ..exc import ConnectError, ContainerError, StartError
from ..functions import interpreter
from ..gateways import bootstrap as gateways
from ..gateways.bootstrap import BOOT_COMMAND, RemoteFunction
from ..gateways.outbox import sending_within
from ..util import checked_text
from . import ssh
from .base import BaseConnection
from .patched import get_python_executable
from .sessions import NOT_FOUND, Session, for_session

if TYPE_CHECKING:
    import execnet
    from typing_extensions import Unpack

    from ..gateways.execnet_internals import ExecnetGateway
    from .options import ConnectionOptions

Pairs = Mapping[bytes, bytes]
#: the exit status of the container's shell where its stdin ended before the script did: nothing has run
NO_SCRIPT = 98
#: bytes of arguments and variables that the kernel may refuse: execve(2) has 128 KiB as the limit for one
LONG_ARGUMENTS = 100_000
#: characters of a word of the argv in an error
LONGEST_WORD = 200

# what the clients say, in any case of letters, and what it means; the first that fits counts
_SYMPTOMS = (
    (r"no such container|no container with name or id|pod does not exist", "container", "there is no such container"),
    (r"pods? \S+ not found", "container", "there is no such pod"),
    (r"namespaces? \S+ not found", "container", "there is no such namespace"),
    (r"container \S+ is not valid for pod", "container", "the pod has no such container"),
    (r"is paused|paused container|container state paused", "stopped", "it is paused"),
    (r"is not running|is restarting|can only create exec sessions on running containers|current phase is|completed pod"
     r"|container not (running|found)|container \S+ not found in pod|does not have a host assigned"
     # containerd and runc, of a container that has just ended
     r"|no running task found|failed to create exec \S+ task \S+ not found"
     r"|namespace path: lstat /proc/\d+/ns/\w+: no such file"
     r"|cannot exec (in )?a (stopped container|container that has stopped)", "stopped", "it is not running"),
    (r"unable to find user|no matching entries in passwd|unable to find group", "user", "there is no such user in it"),
    (r"permission denied while trying to connect|dial unix .* permission denied|forbidden|unauthorized",
     "permission", "this user may not"),
    (r"please enter username:|client to provide credentials|must be logged in", "permission",
     "the client has no credentials that the API server accepts"),
    # of the API server's certificate; behind "error dialing backend" it is a kubelet's
    (r"unable to connect to the server: .*x509: ", "client", "the client does not trust the API server's certificate"),
    (r"cannot connect to the docker daemon|failed to connect to the docker api"
     r"|cannot connect to podman|unable to connect to podman"
     r"|connection to the server .* refused|unable to connect to the server|no such host|i/o timeout"
     r"|error dialing backend"
     r"|was refused - did you specify the right host or port|rpc error: code = unavailable"
     # kubectl, of a server that has ended in the middle of a command
     r"|error reading from error stream|websocket: close 1006",
     "unreachable", "the engine or API server can't be reached"),
    (r"context \S+ does not exist|context was not found|context not found|no configuration has been provided|kubeconfig"
     r"|unable to resolve docker endpoint|^error: stat |unable to read client-",
     "client", "the client's configuration does not fit"),
    (r"chdir to cwd|current working directory", "other", "its working folder can't be entered"),
    (r"/bin/sh\W.*(executable file not found|no such file or directory|not found)", "shell", "it has no /bin/sh"),
    (r"executable file .*not found|stat .*: no such file or directory",
     "interpreter", "there is no such program in it"),
)  # fmt: skip

# The container's shell first reports its process group, and only then is sent the script, up to a line that is the same
# as the first; a shell's read takes no byte behind that line: the rest is the command's. A subshell reads, so that no
# variable is set, and a script that is cut off is not begun.
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


@functools.cache
def _script() -> bytes:
    lines = remote.text("container.sh").splitlines()
    return "\n".join(line.strip() for line in lines if not line.lstrip().startswith("#")).encode("ascii")


def diagnosed(said: str) -> tuple[str, str]:
    """Return the kind of a failure and its reason, from the client's stderr."""
    for pattern, kind, reason in _SYMPTOMS:
        if re.search(pattern, said, re.MULTILINE | re.IGNORECASE):
            return kind, reason
    return "other", "the client failed"


class ContainerConnection(BaseConnection):
    """The base of the container backends. Subclasses say how their client is called: :meth:`client`."""

    #: the client's name or path
    executable = ""
    remote_import_system = "json"
    connect_error: type[StartError] = ContainerError
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
        self._session = Session(self._open_python) if persistent else None
        self.executable = checked_text("executable", executable) or self.executable
        self._inside: dict[str, ExecnetGateway] = {}
        self._opening_inside = threading.Lock()
        super().__init__(hostname or "localhost", **kw)

    @classmethod
    def refuse_unknown(cls, keywords: Mapping[str, object]) -> None:
        """Refuse keyword arguments that connections of this class do not have.

        :raises TypeError: names the first one, and the keyword arguments that name the container.
        """
        known = _keywords(cls) if keywords else ()
        for name in keywords:
            if name not in known:
                raise TypeError(f"{cls.__name__}: unknown keyword argument {name!r}; expected {cls.named_by}")

    def client(self) -> list[str]:
        """Return the client's argv up to the container's own command, such as ``docker exec -i web``."""
        raise NotImplementedError

    def where(self) -> str:
        """Return the container, for messages."""
        raise NotImplementedError

    def command_template(self) -> list[str]:
        """Return the argv to which a line for the container's shell is appended."""
        return [*self.client(), "/bin/sh", "-c"]

    def cmd(self, command: Argv) -> list[str]:
        """Return the argv that runs a command in the container, as it is logged.

        :param command: a list, of which each element stays one argument, or a string: a line for the container's
            /bin/sh.
        """
        line = command if isinstance(command, str) else shlex.join(str(word) for word in command)
        return [*self.command_template(), line]

    def prepare_command(self, request: Request) -> Request:
        """Return the request to send: one for the client, unless a session may serve it."""
        if self._session is None:
            return self._for_client(request)
        self._parts(request)  # refuse what the client would refuse
        return request

    def start_command(self, function: RemoteFunction, request: Request, timeout: float | None) -> Channel:
        if self._session is None:
            return super().start_command(function, request, timeout)
        gateway = self._session_gateway(self._session)
        if gateway is None:
            return super().start_command(function, self._for_client(request), timeout)
        try:
            channel: Channel = sending_within(timeout, function.start, gateway, for_session(request))
        except OSError as error:
            raise_cause_of_sending(error)
            raise gateways.lost(gateway, self.where(), "") from None
        self.channel = channel
        return channel

    def _session_gateway(self, session: Session) -> ExecnetGateway | None:
        """Return the gateway of the session; None if the container has none, so that the client serves this call.

        Opening it takes ``connect_timeout`` at most, as opening any connection on first use.

        :raises ConnectError: ``persistent='require'``, and it could not be opened.
        """
        self._live_gateway()
        is_required = self.persistent == "require"
        if session.refusal is not None and not is_required:
            return None
        try:
            return session.gateway(BOOT_COMMAND)
        except ConnectError as error:
            if is_required:
                raise
            self.logger.debug("%s: each command calls %s: %s", self.where(), self.executable, error.reason)
            return None

    def _open_python(self, command: Sequence[str], group: execnet.Group) -> ExecnetGateway:
        """Open a gateway to the Python that a command starts in the container, for a session."""
        if self._closed:
            raise self._is_closed()
        try:
            return self._open_client([*self.client(), *command], "python3", group)
        except ConnectError as error:
            kind, reason = self._why_no_session(error)
            raise ContainerError(
                reason,
                host=self.where(),
                kind=kind,
                command=error.command,
                exit_status=error.exit_status,
                stderr=error.stderr,
                action="keep a Python running in",
            ) from None

    def _why_no_session(self, error: ConnectError) -> tuple[str, str]:
        """Return the kind and the reason of a failure to start Python by the client."""
        if error.kind in ("version", "sudo", "client"):
            return error.kind, error.reason
        if NOT_FOUND in error.stderr:
            return "interpreter", NOT_FOUND
        if error.exit_status is None:
            return "timeout", error.reason
        failure = self.client_failure(error.command, error.exit_status, error.stderr.splitlines())
        return failure.kind, failure.reason

    def _parts(self, request: Request) -> tuple[bytes, bool, dict[bytes, bytes]]:
        """Return the directory of a request, whether it is for a shell, and its variables: the container's part.

        :raises TypeError, ValueError: a keyword, or the name of a variable, is not supported in containers.
        """
        popen = dict(request["popen"])
        directory = cast("bytes", popen.pop("cwd", b""))
        shell = popen.pop("shell", False)
        if popen:
            raise TypeError(f"{', '.join(popen)}: not supported in containers")
        variables: dict[bytes, bytes] = {}
        if request["env"] is None:
            variables.update((_encoded(name), _encoded(value)) for name, value in self.env.items())
        for more in (request["env"], request["extend_env"]):
            variables.update(more or {})
        _assignments(variables)
        return directory, bool(shell or isinstance(request["args"], bytes)), variables

    def _for_client(self, request: Request) -> Request:
        """Return a request as a call of the client: environment and directory belong into the container."""
        args = request["args"]
        directory, is_line, variables = self._parts(request)
        form = b"line" if is_line else b"program"
        mark = f"remoto-{os.urandom(8).hex()}".encode("ascii")
        client = list(map(_encoded, self.client()))
        command = [args] if isinstance(args, bytes) else args
        assignments = _assignments(variables)
        refused = b"one of the environment variables " + b", ".join(variables)
        long = sum(map(len, [*assignments, *command])) >= LONG_ARGUMENTS
        words = [
            *(b"extend" if request["env"] is None else b"replace", *assignments, b"--"),
            *(mark, b"" if request["stdin"] is None else b"stdin", form, b"long" if long else b"", directory),
            *command,
        ]
        return {
            **request,
            "args": [*client, b"/bin/sh", b"-c", _READER.encode("ascii")],
            "stdin": request["stdin"] or b"",
            "env": None,
            "extend_env": None,
            "popen": {},
            "container": {
                "mark": mark,
                "script": b"\n".join([mark, b"set -- " + b" ".join(map(_quoted, words)), _script(), mark, b""]),
                "names": {
                    "program": b"/bin/sh" if form == b"line" else command[0],
                    "cwd": directory,
                    "variable": refused,
                },
                "client": client,
            },
        }

    def client_failure(
        self, argv: Sequence[str], status: int | None, words: Sequence[str], action: str = "connect to"
    ) -> ContainerError:
        """Return the error for a client that failed, with its stderr.

        :param argv: what was tried, as it was logged.
        :param status: the client's exit status; None if it could not be started.
        :param action: what failed, see :class:`remoto.exc.ConnectError`.
        """
        said = "\n".join(words)
        if status is None:
            kind, reason, status = "client", f"{self.executable} can't be run on {self.hostname}", 127
        elif status == NO_SCRIPT:
            kind, reason = "other", "its shell's stdin ended before the command had been sent"
        else:
            kind, reason = diagnosed(said)
        shown = [word if len(word) <= LONGEST_WORD else word[:LONGEST_WORD] + "..." for word in argv]
        error = ContainerError(
            reason, host=self.where(), kind=kind, command=shown, exit_status=status, stderr=said, action=action
        )
        if self.via is not None:
            error.name_relay(self.via.where())
        return error

    def inside(self, python: str | None = None) -> ExecnetGateway:
        """Return a gateway whose Python runs in the container, opened on first use.

        :param python: that Python; by default the one that :func:`get_python_executable` finds.
        :raises ContainerError: it could not be opened, for instance because the container has no Python.
        """
        python = interpreter.checked(python)
        if self.gateway is None:
            self._live_gateway()
        if python is None and self._session is not None:
            gateway = self._session_gateway(self._session)
            if gateway is not None:
                return gateway
        executable = python or get_python_executable(self)
        with self._opening_inside:
            if self._closed:
                raise self._is_closed()
            gateway = self._inside.get(executable)
            if gateway is None or not gateway.hasreceiver():
                if gateway is not None:
                    gateways.close(gateway)
                group = gateways.new_group()
                try:
                    gateway = self._inside[executable] = self._open_inside(executable, group)
                except BaseException:
                    # an interrupt, perhaps right behind the opening
                    gateways.close_group(group)
                    raise
            return gateway

    def _open_inside(self, python: str, group: execnet.Group) -> ExecnetGateway:
        try:
            return self._open_client([*self.client(), python, "-c", BOOT_COMMAND], python, group)
        except ConnectError as error:
            if error.exit_status is None or error.kind == "sudo":
                raise
            words = error.stderr.splitlines() or [error.reason]
            status = None if error.kind == "client" and not self._needs_ssh(self.hostname) else error.exit_status
            raise self.client_failure(error.command, status, words, "start Python in") from None

    def _open_client(self, client: list[str], python: str, group: execnet.Group) -> ExecnetGateway:
        """Open a gateway to the Python that a call of the client starts.

        :param python: for messages.
        """
        if self.sudo:
            client.insert(0, "sudo")
        argv = client
        if self._needs_ssh(self.hostname):
            target = f"{self.ssh_options} {self.hostname}" if self.ssh_options else self.hostname
            words = ssh.split_target(target, self.hostname)
            argv = ssh.ssh_command_argv(words, shlex.join(client), self._keepalive_here())
        try:
            return self._start(argv, self.where(), python, self.env, group)
        except ConnectError:
            if self._closed:
                raise self._is_closed() from None
            raise

    def _gateway_env(self) -> Mapping[str, str]:
        # theirs is the container's, not the client's
        return {}

    def _close(self) -> None:
        self._give_up_opening(self._opening_inside)
        inside, self._inside = self._inside, {}
        for gateway in inside.values():
            gateways.close(gateway)
        if self._session is not None:
            self._give_up_opening(self._session.lock)
            self._session.close()
        super()._close()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _quoted(word: bytes) -> bytes:
    """As shlex.quote, which takes text only.

    :raises ValueError: it has a NUL, which a shell drops.
    """
    if b"\0" in word:
        raise ValueError(f"embedded null byte: {word!r:.200}")
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


def _assignments(variables: Pairs) -> list[bytes]:
    for name in variables:
        if not re.fullmatch(rb"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name.decode('utf-8', 'backslashreplace')}: a shell can't set a variable of that name")
    return [name + b"=" + value for name, value in variables.items()]


def _keywords(connection: type[ContainerConnection]) -> set[str]:
    """Return the names of the arguments of a class and of its bases."""
    makers = [vars(base)["__init__"] for base in connection.__mro__[:-1] if "__init__" in vars(base)]
    return {name for maker in makers for name in inspect.signature(maker).parameters} - {"self", "kw"}


def checked_name(what: str, name: str) -> str:
    """Return a container's or pod's name, which no client takes for an option."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a {what}: expected str, not {type(name).__name__}: {name!r}")
    if not name or name.startswith("-") or re.search(r"[\s\x00-\x1f\x7f]", name):
        raise ValueError(f"not the name of a {what}: {name!r}")
    return name
