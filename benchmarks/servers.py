"""The servers for the measurements: an sshd behind links that count bytes, one of them slow; a container; a pod."""

import contextlib
import os
import pwd
import random
import shutil
import tempfile
from pathlib import Path

from benchmarks.figures import COUNTED
from tests.servers.engines import Docker
from tests.servers.link import Link
from tests.servers.sshd import Sshd

CONTAINER = "remoto-benchmark"
POD = "remoto-benchmark"
#: seconds that the API server takes to start a command: about what a real cluster does
EXEC_DELAY = 0.15
FLEET_CONFIG = """\
Host curve*
  KexAlgorithms curve25519-sha256
Host node* curve*
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
"""
# like ssh: -G prints the configuration, and the last argument is a command
STAND_IN = """\
#!/bin/sh
[ "$1" = -G ] && echo serveraliveinterval 0 && exit
for last; do :; done
eval "exec $last"
"""


@contextlib.contextmanager
def servers():
    """Yield the sshd and a link to it without delay.

    Meanwhile, the environment has its aliases, the engine and the cluster.
    """
    before = dict(os.environ)
    from tests.servers.kube import Kube  # here: it needs packages that the unit tests of the benchmarks do not

    with Sshd() as sshd, Docker() as docker, Kube() as kube, Link(sshd.port, delay=0) as link:
        # ssh uses the first value that it finds
        host = f"Host {COUNTED}\n  Port {link.port}\n  HostKeyAlias [127.0.0.1]:{sshd.port}\n"
        sshd.config.write_text(host + sshd.config.read_text())
        os.environ["PATH"] = f"{sshd.wrapper_directory}{os.pathsep}{os.environ['PATH']}"
        os.environ.update(docker.environment)
        docker.run("python", name=CONTAINER)
        os.environ.update({name: value for name, value in kube.environment.items() if name != "PATH"})
        # its commands run on this machine: the engine's time is measured elsewhere
        kube.add(POD, {"app": []}, start_delay=EXEC_DELAY)
        try:
            yield sshd, link
        finally:
            os.environ.clear()
            os.environ.update(before)


def log_line(number, identity):
    return f"{number:08} INFO request {identity:032x} answered\n"


def write_log(path, lines):
    """Return a log, the same each time, that compresses no better than a real one."""
    source = random.Random(0)
    with open(path, "w") as file:
        file.writelines(log_line(number, source.getrandbits(128)) for number in range(lines))


def write_uncompressed_ssh(path):
    path.write_text(
        "#!/bin/sh\n"
        'for word; do shift; [ "$word" = -C ] || set -- "$@" "$word"; done\n'
        f'exec {shutil.which("ssh")} "$@"\n'
    )
    path.chmod(0o755)


def write_fleet(directory, sshd, sizes):
    """Return the settings for work on many hosts, which all are the same sshd."""
    user = pwd.getpwuid(os.getuid()).pw_name
    known_hosts = sshd.directory / "known_hosts"
    config = directory / "fleet"
    config.write_text(
        FLEET_CONFIG.format(port=sshd.port, user=user, key=sshd.directory / "user", known_hosts=known_hosts)
    )
    stand_in = directory / "stand-in" / "ssh"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    # ssh itself, not the wrapper that names the configuration with the aliases
    directories = [name for name in os.environ["PATH"].split(os.pathsep) if name != str(sshd.wrapper_directory)]
    return {
        "hosts": sizes.hosts,
        "config": str(config),
        "known_hosts": str(known_hosts),
        "path": os.pathsep.join(directories),
        "stand_in": str(stand_in.parent),
    }


@contextlib.contextmanager
def settings(sshd, link, sizes):
    """Yield the settings for the contestants; meanwhile, the files exist."""
    directory = Path(tempfile.mkdtemp(prefix="remoto-benchmark-"))
    try:
        output_lines = sizes.output // len(log_line(0, 0))
        write_log(directory / "output", output_lines)
        (directory / "lines").write_text("".join(f"line {number} of a long output\n" for number in range(sizes.lines)))
        (directory / "file").mkdir()
        (directory / "file" / "file").write_bytes(os.urandom(1_000_000) * (sizes.file // 1_000_000))
        for number in range(sizes.files_in_tree):
            path = directory / "tree" / str(number % 20) / str(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(1024))
        for name in ("new", "kept", "uncompressed"):
            (directory / name).mkdir()
        write_uncompressed_ssh(directory / "uncompressed" / "ssh")
        # for libraries that do not read ssh's configuration
        target = {
            "address": "127.0.0.1",
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "key": str(sshd.directory / "user"),
        }
        ports = {"node0": sshd.port, COUNTED: link.port, "slow": sshd.slow_link.port}
        yield {
            "hosts": {name: {**target, "port": port} for name, port in ports.items()},
            "fleet": write_fleet(directory, sshd, sizes),
            "container": CONTAINER,
            "commands_in_pod": sizes.commands_in_pod,
            "value": "x" * 100,
            "large": "x" * 1_000_000,
            "lines": str(directory / "lines"),
            "lines_count": sizes.lines,
            "output": str(directory / "output"),
            "output_lines": output_lines,
            "file": str(directory / "file" / "file"),
            "tree": str(directory / "tree"),
            "new": str(directory / "new"),
            "kept": str(directory / "kept"),
            "uncompressed": str(directory / "uncompressed"),
        }
    finally:
        shutil.rmtree(directory)


def empty(directory):
    shutil.rmtree(directory)
    os.mkdir(directory)
