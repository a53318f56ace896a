"""The contract of run and check: the same over every backend."""

import logging
import os
import signal
import subprocess
import threading
import time

import pytest

from remoto.exc import CommandError, ConnectionLost
from remoto.process import check, run
from tests.integration.leftovers import wait_until

NEEDS_NO_PYTHON = True


def sh(script):
    return ["sh", "-c", script]


# input


def test_each_argument_arrives_unchanged(conn):
    words = ["a b", "", "$HOME", "`id`", ";ls", "*", "?", "'", '"', "\\", "new\nline", "ä€😀", "-n"]
    script = 'for word in "$@"; do printf "<%s>" "$word"; done'
    assert check(conn, ["sh", "-c", script, "sh", *words]).stdout == "".join(f"<{word}>" for word in words).split("\n")


def test_string_runs_in_a_shell(conn):
    assert check(conn, "echo one; echo two | tr a-z A-Z; exit 3", shell=True) == (["one", "TWO"], [], 3)


def test_bytes_and_paths_can_be_arguments(conn, tmp_path):
    from pathlib import Path

    assert check(conn, [b"echo", Path("/some/where")]).stdout == ["/some/where"]


def test_arguments_of_other_types_are_refused_before_anything_starts(conn):
    with pytest.raises(TypeError, match=r"command.*int"):
        check(conn, ["echo", 3])


@pytest.mark.parametrize("text", ["text ä\n", b"bytes \xff\x00\n"])
def test_stdin_arrives_unchanged(conn, text):
    data = text if isinstance(text, bytes) else text.encode()
    octets = check(conn, ["od", "-An", "-v", "-tx1"], stdin=text).stdout
    assert bytes.fromhex("".join(octets)) == data


def test_ten_megabytes_of_stdin_arrive(conn):
    assert check(conn, ["wc", "-c"], stdin=b"0123456789" * 1_000_000).stdout[0].split() == ["10000000"]


def test_command_may_ignore_its_stdin(conn):
    assert check(conn, ["true"], stdin=b"x" * 1_000_000).returncode == 0


def test_stdin_is_empty_by_default(conn):
    assert check(conn, ["cat"], timeout=20) == ([], [], 0)


def test_cwd_sets_the_working_directory(conn):
    assert check(conn, ["pwd"], cwd="/etc").stdout == ["/etc"]


@pytest.mark.parametrize("directory", ["/no/such/directory", "-"])
def test_missing_cwd_raises_command_error(conn, directory):
    with pytest.raises(CommandError) as caught:
        check(conn, ["pwd"], cwd=directory)
    assert "No such" in caught.value.traceback


def test_extend_env_adds_variables(conn):
    lines = check(conn, sh('echo "$ADDED"; echo "$PATH"'), extend_env={"ADDED": "a 'b' $c\nd"}).stdout
    assert lines[:2] == ["a 'b' $c", "d"]
    assert "/usr/bin" in lines[2].split(":")


def test_path_keeps_its_directories(connect):
    path = check(connect(env={"PATH": "/first:/usr/bin:/last"}), ["/bin/sh", "-c", "echo $PATH"]).stdout[0].split(":")
    assert path[:3] == ["/first", "/usr/bin", "/last"]
    if not connect.in_container:
        assert path[3:] == ["/usr/local/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"]


def test_env_replaces_the_environment(connect):
    conn = connect(env={"OF_CONNECTION": "1"})
    lines = check(conn, ["env"], env={"ONLY": "this", "PATH": "/usr/bin:/bin"}).stdout
    names = {line.split("=")[0] for line in lines}
    assert {"ONLY", "PATH"} <= names
    # a shell may set some of these
    assert names <= {"ONLY", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}


def test_commands_get_the_environment_of_the_connection(connect):
    conn = connect(env={"FLAVOUR": "sweet & sour"})
    assert check(conn, sh("echo $FLAVOUR")).stdout == ["sweet & sour"]
    assert check(conn, sh("echo $FLAVOUR"), extend_env={"FLAVOUR": "plain"}).stdout == ["plain"]


