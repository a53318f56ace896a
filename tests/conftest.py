"""Choose the tests by the servers that were asked for, and prepare those servers before the first test begins.

What takes long must not count against a test's time limit, and all workers share it: users, images, container engines.
"""

import contextlib
import functools
import os
import re
import signal
from pathlib import Path

import pytest

from tests.servers import images
from tests.servers.engines import ENGINES
from tests.servers.require import required
from tests.servers.sshd import create_users

INTEGRATION = Path(__file__).parent / "integration"
#: the server that a fixture stands for, or a parameter of a test, up to the first dash or underscore
NEEDS = {"users": "sudo", "docker": "docker", "podman": "podman", "kube": "kubectl", "kubernetes": "kubectl"}
PARAMETERS = ("backend", "connect", "connect_through", "engine", "shell")


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Reset SIGINT, which a shell ignores for tests in the background, and so for all that they start."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_report_header():
    names = ", ".join(required()) or "nothing"
    return (
        f"remoto: REMOTO_TEST_REQUIRE names {names}; sudo, docker, podman and kubectl are tested only if it names them"
    )


def pytest_collection_modifyitems(config, items):
    """Leave out what needs root, an image or a container engine, unless it was asked for."""
    to_be_had = set(required()) | ({"root"} if os.geteuid() == 0 else set())
    excluded = [item for item in items if _needs(item) - to_be_had]
    if excluded:
        config.hook.pytest_deselected(items=excluded)
        items[:] = [item for item in items if not _needs(item) - to_be_had]


def _needs(item):
    root = {"root"} if item.get_closest_marker("root") else set()
    if INTEGRATION not in item.path.parents:
        return root
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    names = [*item.fixturenames, *(str(parameters[name]) for name in PARAMETERS if name in parameters)]
    return root | {NEEDS[name] for name in (re.split("[-_]", name)[0] for name in names) if name in NEEDS}


def pytest_sessionstart(session):
    """Create users, build images, start engines: once, not in each of pytest-xdist's workers."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    with contextlib.ExitStack() as stack:
        for server, prepare in PREPARE.items():
            if server in required():
                try:
                    prepare(config, stack)
                except Exception as problem:
                    raise pytest.UsageError(f"REMOTO_TEST_REQUIRE names {server}: {problem}") from problem
        config.add_cleanup(stack.pop_all().close)


def _say(config, text):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"remoto: {text}")


def _prepare_users(config, stack):
    _say(config, "creating the users remoto-admin and remoto-nosudo")
    create_users()


def _prepare_engine(engine, config, stack):
    for image in images.BUILDERS:
        if not images.named(image) and not images.is_built(image):
            _say(config, f"building the image {image}, once on this machine: a minute or more")
            images.tarball(image)
    _say(config, f"starting {engine.executable} and importing its images")
    stack.enter_context(engine.shared())


PREPARE = {
    "sudo": _prepare_users,
    **{engine.executable: functools.partial(_prepare_engine, engine) for engine in ENGINES},
}
