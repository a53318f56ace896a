"""The contract of remote functions: the same for both executors, over every backend."""

import collections
import enum
import gc
import importlib
import logging
import math
import re
import sys
import threading
import time
import uuid
from pathlib import Path

import execnet
import pytest

import remoto
from remoto.backends import JsonModuleExecute, LegacyModuleExecute, get_python_executable
from remoto.exc import CommandError, ConnectError, ConnectionLost, FunctionError, ModuleMissing
from remoto.functions.shipping import Shipment
from remoto.process import check, run
from tests.integration.backends import SHELLS
from tests.integration.leftovers import wait_until
from tests.integration.shipped import broken, functions, latin, leaves, trouble, uses_helper

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
def legacy(connect):
    conn = connect()
    conn.remote_import_system = "legacy"
    return conn


@pytest.fixture
def json(connect):
    conn = connect()
    conn.remote_import_system = "json"
    return conn


def idle(remote):
    return remote._remoto_calls.idle


@pytest.fixture
def parts(monkeypatch):
    """A package with a module that must not be imported here."""
    monkeypatch.syspath_prepend(str(SHIPPED / "top"))
    yield importlib.import_module("shipped_parts")
    for name in [name for name in sys.modules if name.partition(".")[0] == "shipped_parts"]:
        del sys.modules[name]


@pytest.fixture
def helpers(monkeypatch):
    monkeypatch.syspath_prepend(str(SHIPPED / "top"))
    names = ["shipped_helper", "shipped_pack", "shipped_pack.deep"]
    yield [importlib.import_module(name) for name in names]
    for name in names:
        sys.modules.pop(name, None)


def test_import_module_returns_the_class_of_the_import_system(conn, remote, system):
    assert type(remote) is {"legacy": LegacyModuleExecute, "json": JsonModuleExecute}[system]
    assert conn.remote_module is remote


VALUES = [
    *(None, True, 0, -1, 2**70, 1.5, float("inf"), "", "ä€😀", "'\"\\\n\r\0", "[a, b],", "(1,)", "x" * 1_000_000),
    *([], {}, [1, [2, [3]]], {"a": {"b": [None]}}, {"ä": "ö"}),
]


def test_value_is_returned_unchanged(remote, connect):
    # a JSON call in a container takes long
    for value in VALUES[::4] if connect.in_container else VALUES:
        assert remote.same(value) == value
    assert remote.echo(*VALUES, key=VALUES) == [VALUES, {"key": VALUES}]


def test_tuples_arrive_as_tuples(remote):
    assert remote.describe((1, ("a,", [("b]",)]), ())) == "tuple(1, tuple('a,', list(tuple('b]'))), tuple())"


def test_bytes_can_be_arguments(conn):
    remote = conn.import_module(trouble)
    assert remote.hexed(b"\xff\0'\"\n") == "bytes ff0027220a"
    assert remote.hexed([1, (b"a", {b"k": {"v": b""}})]) == [1, ["bytes 61", [["bytes 6b", [["v", "bytes "]]]]]]


def test_sets_can_be_arguments(remote):
    assert remote.kinds({1}, set(), frozenset(["a"]), frozenset(), {frozenset([(1, "b")])}) == [
        *("set", "set", "frozenset", "frozenset", "set")
    ]


def test_bytes_can_be_results_of_legacy_calls_only(remote, system):
    if system == "legacy":
        assert remote.same(b"\xff\0") == b"\xff\0"
    else:
        with pytest.raises(FunctionError, match=r"same\(\) returned bytes, which JSON can't carry"):
            remote.same(b"\xff\0")


def test_builtins_are_a_module_in_json_calls(json):
    remote = json.import_module(trouble)
    assert {"print", "len", "ValueError"} <= set(remote.builtin_names())
    assert json.import_module(functions).name() == functions.__name__


def test_argument_that_cannot_be_sent_is_named_in_the_error(remote):
    with pytest.raises(TypeError, match=r"argument 2 of echo\(\): object can't be sent"):
        remote.echo(1, object())
    with pytest.raises(TypeError, match=r"argument 'key' of echo\(\): list can't be sent"):
        remote.echo(1, key=[object()])
    assert remote.same(1) == 1


def test_result_that_cannot_be_sent_raises_function_error(remote):
    with pytest.raises(FunctionError, match=r"unwieldy\(\).*(set|object)") as caught:
        remote.unwieldy()
    assert caught.value.exception_name == "TypeError"
    assert remote.same(1) == 1


def test_result_of_five_megabytes_is_returned(remote):
    assert remote.large(5_000_000) == "x" * 5_000_000


def test_exception_raises_function_error_with_its_traceback(remote, system):
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


def test_globals_persist_in_legacy_calls_only(remote, system):
    assert remote.count() == 1
    with pytest.raises(FunctionError):
        remote.fail("in between")
    assert remote.count() == (2 if system == "legacy" else 1)


def test_module_keeps_its_name(remote):
    assert remote.name() == functions.__name__


def test_printed_lines_are_logged(remote, logged):
    assert remote.talk() == "answer"
    assert [text for text in logged.texts("DEBUG") if text in ("loaded", "to stdout", "no newline")] == [
        *("loaded", "to stdout", "no newline")
    ]
    assert logged.texts("WARNING") == ["to stderr"]