# output


def test_ten_thousand_lines_on_both_streams_arrive(conn, logged):
    """Each stream is longer than the output that check sends at once."""
    rest = "x" * 40
    script = f"i=0; while [ $i -lt 10000 ]; do echo out $i {rest}; echo err $i {rest} >&2; i=$((i+1)); done"
    out, err, code = check(conn, sh(script))
    assert out == [f"out {i} {rest}" for i in range(10_000)] and err == [f"err {i} {rest}" for i in range(10_000)]
    assert code == 0
    assert run(conn, sh(script)) == 0
    assert logged.texts("DEBUG") == out
    assert logged.texts("WARNING") == err


def test_line_of_five_megabytes_arrives(conn, logged):
    script = "dd if=/dev/zero bs=1000 count=5000 2>/dev/null | tr '\\0' x; echo; echo end"
    assert check(conn, sh(script)).stdout == ["x" * 5_000_000, "end"]
    run(conn, sh(script))
    assert logged.texts("DEBUG") == ["x" * 5_000_000, "end"]


def test_empty_lines_and_an_unterminated_last_line_are_kept(conn, logged):
    script = r"printf 'one\n\n\ntwo\r\nlast'; printf 'err' >&2"
    assert check(conn, sh(script)) == (["one", "", "", "two", "last"], ["err"], 0)
    run(conn, sh(script))
    assert logged.texts("DEBUG") == ["one", "", "", "two", "last"]
    assert logged.texts("WARNING") == ["err"]


def test_output_written_just_before_the_exit_arrives(connect):
    conn = connect()
    for number in range(100 if not connect.in_container else 10):
        lines = []
        run(conn, sh(f"echo out {number}; echo err {number} >&2"), on_stdout=lines.append, on_stderr=lines.append)
        assert sorted(lines) == [f"err {number}", f"out {number}"]


def test_output_of_a_process_that_briefly_outlives_its_shell_arrives(connect):
    if not connect.in_container:
        # it waits for the end of the shell
        assert check(connect(), ["bash", "-c", "exec 3> >(read -r; echo hi)"]).stdout == ["hi"]


def test_output_that_is_not_utf_8_is_kept(conn, logged):
    script = r"printf 'a\377b\n'"
    line = check(conn, sh(script)).stdout[0]
    assert line.encode("utf-8", "surrogateescape") == b"a\xffb"
    run(conn, sh(script))
    assert logged.texts("DEBUG") == [r"a\xffb"]


def test_check_returns_bytes_with_text_false(conn):
    script = r"printf 'a\r\n\377\n\0b'; printf e >&2; exit 3"
    assert check(conn, sh(script), text=False) == (b"a\r\n\xff\n\0b", b"e", 3)
    assert check(conn, ["true"], text=False).stdout == b""
    long = "".join(f"{number}\n" for number in range(200_000)).encode()
    assert check(conn, ["cat"], stdin=long, text=False) == (long, b"", 0)
    assert check(conn, ["sleep", "20"], text=False, timeout=0.3) == (b"", b"", -1)
    stdout, stderr, code = check(conn, ["no-such-program"], text=False, stop_on_error=False)
    assert (stdout, code) == (b"", -1) and b"No such" in stderr
    blocks = []
    assert check(conn, ["cat"], stdin=long, text=False, on_stdout=blocks.append) == (long, b"", 0)
    assert len(blocks) > 1 and b"".join(blocks) == long


def test_run_passes_blocks_of_bytes_with_text_false(conn, logged):
    out, err = [], []
    script = sh(r"printf 'a\r\n\377\n\0b'; printf e >&2; exit 3")
    assert run(conn, script, text=False, on_stdout=out.append, on_stderr=err.append, stop_on_nonzero=False) == 3
    assert (b"".join(out), b"".join(err)) == (b"a\r\n\xff\n\0b", b"e")
    assert logged.texts("DEBUG") == [] and len(logged.texts("WARNING")) == 1


