"""Open, diagnose and close execnet gateways.

A gateway here is execnet's own ``Gateway`` over the pipes of a process that remoto starts: ssh, a Python on this machine, a
container's client. remoto starts it itself because execnet shows neither what that process said when it failed, nor lets
anybody put a bound on the wait for it.
"""

from __future__ import annotations

import atexit
import base64
import functools
import inspect
import itertools
import logging
import os
import re
import secrets
import select
import shlex
import signal
import subprocess
import threading
import time
import zlib
from collections import deque
from typing import Any, Mapping, NamedTuple, Sequence

import execnet
from execnet import gateway_base

from . import remote
from .exc import ConnectError, ConnectionLost, InvalidHostname

#: seconds
CONNECT_TIMEOUT = 60.0
#: seconds between ssh's probes of a silent peer; ssh gives up after three of them (ssh_config(5), ServerAliveCountMax)
KEEPALIVE = 20
#: how long ``close`` waits for the far side to end, seconds
CLOSE_TIMEOUT = 5.0

FAR_LINE = "import sys;exec(eval(sys.stdin.readline()))"
FAR_MODULES = ("command",)
STDERR_KEPT = 200  # lines


# what is started -------------------------------------------------------------------------------------------------


def split_hostname(hostname: str) -> list[str]:
    """The words of a hostname as ssh takes them: one word, or the three of ``-F FILE HOST``.

    :raises InvalidHostname: for anything that ssh, or a shell in its configuration, could take for something else.

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

    try:
        words = shlex.split(hostname)
    except ValueError as error:
        raise refuse(f"not a hostname: {error}") from None
    if len(words) == 3 and words[0] == "-F" and not words[1].startswith("-"):
        host = words[2]
    elif words == [hostname]:
        host = hostname
    else:
        raise refuse("not a hostname")
    user, _, name = host.rpartition("@")
    # the characters that OpenSSH refuses as well (ssh.c: valid_hostname, valid_ruser), since they reach a shell in ProxyCommand
    if host.startswith("-") or name.startswith("-") or not name:
        raise refuse("a hostname can't begin with a dash or be empty")
    if re.search(r"[\s'`\"$\\;&<>|(){},\x00-\x1f\x7f]", name) or re.search(r"[\s'`\";&<>|(){}\x00-\x1f\x7f]", user):
        raise refuse("a hostname can't hold blanks or characters that are special to a shell")
    return words


def ssh_argv(words: Sequence[str], interpreter: str, keepalive: float | None = KEEPALIVE) -> list[str]:
    """The ssh command that starts Python on another machine.

    :param words: ssh's options and the host, which is the last word.
    :param interpreter: a command for the far user's shell, such as ``python3`` or ``sudo python3``.
    :param keepalive: seconds between probes of a silent peer, 0 or None for none. What ssh's own configuration or the
        options say wins.
    """
    return ssh_command_argv(words, f'{interpreter} -c "{FAR_LINE}"', keepalive)


def ssh_command_argv(words: Sequence[str], command: str, keepalive: float | None = KEEPALIVE) -> list[str]:
    """As :func:`ssh_argv`, for any command: a line for the far user's shell."""
    *options, host = words
    if keepalive and _configured_keepalive(words) == 0:
        options += ["-o", f"ServerAliveInterval={max(1, round(keepalive))}"]
    return ["ssh", "-T", *options, host, command]


def popen_argv(interpreter: str) -> list[str]:
    """The command that starts Python on this machine."""
    return [*shlex.split(interpreter), "-c", FAR_LINE]


