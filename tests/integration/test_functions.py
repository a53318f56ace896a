"""The contract of remote functions: the same for both executors, over every backend."""

import importlib
import re
import sys
import threading
import time
from pathlib import Path

import execnet
import pytest

import remoto
from remoto.backends import JsonModuleExecute, LegacyModuleExecute, get_python_executable
from remoto.exc import CommandError, ConnectError, ConnectionLost, FunctionError, ModuleMissing
from tests.integration.shipped import broken, functions, uses_helper

SHIPPED = Path(functions.__file__).parent


@pytest.fixture(params=["legacy", "json"])
def system(request):
    return request.param


@pytest.fixture
def conn(connect, system):
    conn = connect()
    conn.remote_import_system = system
    return conn


@pytest.fixture
def remote(conn):
    return conn.import_module(functions)


@pytest.fixture
def helpers(monkeypatch):
    monkeypatch.syspath_prepend(str(SHIPPED / "top"))
    names = ["shipped_helper", "shipped_pack", "shipped_pack.deep"]
    yield [importlib.import_module(name) for name in names]
    for name in names:
        sys.modules.pop(name, None)


def test_the_executor_is_what_the_connection_says(conn, remote, system):
    assert type(remote) is {"legacy": LegacyModuleExecute, "json": JsonModuleExecute}[system]
    assert conn.remote_module is remote


VALUES = [
    *(None, True, 0, -1, 2**70, 1.5, float("inf"), "", "ä€😀", "'\"\\\n\r\0", "[a, b],", "(1,)", "x" * 1_000_000),
    *([], {}, [1, [2, [3]]], {"a": {"b": [None]}}, {"ä": "ö"}),
]


def test_a_value_comes_back_as_it_was_sent(remote):
    for value in VALUES:
        assert remote.same(value) == value
    assert remote.echo(*VALUES, key=VALUES) == [VALUES, {"key": VALUES}]


def test_tuples_arrive_as_tuples(remote):
    assert remote.describe((1, ("a,", [("b]",)]), ())) == "tuple(1, tuple('a,', list(tuple('b]'))), tuple())"


def test_bytes_go_with_legacy_alone(remote, system):
    if system == "legacy":
        assert remote.same(b"\xff\0") == b"\xff\0"
    else:
        with pytest.raises(TypeError, match=r"argument 1 of same\(\): bytes can't be sent"):
            remote.same(b"\xff\0")


def test_what_can_not_be_sent_is_named_before_anything_is(remote):
    with pytest.raises(TypeError, match=r"argument 2 of echo\(\): object can't be sent"):
        remote.echo(1, object())
    with pytest.raises(TypeError, match=r"argument 'key' of echo\(\): list can't be sent"):
        remote.echo(1, key=[object()])
    assert remote.same(1) == 1


def test_a_result_that_can_not_be_sent(remote):
    with pytest.raises(FunctionError, match=r"unwieldy\(\).*(set|object)") as caught:
        remote.unwieldy()
    assert caught.value.exception_name == "TypeError"
    assert remote.same(1) == 1


def test_a_result_of_five_megabytes(remote):
    assert remote.large(5_000_000) == "x" * 5_000_000


def test_an_exception(remote, system):
    with pytest.raises(RuntimeError) as caught:
        remote.fail_deeper()
    error = caught.value
    assert isinstance(error, FunctionError)
    assert (error.exception_name, error.message, error.function) == ("ValueError", "ä from below", "fail_deeper")
    assert f'File "{functions.__file__}", line' in error.traceback
    assert "raise ValueError(message)" in error.traceback and "in fail_deeper" in error.traceback
    assert "remoto/remote" not in error.traceback
    last_line = "ValueError: ä from below"
    assert error.traceback.rstrip().endswith(last_line)
    assert str(error) == (last_line if system == "legacy" else error.traceback)
    assert remote.same(1) == 1


def test_globals_live_on_in_legacy_alone(remote, system):
    assert remote.count() == 1
    with pytest.raises(FunctionError):
        remote.fail("in between")
    assert remote.count() == (2 if system == "legacy" else 1)


def test_its_name_is_its_own(remote):
    assert remote.name() == functions.__name__


def test_what_is_printed_is_logged(remote, logged):
    assert remote.talk() == "answer"
    assert [text for text in logged.texts("DEBUG") if text in ("loaded", "to stdout", "no newline")] == [
        *("loaded", "to stdout", "no newline")
    ]
    assert logged.texts("WARNING") == ["to stderr"]


