"""Container engines for the tests only: a Docker daemon, and a podman with its own storage and settings.

They need root, but no systemd, registry or network, and do not touch the machine's own engines.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import images
from .guard import guarded

#: seconds
START_TIMEOUT = 120
#: seconds for one command of a client; an import copies a whole image
CLIENT_TIMEOUT = 120

#: Ignores SIGTERM and reaps no children, like the main process of many containers. It exits after a while, in case the
#: tests are killed.
IDLE = ("sleep", "7200")


#: the containers of the examples in README and docs, by name; created here, so that it does not count for a test's
#: timeout
SHARED = {"web": "python", "small": "shell"}


class Engine:
    """A container engine, as a context manager.

    ``executable`` works as a plain command wherever ``environment`` is set.
    """

    executable: str

    def __init__(self) -> None:
        # not pytest's directories: with their long names, the path of a Unix socket would exceed 107 characters
        self.directory = Path(tempfile.mkdtemp(prefix=f"remoto-{self.executable}-"))
        self.environment: dict[str, str] = {}
        self._images: dict[str, str] = {}

    @classmethod
    @contextmanager
    def shared(cls) -> Iterator[None]:
        """Start an engine with the tests' images and the SHARED containers, for this process and its children."""
        with cls() as engine:
            for name, image in SHARED.items():
                engine.run(image, name=name)
            os.environ.update(engine.environment)
            os.environ[cls._variable()] = json.dumps([str(engine.directory), engine.environment, engine._images])
            try:
                yield
            finally:
                for variable in (*engine.environment, cls._variable()):
                    del os.environ[variable]

    @classmethod
    def running(cls) -> Engine:
        """Return the engine that :meth:`shared` has started, here or in a parent process."""
        engine = cls.__new__(cls)
        directory, engine.environment, engine._images = json.loads(os.environ[cls._variable()])
        engine.directory = Path(directory)
        return engine

    @classmethod
    def _variable(cls) -> str:
        return f"REMOTO_TEST_RUNNING_{cls.executable.upper()}"

    #: lines for /bin/sh that kill the engine's containers if the test run was killed; $0 is the engine's directory
    end_containers = ""

    def __enter__(self) -> Engine:
        with ExitStack() as stack:
            stack.enter_context(guarded(self.directory, self.end_containers, self.environment))
            stack.callback(self._end)
            self._start()
            stack.callback(self._remove_containers)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _remove_containers(self) -> None:
        containers = self.client("ps", "--all", "--quiet").split()
        if containers:
            self.client("rm", "--force", "--volumes", *containers)

    def _start(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        shutil.rmtree(self.directory)

    def run(self, image: str, command: Sequence[str] = IDLE, name: str = "") -> str:
        """Start a container of the image ``python`` or ``shell`` (:mod:`images`); return its name."""
        name = name or f"remoto-{image}-{secrets.token_hex(4)}"
        # without a grace period: each stop and rm would wait 10 seconds in vain
        options = ["--detach", "--network=none", "--stop-timeout=0", f"--name={name}", f"--hostname={name}"]
        self.client("run", *options, self._image(image), *command)
        return name

    def stop(self, name: str) -> None:
        self.client("stop", name)

    def remove(self, name: str) -> None:
        self.client("rm", "--force", "--volumes", name)

    def client(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> str:
        """The output of a command of the engine's client.

        :raises RuntimeError: when it fails; holds the client's own words.
        """
        done = subprocess.run(
            [self.executable, *arguments],
            env={**os.environ, **self.environment},
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=CLIENT_TIMEOUT,
        )
        if done.returncode:
            raise RuntimeError(f"{self.executable} {arguments[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def _image(self, image: str) -> str:
        if image not in self._images:
            self._images[image] = images.named(image) or self._imported(image)
        return self._images[image]

    def _imported(self, image: str) -> str:
        name = f"remoto-tests-{image}"
        with images.tarball(image).open("rb") as tar:
            self.client("import", "-", name, stdin=tar.fileno())
        return name


class Docker(Engine):
    executable = "docker"

    def __init__(self) -> None:
        super().__init__()
        self.environment = {"DOCKER_HOST": f"unix://{self.directory}/socket"}
        self._daemon: subprocess.Popen[bytes] | None = None

    def _start(self) -> None:
        log = self.directory / "log"
        # The daemon gets a mount and a process namespace, so that its mounts, containerd and containers end with it.
        # setpriv kills it if the tests are killed; its own session keeps Ctrl-C of the tests from it.
        command = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount-proc", "--pid", "--fork", "--kill-child"]
        command += ["dockerd", "--host", self.environment["DOCKER_HOST"], "--pidfile", f"{self.directory}/pid"]
        command += ["--data-root", f"{self.directory}/data", "--exec-root", f"{self.directory}/exec"]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]
        # dockerd reports here that it is ready, as it would to systemd (sd_notify(3))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices, log.open("wb") as output:
            notices.bind(f"{self.directory}/notices")
            self._daemon = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "NOTIFY_SOCKET": f"{self.directory}/notices"},
                start_new_session=True,
            )
            # so that the end of the daemon is noticed as well
            notices.settimeout(0.5)
            deadline = time.monotonic() + START_TIMEOUT
            while b"READY=1" not in _received(notices):
                if self._daemon.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"dockerd does not start: {log.read_text()[-2000:]}")

    def _end(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            pid = self._daemon.pid
            # unshare's only child is dockerd, the first process of its namespace, which ends after all others
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in children or [pid]:
                os.kill(int(child), signal.SIGKILL)
            self._daemon.wait()
        super()._end()


def _received(notices: socket.socket) -> bytes:
    try:
        return notices.recv(4096)
    except socket.timeout:  # a TimeoutError only since Python 3.10
        return b""


class Podman(Engine):
    executable = "podman"
    end_containers = """\
podman rm --all --force --time=0
while read -r device mount rest; do
  case $mount in "$0"/*) umount -l "$mount" ;; esac
done < /proc/self/mounts
"""

    def __init__(self) -> None:
        super().__init__()
        self.environment = {
            "CONTAINERS_CONF": f"{self.directory}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.directory}/storage.conf",
        }

    def _start(self) -> None:
        # runc: crun refuses a hybrid cgroup layout. The limits: the default ones can't be set without CAP_SYS_RESOURCE.
        # lock_type: the default is one piece of shared memory for all podmans of the machine.
        Path(self.environment["CONTAINERS_CONF"]).write_text(
            f"""\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{self.directory}/tmp"
"""
        )
        Path(self.environment["CONTAINERS_STORAGE_CONF"]).write_text(
            f"""\
[storage]
driver = "vfs"
graphroot = "{self.directory}/storage"
runroot = "{self.directory}/run"
"""
        )
        self.client("info")

    def _end(self) -> None:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            target = line.split()[1]
            if target.startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", target], check=True)
        # conmon starts processes when an exec session ends, which may still write there
        deadline = time.monotonic() + 20
        while self.directory.exists():
            try:
                super()._end()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


ENGINES = (Docker, Podman)
