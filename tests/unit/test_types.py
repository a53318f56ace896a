"""What mypy reports on programs that use remoto."""

import re
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")
ROOT = Path(__file__).parents[2]

GET = """\
from remoto import connection

def backends(name: str) -> None:
    reveal_type(connection.get("ssh"))  # type[remoto.backends.BaseConnection]
    reveal_type(connection.get("docker"))  # type[remoto.backends.docker.DockerConnection]
    reveal_type(connection.get("k8s"))  # type[remoto.backends.kubernetes.KubernetesConnection]
    reveal_type(connection.get(name, "ssh"))  # type[remoto.backends.BaseConnection]
    reveal_type(connection.get(name, fallback=None))  # type[remoto.backends.BaseConnection] | None
    connection.get("dokcer")  # No overload variant of "get" matches argument type "str"
    connection.get(name)  # No overload variant of "get" matches argument type "str"
    connection.get("podman")(container_name="web", user="www").exit()
    connection.get("local")().exit()
    connection.get("ssh")(container_name="web")  # Unexpected keyword argument "container_name"
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", [GET], ids=["get"])
def test_mypy_reports_what_a_program_has_in_its_comments(program, tmp_path, monkeypatch):
    """The lines with a comment, and no others."""
    path = tmp_path / "program.py"
    path.write_text(program)
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--hide-error-context", "--no-error-summary"]
    stdout, stderr, _ = api.run([*options, str(path)])
    assert not stderr
    reported: dict[int, str] = {}
    for line, text in re.findall(rf"^{re.escape(str(path))}:(\d+): (?:error|note): (.*)$", stdout, re.MULTILINE):
        reported.setdefault(int(line), re.sub(r"Union\[(.*), None\]", r"\1 | None", text))
    expected = {
        number: line.partition("  # ")[2] for number, line in enumerate(program.splitlines(), 1) if "  # " in line
    }
    assert reported.keys() == expected.keys(), stdout
    for number, text in expected.items():
        assert text.lower() in reported[number].lower()