def test_lines_printed_by_a_child_process_are_logged(remote, logged, system):
    assert remote.child() == 1
    level = "WARNING" if system == "legacy" else "DEBUG"
    wait_until(lambda: "from a child" in logged.texts(level))


def test_first_line_of_a_docstring_is_logged(remote, logged):
    remote.echo()
    assert "Give back what came." in logged.texts("DEBUG")
    assert "More than one line." not in logged.texts("DEBUG")


def test_sys_exit_returns_none_or_raises_by_its_status(remote, logged):
    assert remote.leave(0) is None
    for code in (3, "some words"):
        with pytest.raises(FunctionError, match="^Unexpected remote exception"):
            remote.leave(code)
    assert "some words" in logged.texts("WARNING")
    assert 'error calling "leave"' in logged.texts("ERROR")
    assert remote.same(1) == 1


def test_missing_function_is_an_attribute_error(remote):
    with pytest.raises(AttributeError) as caught:
        remote.missing  # noqa: B018
    assert str(caught.value) == f"module {functions!r} does not have attribute missing"


def test_dir_lists_the_functions_of_the_module(conn):
    names = dir(conn.import_module(trouble))
    assert {"same", "fork", "_log", "Point", "CONSTANT"} & set(names) == {"same", "fork", "_log", "Point"}
    assert {"CONSTANT", "KEPT", "os", "__name__"} & set(names) == set()
    assert {"module", "logger"} <= set(names)


def test_completion_lists_the_functions_of_the_module(conn):
    import rlcompleter

    completer = rlcompleter.Completer({"remote": conn.import_module(trouble)})
    found = []
    while (text := completer.complete("remote.print_", len(found))) is not None:
        found.append(text.split("(")[0])
    assert found == sorted(f"remote.{name}" for name in vars(trouble) if name.startswith("print_"))


def test_call_with_wrong_arguments_raises_function_error(remote):
    with pytest.raises(FunctionError, match="TypeError"):
        remote.same()


def test_included_modules_can_be_imported(conn, helpers):
    helper, pack, _ = helpers
    remote = conn.import_module(uses_helper, include=[helper, pack])
    assert remote.total([1, 2, 3]) == 12


def test_module_of_a_package_can_be_included_alone(conn, helpers):
    helper, _, deep = helpers
    remote = conn.import_module(uses_helper, include=[helper, deep])
    assert remote.total([1, 2, 3]) == 12


def test_missing_module_raises_import_error_that_names_include(conn):
    remote = conn.import_module(uses_helper)
    with pytest.raises(ImportError, match=r"shipped_helper.*include=") as caught:
        remote.alone()
    assert isinstance(caught.value, ModuleMissing) and isinstance(caught.value, RuntimeError)


def test_module_that_fails_to_load_raises_on_each_call(conn, logged):
    remote = conn.import_module(broken)
    for _ in range(2):
        with pytest.raises(FunctionError) as caught:
            remote.function()
        assert caught.value.exception_name == "KeyError"
        assert broken.__file__ in caught.value.traceback
    assert "before it breaks" in logged.texts("DEBUG")


def test_functions_get_the_environment_of_the_connection(connect, system):
    conn = connect(env={"FLAVOUR": "sweet & sour"})
    conn.remote_import_system = system
    assert conn.import_module(functions).environment("FLAVOUR") == "sweet & sour"


def test_functions_run_where_commands_run(conn, remote, connect):
    marker = f"/tmp/remoto-where-{time.monotonic_ns()}"
    remote.touch(marker)
    assert check(conn, ["rm", marker]).returncode == 0


