"""A real sshd on a free port, with aliases for hosts that work and for hosts that fail."""

import contextlib
import grp
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .guard import guarded
from .link import Link
from .lock import alone

RELAY = Path(__file__).with_name("relay.py")
#: seconds
START_TIMEOUT = 30
#: to find a free port
ATTEMPTS = 5
FLEET = [f"node{number}" for number in range(64)]
PLAIN_USER, NOSUDO_USER = "remoto-admin", "remoto-nosudo"


class Unavailable(Exception):
    """The server is not available on this machine."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Sshd:
    """An sshd, as a context manager. Connect by ``port`` or ``config`` (for ``ssh -F``). ``directory`` has its files.

    Aliases: ``node0`` to ``node63``; ``wrongkey``, ``refused``, ``changed``, ``unresolvable``, ``stall`` fail to
    connect; ``slow`` has a round trip of 100 ms and counts bytes in ``slow_link``; ``dropping`` fails for good
    after :meth:`drop`, ``silent`` discards all data after :meth:`silence`; ``patient`` and ``batch`` have those
    settings; ``noisy`` prints a line before any command; ``unprivileged`` and ``nosudo`` log in as other users.

    :param settings: additional lines of sshd_config, which come first and so take precedence.
    """

    def __init__(self, settings=""):
        self._settings = settings

    def __enter__(self):
        self._program = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if not self._program or not shutil.which("ssh") or not shutil.which("ssh-keygen"):
            raise Unavailable("sshd, ssh or ssh-keygen is not installed")
        self.directory = Path(tempfile.mkdtemp(prefix="remoto-sshd-"))
        self.directory.chmod(0o755)
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(guarded(self.directory, 'kill "$(cat "$0/pid")"'))
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def config(self):
        return self.directory / "config"

    @property
    def wrapper_directory(self):
        """A directory to put first on PATH: its ssh knows the aliases."""
        return self.directory / "bin"

    def _start(self):
        for name in ("host", "other_host", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / name], check=True)
        shutil.copy(self.directory / "user.pub", self.directory / "authorized_keys")
        (self.directory / "authorized_keys").chmod(0o644)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self._log = self.directory / "log"
        self._sshd = None
        self._stack.callback(self._stop)
        for _ in range(ATTEMPTS):
            self.port = free_port()
            if self._listens():
                break
        else:
            raise RuntimeError(f"sshd did not start: {self._log.read_text()}")
        self.slow_link = self._stack.enter_context(Link(self.port, delay=0.05))
        self._write_client_config()

    def _listens(self):
        """Start sshd. Return False if it exited: another program may have taken the port in the meantime."""
        # the wrapper of ssh is on PATH, so that a host can use the aliases as well
        system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        path = f"{self.wrapper_directory}:{sys.base_prefix}/bin:{system}"
        # of several, some versions of sshd take the first and some the last
        startups = "" if "MaxStartups" in self._settings else "MaxStartups 1000:30:2000\n"
        (self.directory / "sshd_config").write_text(
            f"{startups}{self._settings}\nPort {self.port}\nListenAddress 127.0.0.1\nHostKey {self.directory}/host\n"
            f"AuthorizedKeysFile {self.directory}/authorized_keys\nPidFile {self.directory}/pid\n"
            "UsePAM no\nStrictModes no\n"
            "MaxSessions 100\nSubsystem sftp internal-sftp\nAcceptEnv REMOTO_NOISY\n"
            # bash runs the user's .bashrc if sshd starts it, which may take long; with SHLVL set, it does not
            f"SetEnv SHLVL=1 PATH={path}\n"
        )
        self._sshd = subprocess.Popen([self._program, "-D", "-f", self.directory / "sshd_config", "-E", self._log])
        deadline = time.monotonic() + START_TIMEOUT
        # sshd writes its pid file once it listens; an answer on the port could come from another sshd
        while not (self.directory / "pid").exists():
            if self._sshd.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self._stop()
                return False
            time.sleep(0.02)
        return True

    def _stop(self):
        if self._sshd is None:
            return
        self.drop_sessions()
        self._sshd.terminate()
        try:
            self._sshd.wait(10)
        except subprocess.TimeoutExpired:
            self._sshd.kill()
            self._sshd.wait()

    def _write_client_config(self):
        host_key = (self.directory / "host.pub").read_text().split()
        other_key = (self.directory / "other_host.pub").read_text().split()
        name = f"[127.0.0.1]:{self.port}"
        (self.directory / "known_hosts").write_text(f"{name} {host_key[0]} {host_key[1]}\n")
        (self.directory / "other_known_hosts").write_text(f"{name} {other_key[0]} {other_key[1]}\n")
        # bound, but not listening, as long as the aliases are used
        refused = self._stack.enter_context(socket.socket())
        refused.bind(("127.0.0.1", 0))
        relay = f"{shlex.quote(sys.executable)} {shlex.quote(str(RELAY))}"
        there = f"127.0.0.1 {self.port}"
        special = {
            "wrongkey": f"IdentityFile {self.directory}/stranger\n  BatchMode yes",
            "refused": f"Port {refused.getsockname()[1]}",
            "changed": f"UserKnownHostsFile {self.directory}/other_known_hosts",
            "unresolvable": "HostName no-such-host.invalid",
            "stall": "ProxyCommand sleep 1000",
            "slow": f"Port {self.slow_link.port}\n  HostKeyAlias [127.0.0.1]:{self.port}",
            "dropping": f"ProxyCommand {relay} --drop-when {self.directory}/drop {there}",
            "silent": f"ProxyCommand {relay} --silence-when {self.directory}/silence {there}",
            "patient": "ServerAliveInterval 300",
            "batch": "BatchMode yes",
            "unprivileged": f"User {PLAIN_USER}",
            "nosudo": f"User {NOSUDO_USER}",
        }
        blocks = [f"Host {alias}\n  {lines}\n" for alias, lines in special.items()]
        blocks.append(
            # otherwise ssh would try this key after the host's own one
            f"Host * !wrongkey\n  IdentityFile {self.directory}/user\n"
            "Host *\n  HostName 127.0.0.1\n"
            f"  Port {self.port}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.directory}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
            f"  StrictHostKeyChecking yes\n  User {pwd.getpwuid(os.getuid()).pw_name}\n"
        )
        # the aliases come before `Host *`, so that unknown names stay unknown
        known = " ".join([*special, *FLEET, "noisy", "node1.lab", "gate.example.com"])
        blocks[-1] = blocks[-1].replace("Host *\n", f"Host {known}\n")
        self.config.write_text("".join(blocks))
        self.wrapper_directory.mkdir()
        wrapper = self.wrapper_directory / "ssh"
        real = shutil.which("ssh")
        # `noisy`: print a line before every command, as a start-up file may do
        wrapper.write_text(
            "#!/usr/bin/env bash\n"
            'last="${@: -1}"\n'
            'for word in "$@"; do\n'
            '  if [ "$word" = noisy ]; then set -- "${@:1:$#-1}" "echo welcome to this machine; $last"; break; fi\n'
            "done\n"
            f'exec {real} -F {self.config} "$@"\n'
        )
        wrapper.chmod(0o755)

    def drop_sessions(self):
        """Drop the connections, as a network failure would; commands keep running."""
        for pid in self.session_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def logins(self):
        """Return the number of accepted connections so far."""
        return self.log().count("Accepted publickey")

    def log(self):
        return self._log.read_text()

    def session_pids(self):
        found, parents = [], [self._sshd.pid]
        while parents:
            parent = parents.pop()
            for pid in _children(parent):
                # the children of sshd's own processes are shells, not sshd
                if _name(pid).startswith("sshd"):
                    found.append(pid)
                    parents.append(pid)
        return found

    def drop(self):
        (self.directory / "drop").touch()
        self._stack.callback(self.undrop)

    def undrop(self):
        (self.directory / "drop").unlink(missing_ok=True)

    def silence(self):
        (self.directory / "silence").touch()

    def unsilence(self):
        (self.directory / "silence").unlink(missing_ok=True)


def _children(pid):
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _name(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def create_users():
    """Create the unprivileged users: one may use sudo without a password, the other needs one."""
    if os.geteuid() != 0:
        raise Unavailable("only root can make users")
    if not shutil.which("sudo") or not shutil.which("useradd"):
        raise Unavailable("sudo or useradd is not installed")
    with alone(Path(tempfile.gettempdir()) / "remoto-tests-users.lock"):
        _create_users()


def _create_users():
    for user, rule in ((PLAIN_USER, "NOPASSWD: ALL"), (NOSUDO_USER, "ALL")):
        try:
            pwd.getpwnam(user)
        except KeyError:
            # `*` means no valid password; useradd's default `!` means a locked account, which sshd refuses without PAM
            subprocess.run(["useradd", "-m", "-s", "/bin/sh", "-p", "*", user], check=True)
        rules = Path("/etc/sudoers.d") / user
        rules.write_text(f"{user} ALL=(ALL) {rule}\n")
        rules.chmod(0o440)
    assert grp.getgrnam(PLAIN_USER)
