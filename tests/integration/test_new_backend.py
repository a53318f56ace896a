"""The backend that CONTRIBUTING.rst shows works as it stands there, with a client of that name."""

import re
import textwrap
from pathlib import Path

import pytest

from remoto import connection
from remoto.exc import ContainerError
from remoto.process import check
from tests.integration.shipped import functions

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.rst"
CLIENT = """\
#!/bin/sh
[ "$1 $2 $3" = "-n web --" ] || { echo "lxc-attach: $2 is not running" >&2; exit 1; }
shift 3
exec "$@"
"""


@pytest.fixture
def backend(tmp_path, monkeypatch):
    recipe = re.search(r"ContainerConnection``::\n\n((?: {4}.*\n|\n)+)", CONTRIBUTING.read_text("utf-8"))[1]
    assert len(recipe.strip().splitlines()) < 40
    names = {}
    exec(compile(textwrap.dedent(recipe), "lxc.py", "exec"), names)
    monkeypatch.setitem(connection._BACKENDS, "lxc", names["LxcConnection"])
    (tmp_path / "lxc-attach").write_text(CLIENT)
    (tmp_path / "lxc-attach").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return connection.get("lxc")


def test_commands_and_functions(backend):
    with backend("web", env={"FLAVOUR": "sweet"}) as conn:
        assert check(conn, ["printf", "<%s>", "a b", "$HOME"]).stdout == ["<a b><$HOME>"]
        assert check(conn, "echo $FLAVOUR; exit 3") == (["sweet"], [], 3)
        for system in ("json", "legacy"):
            conn.remote_import_system = system
            assert conn.import_module(functions).same(["ä"]) == ["ä"]


def test_its_failures(backend):
    with backend("gone") as conn, pytest.raises(ContainerError, match="LXC container gone") as caught:
        check(conn, ["true"])
    assert caught.value.kind == "stopped"