def test_threads_share_a_module(remote):
    results = {}

    def work(number):
        results[number] = [remote.nap(0.01, [number, call]) for call in range(2)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert results == {number: [[number, call] for call in range(2)] for number in range(6)}


def test_endless_recursion_raises_function_error(remote):
    with pytest.raises(FunctionError) as caught:
        remote.recurse()
    assert caught.value.exception_name in ("RecursionError", "RuntimeError")
    assert remote.same(1) == 1


@pytest.mark.parametrize("end", [lambda remote: remote.die(3), lambda remote: remote.kill()], ids=["exit", "signal"])
def test_remote_python_that_ends_raises_an_error(conn, remote, end, system, logged):
    if system == "json":
        with pytest.raises(FunctionError, match="^Unexpected remote exception: error calling"):
            end(remote)
        assert remote.same(1) == 1
    else:
        with pytest.raises(ConnectionLost, match="the connection ended before the function did"):
            end(remote)
        with pytest.raises(ConnectionLost):
            remote.same(1)


def test_exit_status_zero_without_an_answer_returns_none(connect):
    conn = connect()
    conn.remote_import_system = "json"
    assert conn.import_module(functions).die(0) is None


def test_generator_yields_raises_and_ends_with_its_loop(connect, tmp_path):
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
    wait_until(lambda: remote.exists(stopped))
    go_on = f"/tmp/remoto-go-on-{time.monotonic_ns()}"
    items = remote.slowly(go_on)
    assert next(items) == "first"
    remote.touch(go_on)
    assert list(items) == ["second"]


def test_generator_is_refused_by_json_calls(connect):
    conn = connect()
    conn.remote_import_system = "json"
    with pytest.raises(FunctionError, match=r"numbers\(\) returned generator, .* 'legacy' streams generators"):
        conn.import_module(functions).numbers(3)


def test_python_executable_that_does_not_exist_raises_command_error(connect):
    conn = connect()
    remote = JsonModuleExecute(conn, functions)
    remote.python_executable = "no-such-python"
    with pytest.raises(CommandError) as caught:
        remote.same(1)
    assert str(caught.value) == "Failed to execute command: no-such-python"
    remote.python_executable = get_python_executable(conn)
    assert remote.same(1) == 1


def test_interpreter_is_searched_once_and_a_call_is_one_command(connect, monkeypatch):
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


def test_lost_connection_ends_running_calls(sshd, tmp_path):
    conn = remoto.Connection("node0")
    remote = conn.import_module(functions)
    json = JsonModuleExecute(conn, functions, python_executable="python3")
    begun, failures = [tmp_path / "legacy", tmp_path / "json"], []

    def call(executor, path):
        try:
            executor.touch_and_nap(str(path), 50)
        except RuntimeError as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=call_of) for call_of in zip((remote, json), begun)]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(path.exists() for path in begun))
    sshd.drop_sessions()
    for thread in threads:
        thread.join(50)
    assert [type(error) for error in failures] == [ConnectionLost, ConnectionLost]
    assert all("node0" in str(error) for error in failures)
    for executor in (remote, json):
        with pytest.raises(ConnectionLost):
            executor.same(1)
    conn.exit()


@pytest.mark.parametrize("shell", ["docker_shell", "podman_shell", "kube_shell"])
def test_container_without_python_raises_connect_error(request, shell):
    name = request.getfixturevalue(shell)
    conn = SHELLS[f"{shell.partition('_')[0].replace('kube', 'kubernetes')}-shell"](request)()
    for system in ("json", "legacy"):
        conn.remote_import_system = system
        with pytest.raises(ConnectError, match=re.escape(name)) as caught:
            conn.import_module(functions).same(1)
        assert caught.value.kind == "interpreter"
        # commands work there
        assert "cannot connect" not in str(caught.value)
    conn.exit()


def test_functions_run_on_every_remote_python(pythons):
    """JSON calls run on all Pythons, legacy calls on those that the installed execnet can start."""
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
            remote = conn.import_module(trouble, python_executable=path)
            assert remote.hexed([b"\xff", (b"", "x")]) == ["bytes ff", ["bytes ", "x"]]
            assert "len" in remote.builtin_names()
    oldest = (2, 7) if execnet.__version__ < "2" else (3, 7)
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
            remote = conn.import_module(trouble)
            assert remote.big(5000) == -(10**5000) == remote.same(-(10**5000))
            assert remote.smallest() == [-(2**31), -(2**31) - 1, -(2**70), 2**70]
            assert remote.print_odd() is None
            assert remote.threads() == MAIN and remote.alarm() == "alarmed"


def test_include_works_on_the_oldest_python(pythons, helpers):
    _, path = min(pythons.items())
    helper, pack, _ = helpers
    with remoto.Connection("localhost") as conn:
        remote = conn.import_module(uses_helper, path, include=[helper, pack])
        assert remote.total([1, 2, 3]) == 12
        with pytest.raises(ImportError, match="include="):
            conn.import_module(uses_helper, path).alone()


# channels of the legacy executor


