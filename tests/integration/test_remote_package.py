"""The remote side imports its package from the sources that it received."""

import shlex
import sys

import execnet
import pytest

import remoto
from remoto.backends import LegacyModuleExecute
from remoto.process import check
from tests.integration.shipped import functions, uses_remoto

LOADED = "import sys; channel.send(sorted(name for name in sys.modules if name.startswith('remoto_remote.')))"


@pytest.fixture
def conn():
    with remoto.Connection("localhost") as conn:
        yield conn


def loaded(conn):
    return {name.partition(".")[2] for name in conn.gateway.remote_exec(LOADED).receive(50)}


def test_module_is_sent_with_the_first_call_that_needs_it(conn):
    check(conn, ["true"])
    assert "command" in loaded(conn) and "functions" not in loaded(conn)
    conn.import_module(functions).same(1)
    assert "functions" in loaded(conn) and "receiver" not in loaded(conn)


def test_first_command_needs_no_module_that_takes_long_to_import():
    # -S: a .pth file in site-packages may import anything
    with remoto.Connection("localhost", interpreter=f"{shlex.quote(sys.executable)} -IS") as conn:
        assert check(conn, ["true"])[2] == 0
        names = conn.gateway.remote_exec("import sys; channel.send(list(sys.modules))").receive(50)
    assert {"subprocess", "selectors", "locale", "re", "traceback", "typing"}.isdisjoint(names)


def test_remote_function_that_imports_remoto_gets_the_installed_one():
    # the other remote Pythons may not have execnet
    with remoto.Connection("localhost", interpreter=sys.executable) as conn:
        path, names = conn.import_module(uses_remoto).names()
    assert path == remoto.__file__
    assert "remoto.backends" in names and "remoto_remote.functions" in names


def test_gateways_of_one_interpreter_share_the_package():
    group = execnet.Group()
    try:
        gateway = group.makegateway(f"popen//python={sys.executable}")
        first, second = (LegacyModuleExecute(gateway, functions) for _ in range(2))
        assert first.same(1) == second.same(1) == 1
        modules = gateway.remote_exec("import sys; channel.send(repr(sys.meta_path).count('Sources'))").receive(50)
        assert modules == 1
    finally:
        group.terminate(5)


def test_remote_traceback_names_file_and_line(conn):
    code = "from remoto_remote import function; function('command', 'check')(channel, args=[])"
    with pytest.raises(execnet.RemoteError) as caught:
        conn.gateway.remote_exec(code).receive(50)
    lines = str(caught.value).splitlines()
    [line] = [line for line in lines if 'File "remoto/remote/command.py"' in line and "in __init__" in line]
    number = int(line.split("line ")[1].split(",")[0])
    with open(sys.modules["remoto.remote"].__path__[0] + "/command.py", encoding="utf-8") as file:
        assert "start(" in file.read().splitlines()[number - 1]
