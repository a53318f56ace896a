"""The tests' own servers leave nothing if the test run is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.leftovers import wait_until

START = """
import sys
from tests.servers.{module} import {name}
with {name}() as server:
    {then}
    print(server.directory, flush=True)
    sys.stdin.read()
"""


def command_lines():
    """Return the command lines of all running processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended meanwhile
    return found


pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def killed(request):
    """A function that starts a server in another process, kills that process, and returns the server's directory."""

    def kill(module, name, then="pass"):
        source = START.format(module=module, name=name, then=then)
        with subprocess.Popen(
            [sys.executable, "-c", source],
            cwd=request.config.rootpath,
            env={**os.environ, "PYTHONPATH": str(request.config.rootpath)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            directory = Path(process.stdout.readline().strip())
            assert directory.is_dir() and directory.name
            process.send_signal(signal.SIGKILL)
        return directory

    return kill


def assert_nothing_is_left(directory):
    wait_until(lambda: not directory.exists(), 60)
    wait_until(lambda: not any(str(directory) in line for line in command_lines()))


def test_killed_run_leaves_no_sshd(sshd, killed):
    assert_nothing_is_left(killed("sshd", "Sshd"))


def test_killed_run_leaves_no_docker(docker, killed):
    assert_nothing_is_left(killed("engines", "Docker", "server.run('shell')"))


def test_killed_run_leaves_no_podman(podman, killed):
    assert_nothing_is_left(killed("engines", "Podman", "server.run('shell', ['sleep', '987654'])"))
    wait_until(lambda: "sleep 987654 " not in command_lines())


def test_killed_run_leaves_no_api_server(kube, killed):
    assert_nothing_is_left(killed("kube", "Kube"))
