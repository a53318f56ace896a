"""Every Python on this machine that the installed execnet can start runs commands."""

import sys

import execnet
import pytest

import remoto
from remoto.exc import StartError
from remoto.process import check, run

OLDEST = (2, 7) if execnet.__version__ < "2" else (3, 7)


def remote_pythons(pythons, startable):
    return [
        (version, path)
        for version, path in sorted(pythons.items())
        if (version >= OLDEST and (version[0] == 2 or version >= (3, 5))) is startable
    ]


# some seconds for each Python
@pytest.mark.timeout(240)
def test_commands_run_on_every_remote_python(pythons):
    for version, path in remote_pythons(pythons, startable=True):
        with remoto.Connection("localhost", interpreter=path, env={"FLAVOUR": "sür & sweet"}) as conn:
            found = check(conn, [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
            assert found == ([f"{version[0]}.{version[1]}"], [], 0)
            assert check(conn, ["printf", "%s|", "ä€😀", "a b", ""]).stdout == ["ä€😀|a b||"]
            assert check(conn, ["sh", "-c", "echo $FLAVOUR"]).stdout == ["sür & sweet"]
            assert check(conn, ["wc", "-c"], stdin=b"x" * 3_000_000).stdout == ["3000000"]
            assert check(conn, ["cat"], stdin="ä\n").stdout == ["ä"]
            assert check(conn, ["sh", "-c", "printf '\\377'; exit 3"]) == (["\udcff"], [], 3)
            assert check(conn, "echo a | tr a b", shell=True, cwd="/etc").stdout == ["b"]
            lines = []
            assert run(conn, ["seq", "20000"], on_stdout=lines.append) == 0
            assert lines == [str(number) for number in range(1, 20001)]
            assert check(conn, ["sleep", "20"], timeout=0.2, kill_on_timeout=True) == ([], [], -1)
            with pytest.raises(RuntimeError, match="no-such-program"):
                check(conn, ["no-such-program"])


def test_oldest_and_newest_python_can_be_relays(pythons):
    startable = remote_pythons(pythons, startable=True)
    for _, path in {*startable[:1], *startable[-1:]}:
        with remoto.Connection("localhost", interpreter=path) as relay:
            with remoto.Connection("localhost", via=relay) as conn:
                counted = check(conn, ["sh", "-c", "wc -c; echo x >&2; exit 3"], stdin=b"x" * 3_000_000)
                assert counted == (["3000000"], ["x"], 3)
                output = check(conn, ["head", "-c", "3000000", "/dev/urandom"], text=False).stdout
                assert len(output) == 3_000_000
            with pytest.raises(StartError, match="cannot run no-such-python on localhost: No such file"):
                remoto.Connection("localhost", via=relay, interpreter="no-such-python")


def test_execnet_opens_its_own_gateways_through_a_connection():
    with remoto.Connection("localhost") as conn:
        through = conn.group.makegateway(f"popen//via={conn.gateway.id}")
        assert through.remote_exec("import os; channel.send(os.getppid())").receive(20) > 1


def test_too_old_python_is_reported(pythons):
    for version, path in remote_pythons(pythons, startable=False):
        with pytest.raises(StartError) as caught:
            remoto.Connection("localhost", interpreter=path)
        assert caught.value.kind == "version"
        assert f"is Python {version[0]}.{version[1]}." in str(caught.value) and ">=" in str(caught.value)


def test_slow_modules_are_not_imported_for_a_command():
    # -S: a .pth file in site-packages may import anything
    with remoto.Connection("localhost", interpreter=f"{sys.executable} -IS") as conn:
        assert check(conn, ["true"])[2] == 0
        found = conn.gateway.remote_exec("import sys; channel.send(list(sys.modules))").receive(20)
    assert {"enum", "queue", "re", "signal", "subprocess", "traceback", "typing"}.isdisjoint(found)


def test_undecodable_environment_is_kept(monkeypatch):
    import os

    monkeypatch.setitem(os.environb, b"REMOTO_ODD", b"\xff\xfe")
    with remoto.Connection("localhost") as conn:
        octets = check(conn, ["sh", "-c", 'printf "$REMOTO_ODD" | od -An -tx1']).stdout
        assert octets[0].split() == ["ff", "fe"]
        octets = check(conn, ["sh", "-c", 'printf "$A" | od -An -tx1'], extend_env={"A": b"\xfd"}).stdout
        assert octets[0].split() == ["fd"]
