"""Fixtures over real servers. The backends that the contract tests run over are in backends.py."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import remoto
from remoto.exc import ConnectionLost
from remoto.process import check
from tests.integration.backends import BACKENDS, SHELLS
from tests.integration.leftovers import wait_until
from tests.servers.cluster import Cluster, real_context
from tests.servers.engines import Docker, Podman
from tests.servers.require import unavailable
from tests.servers.sshd import Sshd, Unavailable, create_users

#: modules to run over a relay: together with the tests of relays they have all kinds of traffic, and timeouts of each.
#: Without REMOTO_TEST_REQUIRE, only the tests of relays use one
OVER_RELAYS = ("test_commands", "test_files", "test_timeouts")
#: backends that a module skips, since its subject is the same over others: test_session_faults calls functions in
#: sessions of podman and in pods
SKIPPED = {"test_functions": {"podman-persistent", "kubernetes-persistent"}}


@pytest.fixture(scope="session", autouse=True)
def python3():
    """``python3`` is the Python of these tests, not a script such as pyenv's, which is slow."""
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{sys.base_prefix}/bin{os.pathsep}{path}"
    yield
    os.environ["PATH"] = path


@pytest.fixture(scope="session")
def sshd():
    """A running sshd; its aliases are hostnames for every ``ssh`` on PATH."""
    try:
        server = Sshd().__enter__()
    except Unavailable as problem:
        unavailable("sshd", problem)
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{server.wrapper_directory}{os.pathsep}{path}"
    yield server
    os.environ["PATH"] = path
    server.__exit__()


@pytest.fixture(scope="module")
def relays(sshd):
    """The relays opened so far, in a list; the last one is open."""
    opened = []
    yield opened
    for conn in opened:
        conn.exit()


@pytest.fixture
def relay(relays):
    """A relay whose ssh knows the aliases; reopened if a test has dropped all sessions of sshd."""
    try:
        check(relays[-1], ["true"])
    except (IndexError, ConnectionLost):
        relays.append(remoto.Connection("node1", env={"PATH": os.environ["PATH"]}))
    return relays[-1]


@pytest.fixture(scope="session")
def users(sshd):
    """Create the users of the hosts ``unprivileged`` and ``nosudo``."""
    try:
        create_users()
    except Unavailable as problem:
        unavailable("sudo", problem)


@pytest.fixture(scope="session")
def docker():
    """The tests' own Docker engine."""
    return _running(Docker)


@pytest.fixture(scope="session")
def podman():
    """The tests' own podman storage."""
    return _running(Podman)


def _running(engine):
    try:
        return engine.running()
    except KeyError:
        unavailable(engine.executable, "REMOTO_TEST_REQUIRE does not name it")


@pytest.fixture(scope="session")
def kube():
    """The tests' own API server, with kubectl and oc on PATH."""
    try:
        # the only fixture that needs a package besides pytest
        from tests.servers.kube import Kube
    except ImportError as problem:
        unavailable("kubectl", problem)
    with ExitStack() as stack:
        try:
            server = stack.enter_context(Kube())
        except Exception as problem:
            unavailable("kubectl", problem)
        before = dict(os.environ)
        os.environ.update(server.environment, PATH=f"{server.bin}{os.pathsep}{os.environ['PATH']}")
        yield server
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def docker_python(docker):
    return docker.run("python")


@pytest.fixture(scope="session")
def docker_shell(docker):
    return docker.run("shell")


@pytest.fixture(scope="session")
def podman_python(podman):
    return podman.run("python")


@pytest.fixture(scope="session")
def podman_shell(podman):
    return podman.run("shell")


@pytest.fixture(scope="session")
def kube_cluster(request):
    """The cluster of the contract tests: a real one if it is named, else the tests' own server."""
    context = real_context()
    if context:
        cluster = Cluster(context)
    else:
        kube = request.getfixturevalue("kube")
        cluster = Cluster(kube.context, str(kube.kubeconfig), {"python": "python", "shell": "shell"})
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def kube_python(request, kube_cluster):
    return _pod(request, kube_cluster, "python")


@pytest.fixture(scope="session")
def kube_shell(request, kube_cluster):
    return _pod(request, kube_cluster, "shell")


def _pod(request, cluster, image):
    if not real_context():
        # with docker, which is faster than podman
        container = request.getfixturevalue(f"docker_{image}")
        request.getfixturevalue("kube").images[image] = ["docker", "exec", "-i", container]
    return cluster.run(image)


@pytest.fixture(scope="session")
def pythons():
    """All Pythons on this machine, as {(3, 9): path, ...}."""
    candidates = [Path(path) for minor in range(6, 15) if (path := shutil.which(f"python3.{minor}"))]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(root.glob("versions/*/bin/python"))
    found = {}
    for path in candidates:
        try:
            answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
        except PermissionError:
            continue  # it belongs to another user
        version = re.match(r"Python (\d+)\.(\d+)", answer.stdout + answer.stderr)
        if answer.returncode == 0 and version:
            found[int(version[1]), int(version[2])] = str(path)
    return found


def pytest_generate_tests(metafunc):
    if "connect" in metafunc.fixturenames:
        shells = SHELLS if getattr(metafunc.module, "NEEDS_NO_PYTHON", False) else {}
        name = metafunc.module.__name__.rpartition(".")[2]
        over_relay = name in OVER_RELAYS and os.environ.get("REMOTO_TEST_REQUIRE")
        excluded = SKIPPED.get(name, set()) | (set() if over_relay else {"ssh_via"})
        metafunc.parametrize("connect", [b for b in [*BACKENDS, *shells] if b not in excluded], indirect=True)


@pytest.fixture
def connect(request):
    """A function that opens a connection of the parameter's backend; all are closed at the end."""
    opened = []
    open_one = {**BACKENDS, **SHELLS}[request.param](request)

    def connect(**kw):
        kw.setdefault("logger", logging.getLogger("remoto-test"))
        opened.append(open_one(**kw))
        return opened[-1]

    connect.backend = request.param
    connect.in_container = request.param not in ("local", "ssh", "ssh_via")
    yield connect
    for conn in opened:
        conn.exit()


@pytest.fixture
def conn(connect):
    return connect()


@pytest.fixture
def logged(caplog):
    """All log records of the connection, as (level, text)."""
    caplog.set_level(logging.DEBUG, logger="remoto-test")

    class Logged:
        def __iter__(self):
            return ((record.levelname, record.getMessage()) for record in caplog.records)

        def texts(self, level):
            return [text for its_level, text in self if its_level == level]

        def clear(self):
            caplog.clear()

    return Logged()


class Interrupt:
    """A function that sends Ctrl-C to the main thread as soon as a condition is true."""

    def __call__(self, condition):
        def send():
            wait_until(condition)
            self.moment = time.monotonic()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        self.thread = threading.Thread(target=send)
        self.thread.start()


@pytest.fixture
def interrupt():
    sender = Interrupt()
    yield sender
    sender.thread.join()