def _configured_keepalive(words: Sequence[str]) -> int | None:
    """ServerAliveInterval as ssh's configuration has it; ssh(1), -G, tells without connecting. None where it does not tell."""
    try:
        answer = subprocess.run(
            ["ssh", "-G", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None  # the real ssh is about to say why
    found = re.search(rb"^serveraliveinterval (\d+)$", answer, re.MULTILINE)
    return int(found.group(1)) if found else None


# the pipes -------------------------------------------------------------------------------------------------------


class ProcessIO:
    """execnet's IO over the pipes of a process. Its stderr is read all the time: first for the diagnosis, then for the log."""

    def __init__(self, argv: Sequence[str], host: str, logger: logging.Logger) -> None:
        self.argv = list(argv)
        self.remoteaddress = host
        self.execmodel = gateway_base.get_execmodel("thread")
        self.far_uid: int | None = None
        self._unsent: deque[memoryview] = deque()
        self._lock = threading.Lock()
        self._writer: int | None = None
        self.deadline: float | None = None
        # at a terminal it stays in this program's process group: ssh and sudo may have to ask for a password there
        self._own_session = not _has_terminal()
        self.popen = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=256 * 1024,
            start_new_session=self._own_session,
        )
        assert self.popen.stdin and self.popen.stdout and self.popen.stderr
        self.infile, self.outfile = self.popen.stdout, self.popen.stdin
        self._out_fd = self.outfile.fileno()
        os.set_blocking(self._out_fd, False)
        self.stderr = StderrReader(self.popen.stderr, logger)

    # execnet calls these

    def read(self, size: int) -> bytes:
        data = self.infile.read(size)
        if len(data) < size:
            raise EOFError(f"expected {size} bytes, got {len(data)}")
        return data

    def write(self, data: bytes) -> None:
        """Send all of it, whole, in the order of the calls.

        A garbage collection can close a channel, and so call this, in the middle of a call of this in the same thread:
        what it sends then waits for its turn.
        """
        self._unsent.append(memoryview(data))
        while self._unsent and self._writer != threading.get_ident():
            if not self._lock.acquire(timeout=self._patience()):
                raise OSError(f"{self.remoteaddress} does not take what is sent")
            try:
                self._writer = threading.get_ident()
                while self._unsent:
                    self._send(self._unsent.popleft())
            finally:
                self._writer = None
                self._lock.release()

    def _send(self, view: memoryview) -> None:
        if self.outfile.closed:
            raise OSError(f"the connection to {self.remoteaddress} is closed")
        try:
            while view:
                try:
                    view = view[os.write(self._out_fd, view) :]
                except BlockingIOError:
                    poller = select.poll()
                    poller.register(self._out_fd, select.POLLOUT)
                    patience = self._patience()
                    if not poller.poll(None if patience < 0 else patience * 1000):
                        raise OSError(f"{self.remoteaddress} does not take what is sent") from None
        except KeyboardInterrupt:
            # half a message would make nonsense of all that follow
            self._unsent.appendleft(view)
            raise

    def _patience(self) -> float:
        """Seconds until the deadline; -1 for no bound: ssh's keepalive ends a peer that is gone."""
        return -1 if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def close_read(self) -> None:
        self.infile.close()

    def close_write(self) -> None:
        if not self._lock.acquire(timeout=CLOSE_TIMEOUT if self.deadline is None else self._patience()):
            self.kill()  # somebody is stuck in a write: this ends it
            self._lock.acquire()
        try:
            self.outfile.close()
        finally:
            self._lock.release()

    def wait(self) -> int:
        return self.popen.wait()

    def kill(self) -> None:
        """End the process at once, and its own children where it has a session to itself: ssh's ProxyCommand is one."""
        if self._own_session:
            try:
                os.killpg(self.popen.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        else:
            self.popen.kill()

    # remoto calls these

    def shake_hands(self, payload: bytes, marker: bytes, timeout: float | None) -> bytes:
        """Send the first line and read until the far Python says it is there.

        :returns: what the far shell's start-up files printed before.
        :raises EOFError: the process ended first.
        :raises TimeoutError: the seconds are over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        poller = select.poll()
        poller.register(self.infile, select.POLLIN)
        poller.register(self._out_fd, select.POLLOUT)
        received, unsent = b"", memoryview(payload)
        ready_line = re.compile(re.escape(marker) + rb" (-?\d+)\n$")
        while True:
            patience = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = poller.poll(patience)
            if not ready:
                raise TimeoutError(timeout)
            for fd, _ in ready:
                if fd == self._out_fd:
                    try:
                        unsent = unsent[os.write(fd, unsent) :]
                    except BlockingIOError:
                        pass
                    except BrokenPipeError:
                        unsent = unsent[:0]  # the reason is in what can be read
                    if not unsent:
                        poller.unregister(fd)
                else:
                    data = os.read(fd, 65536)
                    if not data:
                        raise EOFError
                    received += data
                    found = ready_line.search(received)
                    if found:
                        self.far_uid = int(found.group(1))
                        return received[: found.start()]

    def end(self, timeout: float) -> int | None:
        """Wait for the process, then make it end, and let its last words be read. None where it had to be made."""
        deadline = time.monotonic() + timeout
        status: int | None
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
            self.kill()
            self.popen.wait()
        self.stderr.stop(max(1.0, deadline - time.monotonic()))
        return status

    def give_up(self, timeout: float) -> int | None:
        """As :meth:`end`, where no gateway has come about that would close the pipes."""
        status = self.end(timeout)
        self.close_read()
        self.close_write()
        return status

    def last_words(self) -> str:
        """What the process said on stderr, once it has ended by itself or a second has passed."""
        try:
            self.popen.wait(1.0)
        except subprocess.TimeoutExpired:
            pass
        self.stderr.settle(1.0)
        return self.stderr.text()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


class StderrReader:
    """Reads a process's stderr in a thread of its own. A background ssh master may hold it open for ever, so its end isn't
    waited for."""

    def __init__(self, pipe: Any, logger: logging.Logger) -> None:
        self._pipe = pipe
        self._logger = logger
        self._level = logging.DEBUG
        self._lines: deque[str] = deque(maxlen=STDERR_KEPT)
        self._rest = b""
        self._lock = threading.Lock()
        self._drained = threading.Event()
        self._wake_reader, wake_writer = os.pipe()
        self._wake_writer: int | None = wake_writer
        os.set_blocking(pipe.fileno(), False)
        self._thread = threading.Thread(target=self._read, name="remoto-stderr", daemon=True)
        self._thread.start()

    def connected(self) -> None:
        """From here on nobody makes a diagnosis of it: what comes is logged as it comes."""
        with self._lock:
            for line in self._lines:
                self._logger.debug(line)
            self._lines.clear()
            self._level = logging.WARNING

    def text(self) -> str:
        return "\n".join(self._lines)

    def settle(self, timeout: float) -> None:
        """Wait until all has been read; the process has ended."""
        self._drained.wait(timeout)

    def stop(self, timeout: float) -> None:
        """The process has ended: read what is there, end the thread, close. Twice is fine."""
        with self._lock:
            if self._wake_writer is not None:
                os.close(self._wake_writer)
                self._wake_writer = None
        self._thread.join(timeout)

    def _read(self) -> None:
        poller = select.poll()
        poller.register(self._pipe, select.POLLIN)
        poller.register(self._wake_reader, select.POLLIN)
        stopping = False
        try:
            while not stopping:
                stopping = any(fd == self._wake_reader for fd, _ in poller.poll())
                if not self._take():
                    poller.unregister(self._pipe)
                    self._drained.set()
                    while not stopping:
                        stopping = bool(poller.poll())
        finally:
            self._keep(self._rest)
            self._drained.set()
            self._pipe.close()
            os.close(self._wake_reader)

    def _take(self) -> bool:
        """Read what is there; False at the end of it all."""
        while True:
            try:
                data = os.read(self._pipe.fileno(), 65536)
            except BlockingIOError:
                return True
            if not data:
                self._keep(self._rest)
                self._rest = b""
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._keep(line)

    def _keep(self, line: bytes) -> None:
        text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
        if not text:
            return
        with self._lock:
            self._lines.append(text)
            if self._level == logging.WARNING:
                self._logger.warning(text)


# the gateway -----------------------------------------------------------------------------------------------------

_open_gateways: set[execnet.Gateway] = set()
_worker_numbers = itertools.count()


@functools.lru_cache(maxsize=None)
def _packed(name: str | None) -> str:
    """The text of one of the far side's modules, or of execnet's own for None, packed for the first line."""
    text = inspect.getsource(gateway_base) if name is None else remote.source(name)
    return base64.b64encode(zlib.compress(text.encode("utf-8"))).decode("ascii")


def _first_line(variables: Mapping[str, str], marker: str, worker: str) -> bytes:
    arguments = (
        _packed(None),
        execnet.__version__,
        {name: _packed(name) for name in FAR_MODULES},
        [(str(name), str(value)) for name, value in variables.items()],
        marker,
        worker,
    )
    # ascii() and unicode_literals: the same text on every Python and in every locale
    source = "from __future__ import unicode_literals\n" + remote.source("boot") + "\nboot(*%s)\n" % ascii(arguments)
    return (ascii(source) + "\n").encode("ascii")


def open_gateway(
    argv: Sequence[str],
    *,
    host: str,
    interpreter: str,
    logger: logging.Logger,
    timeout: float | None = CONNECT_TIMEOUT,
    env: Mapping[str, str] | None = None,
    group: execnet.Group | None = None,
) -> execnet.Gateway:
    """Start ``argv``, which is to run Python with :data:`FAR_LINE`, and make a gateway of it.

    :param host: for messages.
    :param interpreter: for messages.
    :param logger: gets what the process writes to stderr while the gateway lives, at WARNING.
    :param timeout: seconds until the far Python must have answered; None for no bound.
    :param env: variables for the far Python and all that it starts.
    :param group: where execnet is to list it; a new one by default.
    :raises ConnectError: it could not be opened; nothing is left of it.
    """
    worker = f"remoto{next(_worker_numbers)}"
    marker = f"remoto-ready-{secrets.token_hex(8)}"
    try:
        io = ProcessIO(argv, host, logger)
    except OSError as error:
        raise _not_started(argv, host, interpreter, error) from error
    try:
        noise = io.shake_hands(_first_line(env or {}, marker, worker), marker.encode("ascii"), timeout)
    except (EOFError, TimeoutError) as error:
        # ssh that has closed its output is about to say why; one that says nothing has nothing to say
        status = io.give_up(timeout=0 if isinstance(error, TimeoutError) else 2.0)
        raise _diagnosis(io, host, interpreter, status, timeout if isinstance(error, TimeoutError) else None) from None
    except BaseException:
        io.give_up(timeout=0)
        raise
    io.stderr.connected()
    for line in noise.decode("utf-8", "backslashreplace").splitlines():
        logger.debug("%s printed before Python started: %s", host, line)
    spec = execnet.XSpec(f"popen//id={worker}")
    gateway = execnet.Gateway(io, spec)
    _register(gateway, group or new_group())
    return gateway


def new_group() -> execnet.Group:
    """An execnet group that leaves no handler for the interpreter's end behind: remoto has one for all its gateways."""
    group = execnet.Group()
    atexit.unregister(group._cleanup_atexit)
    return group


def open_spec(text: str, group: execnet.Group) -> execnet.Gateway:
    """Open what one of execnet's own specifications names, by execnet alone."""
    gateway = group.makegateway(text)
    _open_gateways.add(gateway)
    return gateway


def _register(gateway: execnet.Gateway, group: execnet.Group) -> None:
    group._register(gateway)
    _open_gateways.add(gateway)


def close(gateway: Any, timeout: float = CLOSE_TIMEOUT) -> None:
    """End a gateway and all that belongs to it here. What does not end within ``timeout`` seconds is killed. Twice is fine."""
    _open_gateways.discard(gateway)
    io = getattr(gateway, "_io", None)
    if not isinstance(io, ProcessIO):
        _close_foreign(gateway, timeout)
        return
    io.deadline = time.monotonic() + timeout
    gateway.exit()
    gateway._group._gateways_to_join.clear()
    gateway.join(timeout)
    io.end(max(0.0, io.deadline - time.monotonic()))
    gateway.join(timeout)


def _close_foreign(gateway: Any, timeout: float) -> None:
    gateway.exit()
    if isinstance(gateway, execnet.Gateway):
        # execnet ends what its group has been asked to end
        gateway._group.terminate(timeout)


# a child of fork() must not end what its parent goes on using
os.register_at_fork(after_in_child=_open_gateways.clear)


@atexit.register
def _close_all() -> None:
    """Programs that never call exit() leave no ssh behind."""
    gateways = list(_open_gateways)
    for gateway in gateways:
        gateway.exit()
    for gateway in gateways:
        close(gateway, timeout=1.0)


class RemoteFunction(NamedTuple):
    """A function of ``remoto/remote/``. As :meth:`start` sends it, a call is one small message: execnet's own
    ``remote_exec`` would read and parse the source for each call, and the far side would compile it each time."""

    module: str
    name: str

    def start(self, gateway: Any, request: Mapping[str, Any]) -> Any:
        """Call it on the far side; execnet's channel."""
        arguments = {"module": self.module, "function": self.name, "request": dict(request)}
        if isinstance(getattr(gateway, "_io", None), ProcessIO):
            source = "from __main__ import call\n"
        else:
            # a gateway that somebody else opened has none of remoto's modules: the text goes along
            source = "from __future__ import unicode_literals\n" + remote.source("boot")
            source += "\nSOURCES[%r] = unpack(%r)\n" % (self.module, _packed(self.module))
        if not isinstance(gateway, execnet.Gateway):
            return gateway.remote_exec(source, **arguments)
        channel = gateway.newchannel()
        task = gateway_base.dumps_internal((source, None, "call", arguments))
        gateway._send(gateway_base.Message.CHANNEL_EXEC, channel.id, task)
        return channel


def lost(gateway: Any, host: str, command: str) -> ConnectionLost:
    """The error for a command whose connection is gone; waits a second for the reason."""
    io = getattr(gateway, "_io", None)
    words = ""
    if isinstance(io, ProcessIO):
        words = io.last_words()
    if isinstance(gateway, execnet.Gateway):
        # so that has_connection() says no from here on
        gateway.join(CLOSE_TIMEOUT)
    return ConnectionLost(host, command, "the connection ended before the command did", words)


# the diagnosis ---------------------------------------------------------------------------------------------------

# what ssh, sudo and the shells say, what that means, and what to do; the first that fits counts
_SYMPTOMS = (
    (r"remoto: Python (?P<found>\S+) cannot run execnet", "version", "", ""),
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
        r"sudo: .*(password is required|terminal is required|no tty present|must have a tty)",
        "sudo",
        "sudo wants a password there",
        "Allow that user NOPASSWD in sudoers, or connect as root.",
    ),
    (r"is not in the sudoers file|may not run sudo|is not allowed to (execute|run sudo)", "sudo",
     "sudo is not allowed to that user there", "Add the user to sudoers, or connect as root."),
    (r"(^|[\s:])sudo: (command )?not found|'sudo'", "sudo", "sudo is not installed there", "Install sudo, or connect as root."),
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


def _diagnosis(io: ProcessIO, host: str, interpreter: str, status: int | None, timeout: float | None) -> ConnectError:
    stderr = io.stderr.text()

    def error(kind: str, reason: str, advice: str) -> ConnectError:
        return ConnectError(
            reason, host=host, kind=kind, command=_printable(io.argv), exit_status=status, stderr=stderr, advice=advice
        )

    if timeout is not None:
        return error(
            "timeout", f"no answer within {timeout:g} seconds", "connect_timeout= sets how many seconds are waited for."
        )
    for pattern, kind, reason, advice in _SYMPTOMS:
        found = re.search(pattern, stderr, re.MULTILINE)
        if found and kind == "version":
            reason = f"{interpreter} there is Python {found.group('found')}, and {_needed_python()} is needed"
            advice = "interpreter= names another one there; execnet 1.9 here starts Python 2.7 and 3.5 as well."
        if found:
            return error(kind, reason, advice)
    if status in (126, 127) or re.search(r"sudo: .*: command not found", stderr):
        return error("interpreter", f"{interpreter} can't be run there", "interpreter= names another one.")
    return error("other", "it ended before Python had started there", "")


def _not_started(argv: Sequence[str], host: str, interpreter: str, error: OSError) -> ConnectError:
    """The error for a program that is not on this machine."""
    if argv[0] in ("ssh", "docker", "podman", "kubectl", "oc"):
        kind, reason, advice = "client", f"{argv[0]} can't be run here: {error.strerror}", f"Install {argv[0]}; it is looked for on PATH."
    elif argv[0] == "sudo":
        kind, reason, advice = "sudo", f"sudo can't be run here: {error.strerror}", "Install sudo, or run this program as root."
    else:
        kind, reason = "interpreter", f"{interpreter} can't be run here: {error.strerror}"
        advice = "interpreter= names another one."
    return ConnectError(reason, host=host, kind=kind, command=_printable(argv), exit_status=127, advice=advice)


def _printable(argv: Sequence[str]) -> list[str]:
    """Without the line that only Python reads."""
    return [word.replace(FAR_LINE, "...") for word in argv]


def _needed_python() -> str:
    from importlib import metadata

    needed = metadata.metadata("execnet").get("Requires-Python") or "a newer one"
    return f"{needed} (by execnet {execnet.__version__} here)"
