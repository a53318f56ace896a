"""Sessions that are lost, or stand still, in the middle of a command, a call of a function or a transfer."""

import contextlib
import errno
import logging
import threading

import pytest

from remoto import connection, file_sync
from remoto.exc import ConnectionLost, ContainerError, FileTransferError
from remoto.process import check
from tests.integration.leftovers import children, wait_until
from tests.integration.shipped import functions

# on a busy machine, an engine may need a minute to copy an image for a new container
pytestmark = pytest.mark.timeout(300)

#: far more than a sender may send before it is acknowledged
LARGE = bytes(32 * 1024 * 1024)


class Middle(logging.Handler):
    """Does something once, in the middle of some work."""

    def __init__(self, do):
        super().__init__()
        self.do = do
        self.reached = False
        self.logger = logging.Logger("faults")
        self.logger.addHandler(self)

    def __call__(self, *_):
        if not self.reached:
            self.reached = True
            self.do()

    def emit(self, record):
        if record.getMessage() == "ready":
            self()


def command(conn, middle, target, **keywords):
    return check(conn, "echo ready; exec sleep 300", on_stdout=middle, **{"timeout": 120, **keywords})


def call(conn, middle, target):
    conn.remote_import_system, conn.logger = "legacy", middle.logger
    return conn.import_module(functions).report_and_wait(f"{target}.go")


def put(conn, middle, target, **keywords):
    def progress(sent, total):
        if sent:
            assert middle.reached or sent < total
            middle()

    return file_sync.put(conn, LARGE, target, progress=progress, **{"timeout": 120, **keywords})


@pytest.fixture(scope="module", params=["docker", "podman"])
def engine(request):
    return request.getfixturevalue(request.param)


@contextlib.contextmanager
def new_container(engine):
    name = engine.run("python")
    yield name
    with contextlib.suppress(RuntimeError):  # a test has removed it
        engine.remove(name)


@pytest.fixture(scope="module")
def container(engine):
    """A container with a Python, for the tests that do not end it: making and removing one takes long."""
    with new_container(engine) as name:
        yield name


@pytest.fixture
def conn(engine, container):
    """A session in the container, whose /tmp is empty."""
    with session_in(engine, container) as conn:
        check(conn, "find /tmp -mindepth 1 -delete")
        yield conn


def session_in(engine, container):
    return connection.get(engine.executable)(container_name=container, persistent="require")


def python_of(conn):
    """The process id, in the container, of the session's Python."""
    return int(check(conn, ["sh", "-c", "echo $PPID"]).stdout[0])


def lose(conn, work, fault, target):
    """Do work, with a fault in its middle: a lost connection, whose processes on this machine end.

    Return the number of this program's processes before.
    """
    python = python_of(conn)
    running = len(children())
    middle = Middle(lambda: fault(python))
    with pytest.raises(ConnectionLost) as raised:
        work(conn, middle, target)
    assert middle.reached and conn.where() in str(raised.value)
    wait_until(lambda: len(children()) < running)
    return running


def require_one_new_session(conn, running, target):
    assert python_of(conn) == python_of(conn)
    wait_until(lambda: len(children()) == running)
    assert check(conn, ["test", "-e", target]).returncode == 1


@pytest.mark.parametrize("work", [command, call, put])
def test_killed_session_is_lost_and_reopened_once(engine, container, conn, work):
    def kill(python):
        engine.client("exec", container, "sh", "-c", f"kill -9 {python}")

    running = lose(conn, work, kill, "/tmp/large")
    require_one_new_session(conn, running, "/tmp/large")


@pytest.mark.parametrize("work", [command, call, put])
def test_session_of_a_restarted_container_is_lost_and_reopened_once(engine, container, conn, work):
    running = lose(conn, work, lambda python: engine.client("restart", container), "/tmp/large")
    require_one_new_session(conn, running, "/tmp/large")


@pytest.mark.parametrize(
    ("work", "action"),
    [(command, "stop"), (command, "kill"), (command, "rm --force"), (call, "rm --force"), (put, "rm --force")],
)
def test_session_of_a_container_that_ends_is_lost_and_the_next_call_fails(engine, work, action):
    with new_container(engine) as container, session_in(engine, container) as conn:
        lose(conn, work, lambda python: engine.client(*action.split(), container), "/tmp/large")
        with pytest.raises(ContainerError) as raised:
            check(conn, ["true"])
    assert raised.value.kind == ("container" if action == "rm --force" else "stopped")


@contextlib.contextmanager
def paused(engine, container, conn):
    """Yield something that pauses the container. It goes on at the end, and its session serves it as before."""
    python = python_of(conn)
    middle = Middle(lambda: engine.client("pause", container))
    try:
        yield middle
    finally:
        if middle.reached:
            engine.client("unpause", container)
    assert middle.reached and python_of(conn) == python


def test_timeout_of_a_command_applies_while_the_container_is_paused(engine, container, conn):
    with paused(engine, container, conn) as middle:
        assert command(conn, middle, "", timeout=1).timed_out


def test_call_continues_after_the_container_was_paused(engine, container, conn):
    python = python_of(conn)

    def pause_and_go_on():
        engine.client("pause", container)
        engine.client("unpause", container)
        engine.client("exec", container, "touch", "/tmp/target.go")

    assert call(conn, Middle(pause_and_go_on), "/tmp/target") == "done"
    assert python_of(conn) == python


def test_timeout_of_a_put_applies_while_the_container_is_paused(engine, container, conn):
    with paused(engine, container, conn) as middle, pytest.raises(FileTransferError, match="no answer") as raised:
        put(conn, middle, "/tmp/large", timeout=1)
    assert raised.value.errno == errno.ETIMEDOUT
    assert check(conn, ["ls", "-A", "/tmp"]).stdout == []
    assert file_sync.put(conn, LARGE, "/tmp/large").size == len(LARGE)


@pytest.fixture
def pod(kube):
    """A pod whose commands run on this machine."""
    kube.add("stateful-0", {"app": []})
    yield "stateful-0"
    kube.pods.pop(("default", "stateful-0"), None)


@pytest.mark.parametrize("work", [command, call, put])
def test_session_of_a_deleted_pod_is_lost_and_opened_in_the_pod_that_replaces_it(kube, pod, tmp_path, work):
    target = str(tmp_path / "large")
    with connection.get("kubernetes")(pod, persistent="require") as conn:
        running = lose(conn, work, lambda python: kube.remove(pod), target)
        with pytest.raises(ContainerError) as raised:
            check(conn, ["true"])
        assert raised.value.kind == "container"
        kube.add(pod, {"app": []})
        require_one_new_session(conn, running, target)


def test_threads_that_lose_a_session_open_one_new_session(engine, container, conn):
    python, lost, found = python_of(conn), [], []
    all_run = threading.Barrier(4, action=lambda: engine.client("exec", container, "sh", "-c", f"kill -9 {python}"))

    def work():
        try:
            check(conn, "echo ready; exec sleep 300", on_stdout=lambda line: all_run.wait(60), timeout=120)
        except ConnectionLost as error:
            lost.append(error)
        found.append(python_of(conn))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(lost) == 4 and len(found) == 4 and len(set(found)) == 1