def test_on_stdout_gets_each_line(conn):
    seen = threading.Event()
    result = []

    def see(line):
        result.append(line)
        seen.set()

    thread = threading.Thread(
        target=run, args=(conn, sh("echo first; read -r word; echo $word")), kwargs={"on_stdout": see, "stdin": "end\n"}
    )
    thread.start()
    thread.join(50)
    assert seen.is_set() and result == ["first", "end"]


def test_on_stdout_gets_a_line_before_the_command_exits(conn):
    class Enough(Exception):
        pass

    def stop(line):
        raise Enough(line)

    with pytest.raises(Enough, match="first"):
        run(conn, sh("echo first; sleep 5"), on_stdout=stop)
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


def test_check_with_callbacks_returns_the_output(conn):
    out, err = [], []
    result = check(conn, sh("echo a; echo b >&2; exit 4"), on_stdout=out.append, on_stderr=err.append)
    assert result == (["a"], ["b"], 4) and (out, err) == (["a"], ["b"])
    progress = sh(r"printf '10%%\r20%%\r\nend'")
    assert check(conn, progress, on_stdout=out.append).stdout == check(conn, progress).stdout == ["10%", "20%", "end"]


def test_run_logs_word_for_word(conn, logged):
    with pytest.raises(RuntimeError, match="^Failed to execute command: "):
        run(conn, sh("echo out; echo err >&2; exit 3"))
    levels = [level for level, _ in logged]
    assert levels[0] == "INFO" and levels[-1] == "ERROR"
    assert logged.texts("INFO") == ["Running command: " + " ".join(conn.cmd(sh("echo out; echo err >&2; exit 3")))]
    assert logged.texts("DEBUG") == ["out"] and logged.texts("WARNING") == ["err"]
    assert logged.texts("ERROR") == ["RuntimeError: command returned non-zero exit status: 3"]


def test_stop_on_nonzero_false_logs_a_warning(conn, logged):
    assert run(conn, sh("exit 3"), stop_on_nonzero=False) == 3
    assert logged.texts("WARNING") == ["command returned non-zero exit status: 3"]
    assert logged.texts("ERROR") == []


def test_stop_on_error_false_logs_an_error(conn, logged):
    assert run(conn, sh("exit 3"), stop_on_error=False) == 3
    assert logged.texts("ERROR") == ["RuntimeError: command returned non-zero exit status: 3"]


def test_missing_program_raises_command_error(conn, logged):
    for function in (run, check):
        logged.clear()
        with pytest.raises(RuntimeError, match=r"^Failed to execute command: .*no-such-program") as caught:
            function(conn, ["no-such-program", "-a"])
        assert isinstance(caught.value, CommandError) and caught.value.exit_code is None
        assert any("Traceback" in text for text in logged.texts("ERROR"))
        assert any("No such" in text for text in logged.texts("ERROR"))
    assert run(conn, ["no-such-program"], stop_on_error=False) == -1
    out, err, code = check(conn, ["no-such-program"], stop_on_error=False)
    assert out == [] and "No such" in err[0] and code == -1


@pytest.mark.parametrize("function", [run, check])
def test_error_of_a_command_that_cannot_be_started_has_the_reason(conn, logged, function):
    with pytest.raises(CommandError) as caught:
        function(conn, ["no-such-program", "-a"])
    error = caught.value
    assert error.reason.startswith("No such ") and error.reason.endswith(": 'no-such-program'")
    assert error.host in (conn.hostname, conn.where())
    lines = logged.texts("ERROR")
    assert lines[0].startswith("Traceback") and lines[-1].endswith(error.reason)
    assert not [line for line in lines if "remoto/remote/" in line or "gateway_base" in line]
    with pytest.raises(CommandError) as caught:
        function(conn, ["true"], cwd="/no/such/directory")
    assert caught.value.reason.endswith(": '/no/such/directory'")


