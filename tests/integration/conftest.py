"""Fixtures over real servers. The backends that the contract tests run over are in backends.py."""

import logging
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.backends import BACKENDS
from tests.servers.require import unavailable
from tests.servers.sshd import Sshd, Unavailable, create_users


@pytest.fixture(scope="session")
def sshd():
    """A running sshd; its aliases are hostnames for every ``ssh`` on PATH."""
    try:
        server = Sshd().__enter__()
    except Unavailable as problem:
        unavailable("sshd", problem)
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{server.wrapper_folder}{os.pathsep}{path}"
    yield server
    os.environ["PATH"] = path
    server.__exit__()


@pytest.fixture(scope="session")
def users(sshd):
    """The hosts ``unprivileged`` and ``nosudo`` have their users."""
    try:
        create_users()
    except Unavailable as problem:
        unavailable("sudo", problem)


@pytest.fixture(scope="session")
def pythons():
    """{(3, 9): path, ...}: every Python of this machine."""
    candidates = [Path(path) for minor in range(6, 15) if (path := shutil.which(f"python3.{minor}"))]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(root.glob("versions/*/bin/python"))
    found = {}
    for path in candidates:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
        version = re.match(r"Python (\d+)\.(\d+)", answer.stdout + answer.stderr)
        if answer.returncode == 0 and version:
            found[int(version[1]), int(version[2])] = str(path)
    return found


@pytest.fixture(params=BACKENDS)
def connect(request):
    """A function that opens a connection of each backend in turn; all are closed at the end."""
    opened = []
    open_one = BACKENDS[request.param](request)

    def connect(**kw):
        kw.setdefault("logger", logging.getLogger("remoto-test"))
        opened.append(open_one(**kw))
        return opened[-1]

    connect.backend = request.param
    connect.in_container = request.param not in ("local", "ssh")
    yield connect
    for conn in opened:
        conn.exit()


@pytest.fixture
def conn(connect):
    return connect()


@pytest.fixture
def logged(caplog):
    """(level, text) of all that the connection logs."""
    caplog.set_level(logging.DEBUG, logger="remoto-test")

    class Logged:
        def __iter__(self):
            return ((record.levelname, record.getMessage()) for record in caplog.records)

        def texts(self, level):
            return [text for its_level, text in self if its_level == level]

        def clear(self):
            caplog.clear()

    return Logged()