def test_what_a_child_prints_is_logged(remote, logged, system):
    assert remote.child() == 1
    level = "WARNING" if system == "legacy" else "DEBUG"
    deadline = time.monotonic() + 5
    while "from a child" not in logged.texts(level):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_first_line_of_a_docstring_is_logged(remote, logged):
    remote.echo()
    assert "Give back what came." in logged.texts("DEBUG")
    assert "More than one line." not in logged.texts("DEBUG")


def test_the_end_by_sys_exit(remote, logged):
    assert remote.leave(0) is None
    for code in (3, "some words"):
        with pytest.raises(FunctionError, match="^Unexpected remote exception"):
            remote.leave(code)
    assert "some words" in logged.texts("WARNING")
    assert 'error calling "leave"' in logged.texts("ERROR")
    assert remote.same(1) == 1


def test_a_function_that_is_not_there(remote):
    with pytest.raises(AttributeError, match=f"^module {functions.__name__} does not have attribute missing$"):
        remote.missing  # noqa: B018


def test_a_wrong_call(remote):
    with pytest.raises(FunctionError, match="TypeError"):
        remote.same()


def test_modules_that_are_included(conn, helpers):
    helper, pack, _ = helpers
    remote = conn.import_module(uses_helper, include=[helper, pack])
    assert remote.total([1, 2, 3]) == 12


def test_a_module_of_a_package_alone(conn, helpers):
    helper, _, deep = helpers
    remote = conn.import_module(uses_helper, include=[helper, deep])
    assert remote.total([1, 2, 3]) == 12


def test_a_module_that_is_missing(conn):
    remote = conn.import_module(uses_helper)
    with pytest.raises(ImportError, match=r"shipped_helper.*include=") as caught:
        remote.alone()
    assert isinstance(caught.value, ModuleMissing) and isinstance(caught.value, RuntimeError)


def test_a_module_that_can_not_be_loaded(conn, logged):
    remote = conn.import_module(broken)
    for _ in range(2):
        with pytest.raises(FunctionError) as caught:
            remote.function()
        assert caught.value.exception_name == "KeyError"
        assert broken.__file__ in caught.value.traceback
    assert "before it breaks" in logged.texts("DEBUG")


def test_the_environment_of_the_connection(connect, system):
    conn = connect(env={"FLAVOUR": "sweet & sour"})
    conn.remote_import_system = system
    assert conn.import_module(functions).environment("FLAVOUR") == "sweet & sour"


def test_it_runs_where_commands_run(conn, remote, connect):
    marker = f"/tmp/remoto-where-{time.monotonic_ns()}"
    remote.touch(marker)
    from remoto.process import check

    assert check(conn, ["rm", marker]).returncode == 0