def test_error_of_a_failed_command_has_the_last_stderr_lines(conn):
    with pytest.raises(CommandError) as caught:
        run(conn, sh("i=0; while [ $i -lt 50 ]; do echo line $i >&2; i=$((i+1)); done; exit 3"))
    error = caught.value
    assert error.exit_code == 3 and error.stderr.splitlines() == [f"line {number}" for number in range(40, 50)]


def test_string_without_a_shell_raises_an_error_with_advice(connect):
    conn = connect()
    if connect.in_container:
        assert check(conn, "echo a b").stdout == ["a b"]
        return
    with pytest.raises(CommandError) as caught:
        run(conn, "echo a b")
    assert caught.value.reason == "No such file or directory: 'echo a b'" and "shell=True" in caught.value.advice


def test_command_killed_by_a_signal_has_its_exit_status(connect):
    conn = connect()
    expected = 128 + signal.SIGKILL if connect.in_container else -signal.SIGKILL
    assert check(conn, sh("echo last words; kill -9 $$")) == (["last words"], [], expected)


def test_exit_statuses_are_returned(conn):
    assert [check(conn, sh(f"exit {code}")).returncode for code in (0, 1, 2, 125, 126, 127, 128, 255)] == [
        *(0, 1, 2, 125, 126, 127, 128, 255)
    ]


# timeouts


def test_check_returns_after_its_timeout(conn, logged):
    started = time.monotonic()
    assert check(conn, sh("echo not seen; sleep 30"), timeout=0.5) == ([], [], -1)
    assert time.monotonic() - started < 10
    assert logged.texts("WARNING") == ["No data was received after 0.5 seconds, disconnecting..."]
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


@pytest.mark.parametrize("text", [True, False])
def test_timeout_of_check_limits_the_whole_call(conn, text):
    """Continuous output does not extend the timeout."""
    assert check(conn, ["yes"], timeout=1, kill_on_timeout=True, text=text).returncode == -1
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


def test_timeout_of_run_applies_to_each_wait_for_output(conn, logged):
    # seconds; a busy machine may need more than the first timeout to start a command
    for second in (0.5, 2, 5):
        logged.clear()
        script = f"echo a; sleep {second}; echo b; sleep {second}; echo c; sleep {second}; printf rest; sleep 30"
        assert run(conn, sh(script), timeout=2 * second) == -1
        if "rest" in logged.texts("DEBUG"):
            break
    assert logged.texts("DEBUG") == ["a", "b", "c", "rest"]
    assert logged.texts("WARNING") == [f"No data was received after {2 * second} seconds, disconnecting..."]


def test_global_timeout_applies_to_commands(conn):
    conn.global_timeout = 0.5
    assert check(conn, ["sleep", "30"]).returncode == -1


def exists(conn, path):
    return check(conn, sh(f"test -e {path}")).returncode == 0


@pytest.fixture
def marker(connect):
    """The path of a remote file that does not exist."""
    path = f"/tmp/remoto-test-{os.urandom(6).hex()}"
    yield path
    run(connect(), ["rm", "-f", path, f"{path}.go"], stop_on_nonzero=False)


@pytest.mark.parametrize("close", [False, True], ids=["open", "closed"])
def test_command_keeps_running_after_a_timeout(connect, marker, close):
    conn = connect()
    script = f"i=0; while [ $i -lt 10 ]; do echo $i; echo $i >&2; sleep 0.1; i=$((i+1)); done; touch {marker}"
    assert check(conn, sh(script), timeout=0.3).returncode == -1
    if close:
        conn.exit()
        conn = connect()
    wait_until(lambda: exists(conn, marker))


def test_stdin_is_still_written_after_a_timeout(connect, marker):
    conn = connect()
    assert check(conn, sh(f"sleep 1; wc -c > {marker}"), stdin=b"x" * 3_000_000, timeout=0.3).returncode == -1
    wait_until(lambda: check(conn, ["cat", marker]).stdout[:1] == ["3000000"])


WRONG = [
    *({"timeout": "5"}, {"timeout": -1}, {"timeout": float("nan")}, {"timout": 5}),
    *({"stdin": 5}, {"env": {"A=B": ""}}),
]


