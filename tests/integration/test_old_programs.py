"""Programs written for remoto 1.2 work with real connections."""

import getpass
import logging
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import execnet
import pytest

import remoto
from remoto import connection
from remoto.process import check, run
from tests.integration.shipped import old_style

LOGGER = logging.getLogger("remoto-test")


def hostname_of(host):
    """Run in another process."""
    with remoto.Connection(host, logger=LOGGER) as conn:
        return check(conn, ["echo", "from a child"]).stdout


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_connection_may_be_opened_in_a_multiprocessing_pool(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(hostname_of, ["localhost"] * 4).get(50) == [["from a child"]] * 4


def test_connection_may_be_opened_in_a_forked_child():
    program = (
        "import os, sys\n"
        "import remoto\n"
        "from remoto.process import check\n"
        "first = remoto.Connection('localhost')\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    with remoto.Connection('localhost') as second:\n"
        "        os._exit(check(second, ['sh', '-c', 'exit 7']).returncode)\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "print(status, check(first, ['echo', 'still here']).stdout)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=50)
    assert done.stdout == "7 ['still here']\n"


def test_threads_may_run_shell_strings_with_bytes_as_stdin():
    with remoto.Connection("localhost", logger=LOGGER, threads=0) as conn, ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda number: check(conn, "cat; echo", shell=True, stdin=b"%d" % number), range(40))
        assert [result[0] for result in results] == [[str(number)] for number in range(40)]


def test_run_accepts_the_keywords_of_1_2(caplog):
    caplog.set_level(logging.DEBUG, logger="remoto-test")
    keywords = {"stop_on_error": True, "env": {"A": "one"}, "extend_env": {"B": "two"}, "shell": True, "cwd": "/"}
    command = "echo $A $B; pwd; exit 3"
    with remoto.Connection("localhost", logger=LOGGER) as conn:
        with pytest.raises(RuntimeError) as caught:
            run(conn, command, False, 30, stop_on_nonzero=True, **keywords)
        assert str(caught.value) == f"Failed to execute command: {command}"
        assert run(conn, command, stop_on_nonzero=False, **keywords) == 3
    logged = [(record.levelname, record.getMessage()) for record in caplog.records]
    begin = [("INFO", f"Running command: {command}"), ("DEBUG", "one two"), ("DEBUG", "/")]
    assert logged == [
        *begin,
        ("ERROR", "RuntimeError: command returned non-zero exit status: 3"),
        *begin,
        ("WARNING", "command returned non-zero exit status: 3"),
    ]


def test_execnet_rsync_works_on_the_gateway_of_a_connection(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("contents")
    with remoto.Connection("localhost", logger=LOGGER) as conn:
        rsync = execnet.RSync(tmp_path / "source", verbose=False)
        rsync.add_target(conn.gateway, str(tmp_path / "copy"))
        rsync.send()
        assert conn.gateway.hasreceiver()
    assert (tmp_path / "copy" / "file").read_text() == "contents"


def test_execute_accepts_functions_for_execnet():
    with remoto.Connection("localhost", logger=LOGGER) as conn:
        channel = conn.execute("import os; channel.send(os.getpid())")
        assert channel is conn.channel
        assert channel.receive(50) != os.getpid()


@pytest.mark.parametrize("system", ["legacy", "json"])
def test_modules_of_programs_can_be_imported(system):
    """A module that shadows print, and one whose functions use remoto themselves."""
    with remoto.Connection("localhost", logger=LOGGER, interpreter=sys.executable) as conn:
        conn.remote_import_system = system
        module = conn.import_module(old_style, python_executable=sys.executable if system == "json" else None)
        assert module is conn.remote_module
        assert module.shadowed_print("a", 1) == "printed a 1"
        assert module.user_by_remoto() == [getpass.getuser()]


def test_unknown_backend_falls_back_to_ssh():
    with pytest.warns(UserWarning, match="baremetal"):
        backend = connection.get("baremetal")
    with backend("localhost", logger=LOGGER) as conn:
        assert check(conn, ["echo", "x"]) == (["x"], [], 0)