def test_threads_share_a_module(remote):
    results = {}

    def work(number):
        results[number] = [remote.nap(0.01, [number, call]) for call in range(3)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert results == {number: [[number, call] for call in range(3)] for number in range(8)}


def test_a_function_that_recurses_for_ever(remote):
    with pytest.raises(FunctionError) as caught:
        remote.recurse()
    assert caught.value.exception_name in ("RecursionError", "RuntimeError")
    assert remote.same(1) == 1


@pytest.mark.parametrize("end", [lambda remote: remote.die(3), lambda remote: remote.kill()], ids=["exit", "signal"])
def test_a_far_python_that_dies(conn, remote, end, system, logged):
    if system == "json":
        with pytest.raises(FunctionError, match="^Unexpected remote exception: error calling"):
            end(remote)
        assert remote.same(1) == 1
    else:
        with pytest.raises(ConnectionLost, match="the connection ended before the function did"):
            end(remote)
        with pytest.raises(ConnectionLost):
            remote.same(1)


def test_a_far_python_that_ends_well_without_an_answer(connect):
    conn = connect()
    conn.remote_import_system = "json"
    assert conn.import_module(functions).die(0) is None


def test_generators(connect, tmp_path):
    conn = connect()
    conn.remote_import_system = "legacy"
    remote = conn.import_module(functions)
    assert list(remote.numbers(1000)) == list(range(1000))
    failing = remote.broken_numbers()
    assert next(failing) == 1
    with pytest.raises(FunctionError, match="ValueError: broken"):
        next(failing)
    stopped = f"/tmp/remoto-stopped-{time.monotonic_ns()}"
    for number in remote.numbers(10**9, stopped):
        if number == 100:
            break
    deadline = time.monotonic() + 10
    while not remote.exists(stopped):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    go_on = f"/tmp/remoto-go-on-{time.monotonic_ns()}"
    items = remote.slowly(go_on)
    assert next(items) == "first"
    remote.touch(go_on)
    assert list(items) == ["second"]


def test_a_generator_is_nothing_that_json_carries(connect):
    conn = connect()
    conn.remote_import_system = "json"
    with pytest.raises(FunctionError, match=r"numbers\(\) returned generator"):
        conn.import_module(functions).numbers(3)


def test_a_wrong_interpreter(connect):
    conn = connect()
    remote = JsonModuleExecute(conn, functions)
    remote.python_executable = "no-such-python"
    with pytest.raises(CommandError, match="^Failed to execute command: no-such-python$"):
        remote.same(1)
    remote.python_executable = get_python_executable(conn)
    assert remote.same(1) == 1


def test_the_interpreter_is_looked_for_once_and_a_call_is_one_command(connect, monkeypatch):
    conn = connect()
    conn.remote_import_system = "json"
    commands = []
    check = remoto.backends.check
    monkeypatch.setattr(remoto.backends, "check", lambda *args, **kw: commands.append(args[1]) or check(*args, **kw))
    for module in (functions, uses_helper):
        conn.import_module(module)
    conn.import_module(functions).same(1)
    conn.import_module(functions).same(2)
    assert [command[0] for command in commands] == ["/bin/sh", get_python_executable(conn), get_python_executable(conn)]


def test_a_lost_connection(sshd):
    conn = remoto.Connection("node0")
    remote = conn.import_module(functions)
    json = JsonModuleExecute(conn, functions, python_executable="python3")
    failures = []

    def call(executor):
        try:
            executor.nap(50, 1)
        except RuntimeError as error:
            failures.append(error)

    remote.same(1)
    threads = [threading.Thread(target=call, args=(executor,)) for executor in (remote, json)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)  # a call has no event that tells of its start
    sshd.drop_sessions()
    for thread in threads:
        thread.join(20)
    assert [type(error) for error in failures] == [ConnectionLost, ConnectionLost]
    assert all("node0" in str(error) for error in failures)
    for executor in (remote, json):
        with pytest.raises(ConnectionLost):
            executor.same(1)
    conn.exit()


@pytest.mark.parametrize("shell", ["docker_shell", "podman_shell", "kube_shell"])
def test_a_container_without_python(request, shell):
    name = request.getfixturevalue(shell)
    backend = remoto.connection.get({"d": "docker", "p": "podman", "k": "kubernetes"}[shell[0]])
    conn = backend(name) if shell == "kube_shell" else backend(container_name=name)
    for system in ("json", "legacy"):
        conn.remote_import_system = system
        with pytest.raises(ConnectError, match=re.escape(name)) as caught:
            conn.import_module(functions).same(1)
        assert caught.value.kind == "interpreter"
    conn.exit()


def test_every_far_python(pythons):
    """JSON calls on all of them; legacy on those that the execnet here can start."""
    with remoto.Connection("localhost") as conn:
        for version, path in sorted(pythons.items()):
            remote = conn.import_module(functions, python_executable=path)
            assert remote.version() == list(version)
            assert remote.same("ä€😀") == "ä€😀" == remote.non_ascii()
            assert remote.describe((1, (2.5, [None, "x"]))) == "tuple(1, tuple(2.5, list(None, 'x')))"
            with pytest.raises(FunctionError) as caught:
                remote.fail_deeper()
            assert caught.value.message == "ä from below" or version == (2, 7)
            assert remote.talk() == "answer"
    oldest = (2, 7) if execnet.__version__ < "2" else (3, 8)
    for version, path in sorted(pythons.items()):
        if version < oldest:
            continue
        with remoto.Connection("localhost", interpreter=path) as conn:
            remote = conn.import_module(functions)
            assert remote.version() == list(version)
            assert remote.same(["ä€😀"]) == ["ä€😀"]
            assert list(remote.numbers(3)) == [0, 1, 2]
            with pytest.raises(FunctionError, match="ValueError: plain"):
                remote.fail("plain")
            assert remote.count() == 1


def test_include_on_the_oldest_python(pythons, helpers):
    _, path = min(pythons.items())
    helper, pack, _ = helpers
    with remoto.Connection("localhost") as conn:
        remote = conn.import_module(uses_helper, path, include=[helper, pack])
        assert remote.total([1, 2, 3]) == 12
        with pytest.raises(ImportError, match="include="):
            conn.import_module(uses_helper, path).alone()


def test_an_answer_that_is_none(connect):
    class Channel:
        def send(self, item):
            pass

        def receive(self, timeout=None):
            return 42

        def close(self):
            pass

    conn = connect()
    conn.remote_import_system = "legacy"
    remote = conn.import_module(functions)
    assert remote.same(1) == 1
    remote._idle.append(Channel())
    with pytest.raises(FunctionError, match=r"same\(\) was answered by something that is not an answer: 42"):
        remote.same(1)