def nested_list(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


WRONG_ANSWERS = [
    *(42, None, "return", [], ("return",), ("return", 1, True, 4), ("return", 1, 2), ["return", 1], ([], 1)),
    *(("item", 1), ("end", None), ("unknown", 1), ("generator", 5), ("debug", 5), ("warning", None)),
    *(("raise", None), ("raise", {}), ("raise", {"name": "E", "message": 1, "traceback": "", "missing": False})),
    *(("return", (), True), ("return", ("int",), True), ("return", ("int", "zz"), True), ("return", ("text", 5), True)),
    *(("item", 10**5000), ("raise", nested_list(100_000)), ("return", nested_list(100_000), True)),
]


@pytest.fixture
def answered(monkeypatch):
    """A function that replaces the next answers received on a channel."""

    def answered(channel, *answers):
        left = list(answers)
        monkeypatch.setattr(channel, "receive", lambda: left.pop(0))

    return answered


@pytest.mark.parametrize("number", range(len(WRONG_ANSWERS)))
def test_invalid_answer_to_a_call_raises_an_error_that_names_the_host(answered, number):
    with remoto.Connection("localhost") as conn:
        remote = conn.import_module(functions)
        assert remote.same(1) == 1
        answered(idle(remote)[0], WRONG_ANSWERS[number])
        with pytest.raises(FunctionError, match=r"invalid answer to same\(\) on localhost"):
            remote.same(1)
        assert idle(remote) == []
        assert remote.same(2) == 2


@pytest.mark.parametrize(
    "answer", [42, ("return", 1), ("generator", None), ("item", (), True), ("raise", {}), ("end", 1)]
)
def test_invalid_item_of_a_generator_raises_an_error_that_names_the_host(answered, answer):
    with remoto.Connection("localhost") as conn:
        remote = conn.import_module(functions)
        items = remote.numbers(10**9)
        assert next(items) == 0
        answered(items.gi_frame.f_locals["channel"], answer)
        with pytest.raises(FunctionError, match=r"invalid answer to numbers\(\) on localhost"):
            next(items)
        assert remote.same(2) == 2


@pytest.mark.parametrize("answer", [42, ("return", 1), ("debug", 5), ("other", "line"), ("debug", "a", "b")])
def test_invalid_answer_to_loading_raises_an_error_that_names_the_host(answered, answer):
    with remoto.Connection("localhost") as conn:
        remote = conn.import_module(functions)
        answered(remote.channel, answer)
        with pytest.raises(FunctionError, match=r"invalid answer to same\(\) on localhost"):
            remote.same(1)


def test_error_outside_the_function_raises_function_error(legacy, monkeypatch):
    remote = legacy.import_module(functions)
    assert remote.same(1) == 1

    def receive():
        raise execnet.RemoteError("Traceback\nOSError: no threads left")

    monkeypatch.setattr(idle(remote)[0], "receive", receive)
    with pytest.raises(FunctionError, match="^OSError: no threads left$"):
        remote.same(1)
    assert idle(remote) == []
    assert remote.same(2) == 2


def test_closed_channel_is_replaced(legacy):
    remote = legacy.import_module(functions)
    assert remote.count() == 1
    idle(remote)[0].close()
    assert remote.count() == 2
    assert len(idle(remote)) == 1


def test_one_channel_serves_successive_calls(legacy):
    remote = legacy.import_module(functions)
    remote.same(1)
    [channel] = idle(remote)
    with pytest.raises(FunctionError):
        remote.fail("in between")
    remote.same(1)
    assert idle(remote) == [channel]


def test_unused_modules_are_dropped_on_the_remote_side(legacy):
    import posixpath

    def kept():
        source = "import sys; channel.send(len(sys.modules['remoto_remote.modules'].MODULES))"
        return legacy.inside().remote_exec(source).receive()

    for _ in range(5):
        legacy.import_module(posixpath).join("a", "b")
    legacy.remote_module = None
    gc.collect()
    legacy.import_module(posixpath).join("a", "b")
    assert kept() == 1


# the main thread, the only one in which Python sets signal handlers

MAIN = ["MainThread", "MainThread"]


def temporary(name):
    return f"/tmp/remoto-{name}-{time.monotonic_ns()}"


def wait_for_remote_file(conn, path):
    """Wait until a remote file exists, by commands only."""
    script = f"for i in $(seq 600); do test -e {path} && exit; sleep 0.05; done; exit 1"
    assert check(conn, ["sh", "-c", script]).returncode == 0


def test_legacy_calls_run_in_the_main_thread(legacy):
    assert check(legacy, ["true"]).returncode == 0
    first, second = legacy.import_module(trouble), legacy.import_module(functions)
    for _ in range(20):
        assert first.threads() == MAIN
        second.same(1)
        with pytest.raises(FunctionError):
            second.fail("in between")
    assert legacy.import_module(trouble).threads() == MAIN


def test_command_leaves_the_main_thread_to_calls(legacy):
    remote = legacy.import_module(trouble)
    path, begun = temporary("go-on"), threading.Event()
    command = ["sh", "-c", f"echo begun; while test ! -e {path}; do sleep 0.05; done"]
    running = threading.Thread(target=run, args=(legacy, command), kwargs={"on_stdout": lambda line: begun.set()})
    running.start()
    assert begun.wait(50)
    for _ in range(3):
        assert remote.threads() == MAIN
    assert legacy.import_module(functions).touch(path) is None
    running.join(50)
    assert not running.is_alive()


def test_concurrent_calls_run_in_several_threads(legacy):
    remote, path, names = legacy.import_module(trouble), temporary("go-on"), []
    remote.same(1)
    threads = [threading.Thread(target=lambda: names.append(remote.thread_of_a_nap(path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert remote.same(1) == 1
    legacy.import_module(functions).touch(path)
    for thread in threads:
        thread.join(50)
    assert len(names) == 3
    # then the main thread is free again
    assert remote.threads() == MAIN


def test_open_generator_leaves_the_main_thread_to_calls(legacy):
    remote = legacy.import_module(trouble)
    names = remote.endless_threads()
    for _ in range(40):
        assert next(names) != "MainThread"
        assert remote.threads() == MAIN
    names.close()


def test_signal_handler_ends_a_wait_in_a_call(legacy):
    remote = legacy.import_module(trouble)
    for _ in range(3):
        assert remote.alarm() == "alarmed"


def test_call_that_gets_more_signals_than_a_pipe_holds_logs_nothing(legacy, logged):
    remote = legacy.import_module(trouble)
    assert remote.count_signals(70_000) > 65_536
    assert remote.threads() == MAIN
    assert logged.texts("WARNING") == []


def test_signal_handler_runs_between_two_calls(legacy):
    remote, path = legacy.import_module(trouble), temporary("alarmed")
    remote.alarm_later(path, False)
    wait_for_remote_file(legacy, path)
    assert remote.same(1) == 1


def test_signal_handler_that_raises_between_two_calls_is_logged(legacy, logged):
    remote = legacy.import_module(trouble)
    for _ in range(3):
        path = temporary("alarmed")
        remote.alarm_later(path, True)
        wait_for_remote_file(legacy, path)
        assert remote.threads() == MAIN
    wait_until(lambda: "ValueError: from a handler" in logged.texts("WARNING"))


def test_legacy_calls_work_over_a_gateway_opened_by_execnet():
    gateway = execnet.makegateway(f"popen//python={sys.executable}")
    try:
        remote = LegacyModuleExecute(gateway, functions)
        assert [remote.count() for _ in range(3)] == [1, 2, 3]
        assert list(remote.numbers(50)) == list(range(50))
    finally:
        gateway.exit()
        gateway._group.terminate(5)


# values


class Colour(enum.IntEnum):
    RED = -(2**40)


class Text(str):
    __slots__ = ()


Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024  # programs use it


def test_integers_of_any_size_are_returned_unchanged(remote):
    for number in (-(2**31), -(2**31) - 1, -(2**31) * 2, -(2**70), 2**31, 2**70):
        assert remote.same(number) == number
        assert remote.same([{"deep": (number,)}]) in ([{"deep": (number,)}], [{"deep": [number]}])


def test_integers_made_on_the_remote_side_are_received(conn):
    assert conn.import_module(trouble).smallest() == [-(2**31), -(2**31) - 1, -(2**70), 2**70]


def test_integers_beyond_the_digit_limit_pass_legacy_calls(legacy):
    remote = legacy.import_module(trouble)
    assert remote.big(5000) == -(10**5000)
    assert remote.same([10**5000, ("int", "ff"), {"text": b"\xff"}]) == [10**5000, ("int", "ff"), {"text": b"\xff"}]


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python knows no such limit")
def test_integers_beyond_the_digit_limit_are_refused_by_json_calls(json):
    remote = json.import_module(functions)
    with pytest.raises(TypeError, match=r"argument 'value' of same\(\): int can't be sent.*4300"):
        remote.same(value=10**5000)
    with pytest.raises(FunctionError):
        json.import_module(trouble).big(5000)


def test_subclasses_arrive_as_their_builtin_base_types(conn):
    remote = conn.import_module(trouble)
    for value, kind in [
        (collections.OrderedDict(a=1), "dict"),
        (collections.defaultdict(int, a=1), "dict"),
        (Pair(1, 2), "tuple"),
        (Colour.RED, "int"),
        (Text("a"), "str"),
    ]:
        assert remote.kind(value) == kind
        assert remote.same(value) in (value, list(value) if isinstance(value, tuple) else value)
        assert remote.same([None, {"key": value}])[1] in (
            {"key": value},
            {"key": list(value)} if kind == "tuple" else 0,
        )
    assert [tuple(point) if i == 0 else point for i, point in enumerate(remote.named())] == [(1, 2), {"a": 1}, {"b": 2}]


def test_lone_surrogates_are_returned_unchanged(conn):
    remote = conn.import_module(trouble)
    assert remote.same(["a\udcff", {"\udcfe": "ä"}]) == ["a\udcff", {"\udcfe": "ä"}]
    assert remote.odd_text() == "a\udcff"


def test_nan_and_infinities_are_returned_unchanged(conn):
    remote = conn.import_module(trouble)
    for nan, *infinite in (remote.special_numbers(), remote.same([math.nan, math.inf, -math.inf])):
        assert math.isnan(nan) and infinite == [math.inf, -math.inf]


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_values_nested_45_deep_are_returned_unchanged(conn, system):
    remote = conn.import_module(trouble)
    assert remote.same(nested(45)) == nested(45)
    if system == "json":
        with pytest.raises(TypeError, match=r"argument 'value' of same\(\): list can't be sent.*45 levels deep"):
            remote.same(value=nested(46))


def test_value_that_contains_itself_is_refused(conn):
    value = []
    value.append(value)
    remote = conn.import_module(trouble)
    with pytest.raises(TypeError, match=r"argument 1 of same\(\): list can't be sent"):
        remote.same(value)
    with pytest.raises(FunctionError, match=r"cycle\(\) returned list, which (JSON|execnet) can't carry"):
        remote.cycle()
    assert remote.same(1) == 1


def test_nothing_is_sent_if_an_argument_is_invalid(conn, monkeypatch, system):
    remote = conn.import_module(functions)
    sent = []
    if system == "legacy":
        monkeypatch.setattr(remote.gateway, "_send", lambda *message: sent.append(message))
    else:
        monkeypatch.setattr(remoto.backends, "check", lambda *args, **kw: sent.append(args))
    with pytest.raises(TypeError, match=r"argument 1 of same\(\)"):
        remote.same(object())
    assert sent == []


def test_keys_become_text_in_json(json):
    remote = json.import_module(trouble)
    assert remote.keyed("numbers") == {"1": 5, "1.5": 3, "null": 4}
    for how, kind in [("tuple", "dict"), ("bytes", "bytes"), ("odd", "object")]:
        with pytest.raises(
            FunctionError, match=rf"keyed\(\) returned {kind}, which JSON can't carry(: keys must be .*)?\s*$"
        ) as caught:
            remote.keyed(how)
        assert caught.value.exception_name == "TypeError"
        assert "remoto" not in caught.value.traceback and "json/" not in caught.value.traceback


# functions that change their Python


def test_calls_work_after_a_function_has_forked(conn):
    remote = conn.import_module(trouble)
    for end, status in (("return", 0), ("raise", 1), ("exit", 3)):
        assert remote.fork(end) == status
        assert [remote.same(number) for number in range(3)] == [0, 1, 2]


def test_forked_child_sends_no_answer_in_json_calls(json, monkeypatch):
    answers = []
    check = remoto.backends.check

    def watched(*args, **kw):
        result = check(*args, **kw)
        answers.extend(line for line in result.stdout if "remoto-answer" in line)
        return result

    monkeypatch.setattr(remoto.backends, "check", watched)
    for end in ("return", "raise", "exit"):
        json.import_module(trouble).fork(end)
    assert len(answers) == 3


def test_generator_that_forks_yields_all_items(legacy):
    remote = legacy.import_module(trouble)
    assert list(remote.fork_generator()) == ["parent", 1]
    assert remote.same(1) == 1


def test_answer_arrives_after_a_function_closes_or_redirects_stdout(json):
    remote = json.import_module(trouble)
    assert remote.close_stdout() == "closed"
    assert remote.redirect_stdout() == "redirected"
    assert remote.close_all() == "closed"


def test_printed_lone_surrogates_are_escaped(conn, logged):
    remote = conn.import_module(trouble)
    remote.print_odd()
    assert [text for text in logged.texts("DEBUG") if "udcff" in text] == ["loaded \\udcff", "ä€\\udcff"]
    assert "ö\\udcff" in logged.texts("WARNING")
    for name, shown in [
        ("odd_error", "ä\\udcff"),
        ("nasty_error", "(its text is not available)"),
        ("lying_error", "about its class"),
    ]:
        with pytest.raises(FunctionError) as caught:
            getattr(remote, name)()
        assert caught.value.message == shown
        str(caught.value).encode("utf-8")
    assert remote.same(1) == 1


def test_printed_bytes_that_are_not_utf_8_are_logged(conn, logged, system):
    conn.import_module(trouble).print_bytes()
    assert {"legacy": "\ufffd", "json": "\\xff"}[system] in logged.texts("DEBUG")


def test_last_stderr_lines_that_are_not_utf_8_are_in_the_error(json):
    with pytest.raises(FunctionError) as caught:
        json.import_module(trouble).odd_last_words()
    assert "last \\xff words" in str(caught.value).splitlines() and "last" in caught.value.traceback


def test_long_line_printed_in_pieces_is_logged_as_one(conn, logged):
    conn.import_module(trouble).print_without_an_end(100_000)
    assert "x" * 100_000 in logged.texts("DEBUG")


def test_lines_printed_by_a_thread_of_a_function_are_logged(conn, logged):
    conn.import_module(trouble).print_in_a_thread()
    assert "from a thread" in logged.texts("DEBUG")


def test_function_may_wrap_its_stdout(connect, logged, system):
    conn = connect()
    conn.remote_import_system = system
    remote = conn.import_module(trouble)
    remote.wrap_stdout()
    assert "wrapped" in logged.texts("DEBUG")
    assert remote.same(1) == 1


@pytest.mark.parametrize("status", [126, 127])
def test_exit_status_that_shells_use_as_well_is_reported(json, status):
    with pytest.raises(FunctionError, match=f"Unexpected remote exception.*exit status {status}"):
        json.import_module(trouble).exit_now(status)


def test_function_killed_by_sighup_does_not_count_as_a_timeout(json):
    json.global_timeout = 50
    with pytest.raises(FunctionError, match="exit status (-1|129)"):
        json.import_module(trouble).hang_up()


def test_global_timeout_ends_a_json_call(connect):
    conn = connect()
    remote = JsonModuleExecute(conn, functions, python_executable=get_python_executable(conn))
    conn.global_timeout = 0.5
    with pytest.raises(FunctionError, match=r"no answer within 0.5 seconds \(global_timeout\)") as raised:
        remote.nap(20, 1)
    # by this cause, a group recognises a timeout
    assert isinstance(raised.value.__cause__, TimeoutError)


def test_exit_without_a_status_returns_none(conn):
    remote = conn.import_module(trouble)
    assert remote.leave(False) is None
    with pytest.raises(FunctionError, match="exit status 1$"):
        remote.leave_truly()
    assert conn.import_module(leaves).function() is None


def test_generator_that_calls_sys_exit_ends(legacy):
    assert list(legacy.import_module(trouble).leaving_generator()) == [1]


def test_generator_runs_no_further_than_its_window(legacy):
    """The generator starts at the first request, and then runs 32 items ahead."""
    path = f"/tmp/remoto-window-{time.monotonic_ns()}"
    remote = legacy.import_module(trouble)
    items = remote.touching_generator(path)
    assert remote.read(path) is None
    assert next(items) == 0
    wait_until(lambda: remote.read(path) == "31")
    assert [next(items) for _ in range(20)] == list(range(1, 21))
    wait_until(lambda: remote.read(path) == "47")
    items.close()
    assert remote.read(path) == "47"


def test_late_request_for_items_is_ignored(legacy, monkeypatch):
    remote = legacy.import_module(functions)
    items = remote.numbers(16)
    assert next(items) == 0
    channel = items.gi_frame.f_locals["channel"]
    with monkeypatch.context() as patch:
        patch.setattr(channel, "close", lambda: None)
        assert list(items) == list(range(1, 16))
    # the remote thread has received the late request
    idle(remote)[:] = [channel]
    assert remote.same(1) == 1
    assert idle(remote) == [channel]


def test_closing_a_generator_closes_its_channel(legacy):
    """The channel is closed without waiting for garbage collection."""
    items = legacy.import_module(functions).numbers(10**9)
    next(items)
    channel = items.gi_frame.f_locals["channel"]
    items.close()
    assert channel.isclosed()


def test_leaving_a_generator_closes_it_on_the_remote_side(legacy):
    path = f"/tmp/remoto-closed-{time.monotonic_ns()}"
    remote = legacy.import_module(trouble)
    for number in remote.kept_generator(path):
        if number == 100:
            break
    wait_until(lambda: remote.read(path) is not None)


# modules


def test_package_imports_its_own_modules(conn, parts, monkeypatch):
    monkeypatch.setenv("REMOTO_TEST_HERE", "1")
    remote = conn.import_module(parts)
    assert "shipped_parts.sub" not in sys.modules
    monkeypatch.delenv("REMOTO_TEST_HERE")
    assert remote.total([1, 2, 3]) == 12
    assert conn.import_module(parts, include=[parts]).total([1, 2]) == 6
    assert conn.import_module(parts, include=parts).total([1, 2]) == 6


def test_package_with_links_to_itself_is_sent_once(tmp_path, monkeypatch):
    package = tmp_path / "shipped_circle"
    (package / "sub").mkdir(parents=True)
    for directory in (package, package / "sub"):
        (directory / "__init__.py").write_text("")
    (package / "sub" / "again").symlink_to(package)
    (package / "again").symlink_to(package / "sub")
    monkeypatch.syspath_prepend(str(tmp_path))
    shipment = Shipment.of(importlib.import_module("shipped_circle"), ())
    found = [name.partition(".")[2] for name in shipment.included]
    assert sorted(found) == ["again", "again.again", "sub", "sub.again"]
    del sys.modules["shipped_circle"]


def test_include_accepts_only_modules(conn, helpers):
    assert conn.import_module(uses_helper, include=helpers[0]).alone() == "shipped_helper"
    for wrong in (["shipped_helper"], [helpers[0], 1]):
        with pytest.raises(TypeError, match="include: expected modules"):
            conn.import_module(uses_helper, include=wrong)
    with pytest.raises(TypeError, match="expected a module, not str: 'functions'"):
        conn.import_module("functions")


def test_import_error_of_a_name_does_not_suggest_include(conn):
    with pytest.raises(ImportError, match="no_such_name") as caught:
        conn.import_module(trouble).cannot_import()
    assert "include=" not in str(caught.value)


def test_changed_module_is_reloaded(legacy, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "shipped_changing"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "shipped_user.py").write_text(
        "def ask():\n    from shipped_changing import word\n    return word.WORD\n"
    )
    user = importlib.import_module("shipped_user")
    try:
        for word in ("old", "brand new"):
            (package / "word.py").write_text(f"WORD = {word!r}\n")
            importlib.invalidate_caches()
            module = importlib.import_module("shipped_changing.word")
            assert legacy.import_module(user, include=[module]).ask() == word
            del sys.modules["shipped_changing.word"]
    finally:
        for name in ("shipped_user", "shipped_changing"):
            sys.modules.pop(name, None)


def test_module_can_be_imported_twice(legacy, parts):
    for _ in range(2):
        assert legacy.import_module(trouble).pickled() is True
        remote = legacy.import_module(parts)
        assert remote.total([1]) == 2 and remote.pickled() is True
        # it can be sent along with another module, too
        assert legacy.import_module(uses_helper, include=[parts]).encoded() == "ä"


def test_module_keeps_its_future_imports_and_encoding(conn, pythons, parts):
    assert conn.import_module(latin).text() == "ä"
    with remoto.Connection("localhost") as local:
        path = pythons[min(pythons)]
        remote = local.import_module(trouble, path)
        assert remote.division() == (0 if min(pythons) == (2, 7) else 0.5)
        assert remote.literal() == "str"
        assert local.import_module(latin, path).text() == "ä"
        remote = local.import_module(uses_helper, path, include=[importlib.import_module("shipped_parts")])
        assert remote.encoded() == "ä"


def test_main_module_does_not_run_its_main_block(conn, tmp_path):
    import types

    path = tmp_path / "program.py"
    path.write_text("def name():\n    return __name__\n\n\nif __name__ == '__main__':\n    raise KeyError('it ran')\n")
    main = types.ModuleType("__main__")
    main.__file__ = str(path)
    main.name = lambda: None
    assert conn.import_module(main).name() == "remoto_main"


def test_attribute_that_is_not_a_function_raises_attribute_error(conn):
    remote = conn.import_module(trouble)
    with pytest.raises(AttributeError, match=rf"^{trouble.__name__}\.CONSTANT is not a function \(its type is int\)"):
        remote.CONSTANT  # noqa: B018
    assert not hasattr(remote, "os")
    assert remote.Point(1, 2) in ((1, 2), [1, 2])
    assert remote._log("x") == "my own: x"


def test_file_name_that_is_not_utf_8_is_escaped(conn, tmp_path):
    import types

    path = tmp_path / "mödul\udcff.py"
    path.write_text("def fail():\n    raise KeyError('here')\n")
    module = types.ModuleType("odd_name")
    module.__file__ = str(path)
    module.fail = lambda: None
    with pytest.raises(FunctionError, match="KeyError") as caught:
        conn.import_module(module).fail()
    assert "mödul\\xff.py" in caught.value.traceback


# interpreters


def test_threads_share_one_search_for_the_interpreter(json, monkeypatch):
    commands = []
    check = remoto.backends.check
    monkeypatch.setattr(remoto.backends, "check", lambda *args, **kw: commands.append(args[1][0]) or check(*args, **kw))
    remote = json.import_module(functions)
    threads = [threading.Thread(target=remote.same, args=(1,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert commands.count("/bin/sh") == 1


@pytest.mark.parametrize("setting", ["global_timeout", "connect_timeout"])
@pytest.mark.parametrize("backend", ["ssh", "docker"])
def test_search_for_a_python_that_hangs_ends_at_its_timeout(request, tmp_path, backend, setting):
    """The first python3 on PATH never answers, as on an unreachable network file system."""
    directory = f"/tmp/{tmp_path.name}-{uuid.uuid4().hex}"
    env = {"PATH": f"{directory}:/bin:/usr/bin"}
    if backend == "docker":
        conn = remoto.connection.get("docker")(container_name=request.getfixturevalue("docker_shell"), env=env)
    else:
        request.getfixturevalue("sshd")
        conn = remoto.Connection("node0", interpreter=sys.executable, env=env)
    with conn:
        program = f"#!/bin/sh\necho $$ > {directory}/pid\nsleep 1000; exit\n"
        script = f"mkdir {directory} && printf '{program}' > {directory}/python3"
        assert check(conn, f"{script} && chmod +x {directory}/python3", shell=True).returncode == 0
        setattr(conn, setting, 1.0)
        with pytest.raises(ConnectError, match=rf"no answer within 1 seconds \({setting}\)") as caught:
            get_python_executable(conn)
        assert caught.value.kind == "timeout" and "cannot connect" not in str(caught.value)
        setattr(conn, setting, 60)
        # only a zombie may be left, if the container's main process does not reap it
        left = f'cat "/proc/$(cat {directory}/pid)/cmdline"; rm -r {directory}'
        assert check(conn, left, shell=True).stdout == []


def test_text_is_printed_in_an_ascii_locale(pythons, caplog):
    """In this locale, Python 2 and 3.6 can print only ASCII."""
    caplog.set_level(logging.DEBUG, logger="remoto-test")
    logger = logging.getLogger("remoto-test")
    with remoto.Connection("localhost", logger=logger, env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}) as conn:
        for path in (path for version, path in sorted(pythons.items()) if version < (3, 8)):
            caplog.clear()
            conn.remote_import_system = "json"
            conn.import_module(trouble, path).print_odd()
            assert caplog.messages[-1].startswith("ä€") and any(text.startswith("ö") for text in caplog.messages)


def test_python_2_runs_functions(pythons, tmp_path, caplog):
    import types

    if (2, 7) not in pythons:
        pytest.skip("no Python 2.7")
    caplog.set_level(logging.DEBUG, logger="remoto-test")
    path = tmp_path / "mödul.py"
    path.write_text("from os import path\n\n\ndef fail():\n    raise ValueError(u'\\xe4')\n")
    module = types.ModuleType("some.package.odd_name")
    module.__file__, module.__package__ = str(path), "some.package"
    module.fail = lambda: None
    with remoto.Connection("localhost", logger=logging.getLogger("remoto-test")) as conn:
        conns = [conn]
        if execnet.__version__ < "2":
            conns.append(remoto.Connection("localhost", interpreter=pythons[2, 7], logger=conn.logger))
        for conn in conns:
            python = pythons[2, 7] if conn is conns[0] else None
            with pytest.raises(FunctionError) as caught:
                conn.import_module(module, python).fail()
            assert caught.value.message == "ä"
            assert str(caught.value).rstrip().endswith("ValueError: ä") and "mödul.py" in caught.value.traceback
            remote = conn.import_module(trouble, python)
            with pytest.raises(FunctionError, match="OldStyle"):
                remote.old_style_error()
            assert remote.odd_text() == "a\udcff"
            assert remote.same(["a\udcff", -(2**40), "😀"]) == ["a\udcff", -(2**40), "😀"]
            if python is None:
                assert remote.big(5000) == -(10**5000)
            remote.print_odd()
            assert remote.fork("raise") == 1
        conns[-1].exit()
    assert "Parent module" not in caplog.text