def test_invalid_argument_starts_nothing(conn, logged, marker):
    for function in (run, check):
        for wrong in WRONG:
            with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
                function(conn, ["touch", marker], **wrong)
    assert list(logged) == [] and not exists(conn, marker)


def test_infinite_timeout_overrides_the_global_timeout(conn):
    conn.global_timeout = 0.2
    assert check(conn, sh("sleep 0.5; echo x"), timeout=float("inf")).stdout == ["x"]


def test_signal_to_its_process_group_kills_only_the_command(conn):
    for name, number in (("HUP", 1), ("INT", 2), ("TERM", 15)):
        assert check(conn, sh(f"kill -{name} 0; sleep 5")).returncode in (-number, 128 + number)


WITH_NUL = [
    (["echo", "a\0b"], {}),
    (["ec\0ho"], {}),
    (b"ec\0ho", {}),
    ("echo a\0b", {"shell": True}),
    (["true"], {"cwd": "/tmp\0/x"}),
    (["true"], {"extend_env": {"A": "a\0b"}}),
    (["true"], {"env": {"A\0": "b"}}),
]


def test_nul_is_refused_before_anything_starts(conn, logged):
    for function in (run, check):
        for command, options in WITH_NUL:
            with pytest.raises(ValueError, match="null byte|invalid environment variable"):
                function(conn, command, **options)
    assert not any(text.startswith("Running") for text in logged.texts("INFO"))


FAMILY = "sleep {n} & (sleep {n} & sleep {n}) & {trap} sleep {n}; sleep {n}"


@pytest.mark.parametrize(("function", "trap"), [(run, ""), (check, "trap '' TERM;")], ids=["TERM", "KILL"])
def test_kill_on_timeout_kills_the_process_group(conn, function, trap):
    number = 100_000 + int.from_bytes(os.urandom(2), "big")
    script = FAMILY.format(n=number, trap=trap)
    result = function(conn, sh(script), timeout=0.5, kill_on_timeout=True)
    assert result == -1 or result == ([], [], -1)
    # a process that was sent SIGKILL exits when it gets the processor
    wait_until(lambda: not processes(number))


def test_kill_on_timeout_kills_processes_that_ignore_sigterm(conn):
    """The first process exits on SIGTERM; others ignore it and hold the pipes, which an engine may report late."""
    number = 400_000 + int.from_bytes(os.urandom(2), "big")
    script = f"(trap '' TERM; sleep {number}; sleep {number}) & sleep {number}"
    assert check(conn, sh(script), timeout=1, kill_on_timeout=True).returncode == -1
    wait_until(lambda: not processes(number))


def processes(number):
    """Return the ``sleep`` processes of a test, on this machine or in its containers."""
    # a zombie has ended
    listing = subprocess.run(["ps", "axo", "stat=,args="], capture_output=True, text=True).stdout
    return [line for line in listing.splitlines() if f"sleep {number}" in line and not line.startswith("Z")]


def test_command_is_left_running_without_kill_on_timeout(conn):
    number = 200_000 + int.from_bytes(os.urandom(2), "big")
    check(conn, sh(f"sleep {number}"), timeout=0.5)
    # a client may take longer than the timeout to start it
    wait_until(lambda: processes(number))
    subprocess.run(["pkill", "-f", f"sleep {number}"])


def test_kill_on_timeout_kills_commands_when_the_connection_ends(connect):
    conn = connect(kill_on_timeout=True)
    number = 300_000 + int.from_bytes(os.urandom(2), "big")
    failure = []

    def work():
        try:
            run(conn, sh(FAMILY.format(n=number, trap="")))
        except RuntimeError as error:
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: len(processes(number)) >= 4)
    conn.exit()
    thread.join(50)
    assert isinstance(failure[0], ConnectionLost) and not thread.is_alive()
    wait_until(lambda: not processes(number))


