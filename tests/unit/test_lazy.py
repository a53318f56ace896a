"""Modules that ``import remoto`` does not import are imported on first use."""

import ast
import pickle
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import remoto
from remoto import backends, connection

LAZY = {
    remoto: ["Group", "file_sync", "group", "process", "rsync"],
    backends: [
        "JsonModuleExecute",
        "LegacyModuleExecute",
        "check",
        "containers",
        "docker",
        "get_python_executable",
        "kubernetes",
        "local",
        "openshift",
        "podman",
    ],
    connection: ["docker", "kubernetes", "local", "openshift", "podman"],
}
NAMES = pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in LAZY.items() for name in names],
    ids=lambda value: getattr(value, "__name__", value),
)
# `import remoto` must not import these modules, unless execnet and logging do
RARE = """
    remoto.backends.client_requests remoto.backends.containers remoto.backends.docker remoto.backends.kubernetes
    remoto.backends.local remoto.backends.openshift remoto.backends.patchable remoto.backends.podman
    remoto.backends.sessions remoto.cli remoto.commands.call remoto.commands.popen remoto.commands.request
    remoto.file_sync remoto.files remoto.fleets remoto.functions remoto.gateways.process_io remoto.gateways.relay
    remoto.group remoto.process remoto.testing
    argparse concurrent.futures importlib.metadata json pickle pkgutil selectors shutil signal socket subprocess tarfile
    tempfile zlib
"""
# a thread imports a module while another one forks; the child then imports the module as well
FORK = """
import importlib.abc, os, posixpath, select, sys, threading
import remoto

started, forking = threading.Event(), threading.Event()

class Waiting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1] and not started.is_set():
            started.set()
            forking.wait(20)

sys.meta_path.insert(0, Waiting())
# called before the functions that remoto has registered
os.register_at_fork(before=forking.set)
thread = threading.Thread(target=eval, args=(sys.argv[2], globals()))
thread.start()
assert started.wait(20)
reader, writer = os.pipe()
child = os.fork()
if not child:
    eval(sys.argv[2])
    os.write(writer, b"x")
    os._exit(0)
thread.join()
if not select.select([reader], [], [], 20)[0]:
    os.kill(child, 9)
    sys.exit("the child hangs")
assert os.waitpid(child, 0)[1] == 0
"""
# eight threads, two for each name
THREADS = """
import concurrent.futures, sys, threading
import remoto

USES = ["remoto.Group", "remoto.rsync", "remoto.connection.get('oc')", "remoto.backends.JsonModuleExecute"]
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)

def use(text):
    barrier.wait(20)
    return eval(text)

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = list(pool.map(use, USES * 2))
assert found[:4] == found[4:], found
"""

PACKAGE = Path(remoto.__file__).parent
IMPORTS = (ast.Import, ast.ImportFrom)
# imports inside functions of modules that are loaded already
LOADED = {
    "backends/patchable.py: from remoto import backends",
    "backends/relayed.py: from .executor import Executor",
    "backends/ssh.py: from .base import BaseConnection",
    "fleets/work.py: import importlib",
}


def run(program, *arguments):
    argv = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_remoto_imports_no_module_that_is_rarely_used():
    without = set(run("import sys, execnet, logging; print(*sys.modules)"))
    loaded = set(run("import sys, remoto; print(*sys.modules)"))
    assert "remoto.connection" in loaded
    assert (loaded - without) & set(RARE.split()) == set()


def test_imports_inside_functions_hold_the_lock_that_fork_waits_for():
    found, holding = set(), set()
    for path in PACKAGE.rglob("*.py"):
        # the command line does not fork, and the code of the remote side can't use the lock
        if path.parent.name not in ("cli", "remote"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                holds = isinstance(node, ast.With) and ast.unparse(node.items[0]) == "importing"
                if isinstance(node, ast.FunctionDef) or holds:
                    imports = [inner for inner in ast.walk(node) if isinstance(inner, IMPORTS)]
                    names = [f"{path.relative_to(PACKAGE).as_posix()}: {ast.unparse(inner)}" for inner in imports]
                    (holding if holds else found).update(names)
    assert found - holding == LOADED
    assert len(holding) > 10


def test_no_module_uses_a_lazy_name_while_it_is_imported():
    """Two threads could wait for each other: one with the lock, one with the module that is being imported."""
    lazy, checked = {module.__name__: set(names) for module, names in LAZY.items()}, 0
    for path in PACKAGE.rglob("*.py"):
        package = ["remoto", *path.relative_to(PACKAGE).parts[:-1]]
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                source = ".".join([*package[: len(package) + 1 - node.level], *filter(None, [node.module])])
                assert not lazy.get(source, set()) & {alias.name for alias in node.names}, path
                checked += 1
    assert checked > 200


@NAMES
def test_name_is_found_in_a_new_process(module, name):
    run(f"import remoto\nassert {name!r} in dir({module.__name__})\nfrom {module.__name__} import {name}")


@NAMES
def test_name_can_be_patched(module, name):
    before = getattr(module, name)
    with mock.patch(f"{module.__name__}.{name}") as patched:
        assert getattr(module, name) is patched
    assert getattr(module, name) is before


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_unknown_name_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match=f"^module '{module.__name__}' has no attribute 'nothing'$"):
        module.nothing  # noqa: B018


def test_class_of_a_backend_that_is_not_imported_can_be_unpickled():
    data = pickle.dumps(connection.get("docker"))
    assert run(f"import pickle\nprint(pickle.loads({data!r}).__name__)") == ["DockerConnection"]


def test_threads_may_use_a_name_first_at_the_same_time():
    run(THREADS)


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("remoto.group", "remoto.Group"),
        ("remoto.backends.containers", "remoto.connection.get('docker')"),
        ("remoto.functions.calls", "remoto.Connection('localhost', eager=False).import_module(posixpath)"),
        ("remoto.gateways.process_io", "remoto.Connection('localhost').exit()"),
    ],
)
def test_fork_waits_for_an_import_in_another_thread(module, use):
    run(FORK, module, use)


# a program's test patches check() while the backends are imported, and while a JSON call is made
PATCHED = """
import shlex
from unittest import mock
import remoto

with mock.patch("remoto.process.check") as patched:
    remoto.connection.get("docker")
    with remoto.Connection("localhost") as conn:
        conn.remote_import_system = "json"
        assert conn.import_module(shlex).quote("a b") == "'a b'"
assert remoto.backends.containers.check is remoto.process.check
assert not patched.called
"""


def test_patched_check_stays_where_it_was_patched():
    run(PATCHED)


# the fork of thread B holds the lock for longer than the fork of the main thread waits for it
TWO_FORKS = """
import os, threading

is_holding, goes_on = threading.Event(), threading.Event()

def wait():
    if threading.current_thread().name == "B":
        is_holding.set()
        goes_on.wait(20)

# before remoto registers its function, so that this one is called after it
os.register_at_fork(before=wait)
from remoto import lazy

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

thread = threading.Thread(target=fork, name="B")
thread.start()
assert is_holding.wait(20)
fork()
goes_on.set()
thread.join()
# a thread that does not hold it
other = threading.Thread(target=lambda: print(lazy.importing.acquire(timeout=20)))
other.start()
other.join()
"""


def test_two_forks_at_the_same_time_leave_the_lock_free():
    assert run(TWO_FORKS) == ["True"]