def serving_python(conn, number):
    """Return the process id of a command's Python, on this machine; for a persistent connection, in the container."""
    if not getattr(conn, "persistent", False):
        return conn.execute("import os; channel.send(os.getpid())").receive()
    listing = subprocess.run(["ps", "axo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    shells = dict(line.split()[:2] for line in listing.splitlines() if f"sleep {number} & (" in line)
    # the command's shell and, until they run sleep, its children
    (python,) = [int(parent) for parent in shells.values() if parent not in shells]
    return python


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signal_to_the_remote_python_ends_commands(connect, name):
    number = getattr(signal, name)
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("ignored in this process, and so in the Python that it starts")
    conn = connect(kill_on_timeout=True)
    seconds = 600_000 + int.from_bytes(os.urandom(2), "big")
    failure = []

    def work():
        try:
            check(conn, sh(FAMILY.format(n=seconds, trap="trap '' TERM;")))
        except RuntimeError as error:
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: len(processes(seconds)) >= 4)
    os.kill(serving_python(conn, seconds), number)
    thread.join(50)
    assert isinstance(failure[0], ConnectionLost) and not thread.is_alive()
    wait_until(lambda: not processes(seconds))


def test_command_returns_although_a_daemon_keeps_its_pipes_open(connect, marker):
    conn = connect()
    # podman closes the streams of a command when it ends
    trap = "trap '' PIPE;" if connect.backend.startswith("podman") else ""
    until = f"until [ -e {marker}.go ]; do sleep 0.05; done"
    script = f"({trap} {until}; echo late; echo later >&2; touch {marker}; sleep 20) & echo started"
    started = time.monotonic()
    result = check(conn, sh(script), timeout=30)
    assert result == (["started"], [], 0)
    assert time.monotonic() - started < 15
    run(conn, ["touch", f"{marker}.go"])
    wait_until(lambda: exists(conn, marker))


# the connection


def test_exit_true_closes_the_connection_after_success_and_failure(connect):
    for function, command, options in (
        (run, ["true"], {}),
        (check, ["true"], {}),
        (run, sh("exit 3"), {}),
        (check, ["no-such-program"], {}),
        (run, ["sleep", "20"], {"timeout": 0.3}),
        (check, ["echo", 3], {}),
    ):
        conn = connect()
        try:
            function(conn, command, exit=True, **options)
        except (RuntimeError, TypeError):
            pass
        assert not conn.has_connection()


def test_threads_share_a_connection(conn):
    results = {}

    def work(number):
        results[number] = [check(conn, sh(f"echo {number}; exit {number % 7}")) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert results == {number: [([str(number)], [], number % 7)] * 3 for number in range(8)}


def test_slow_logger_does_not_fill_memory(connect):
    """With 60 MB of output and a logger that blocks after some lines, at most a window of output is in transit."""
    import resource

    go_on = threading.Event()
    lines = []

    class Slow(logging.Logger):
        def debug(self, line, *args, **kw):
            lines.append(len(line))
            if len(lines) == 1000:
                go_on.wait(50)

    conn = connect(logger=Slow("slow"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    thread = threading.Thread(
        target=run, args=(conn, sh("yes 0123456789012345678901234567890123456789 | head -n 1500000"))
    )
    thread.start()
    wait_until(lambda: len(lines) >= 1000)
    time.sleep(1)  # no event shows that the remote side sends nothing more
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    go_on.set()
    thread.join(50)
    assert len(lines) == 1_500_000
    assert grown < 40_000  # kilobytes


def test_exit_just_after_the_first_command_is_quick(connect):
    for _ in range(3):
        conn = connect()
        conn.execute("pass")
        begun = time.monotonic()
        conn.exit()
        # a process that does not exit is killed after five seconds
        assert time.monotonic() - begun < 4


def test_closed_connection_raises_connection_lost(conn):
    check(conn, ["true"])
    conn.exit()
    conn.exit()
    assert not conn.has_connection()
    for function in (run, check):
        with pytest.raises(RuntimeError, match=r"closed.*true"):
            function(conn, ["true"])
