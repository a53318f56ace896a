"""The example of a backend in CONTRIBUTING.rst works, with a client of that name."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import remoto

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.rst").read_text("utf-8")
CLIENT = """\
#!/bin/sh
[ "$1 $2 $3" = "-n web --" ] || { echo "lxc-attach: $2 is not running" >&2; exit 1; }
shift 3
exec "$@"
"""


def block(begin):
    """Return the code in CONTRIBUTING.rst that begins with this line."""
    code = re.search(rf"^    {re.escape(begin)}\n(?:(?:    .*)?\n)*", CONTRIBUTING, re.MULTILINE)[0]
    return textwrap.dedent(code).strip() + "\n"


def insert(path, after, text):
    old = path.read_text("utf-8")
    assert old.count(after) == 1
    path.write_text(old.replace(after, after + text), "utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Copy this repository, and add the backend as CONTRIBUTING.rst says."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(Path(remoto.__file__).parent, tree / "remoto", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", tree / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tox.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, tree)
    recipe = block("# remoto/backends/lxc.py")
    assert len(recipe.splitlines()) < 40
    (tree / "remoto/backends/lxc.py").write_text(recipe)
    insert(tree / "remoto/connection.py", "_BACKENDS = {\n", '    "lxc": "lxc.LxcConnection",\n')
    factory = block("def lxc(request):")
    insert(tree / "tests/integration/backends.py", "from remoto import connection\n", f"\n\n{factory}")
    insert(tree / "tests/integration/backends.py", "\nBACKENDS = {", '"lxc": lxc, ')
    (tree / "bin").mkdir()
    (tree / "bin/lxc-attach").write_text(CLIENT)
    (tree / "bin/lxc-attach").chmod(0o755)
    return tree


def run(tree, *argv):
    environment = {**os.environ, "PATH": f"{tree}/bin{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, *argv], cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_example_fulfils_the_contract_of_backends(tree):
    # the other tests, and those of functions and files, would pass as well, but take long
    tests = "tests/integration/test_commands.py"
    chosen = "lxc and not (timeout or kill or signal or thousand or megabytes or slow_logger or threads)"
    output = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, "-k", chosen)
    assert int(re.search(r"(\d+) passed", output)[1]) > 30


def test_example_reports_a_missing_container(tree):
    run(
        tree,
        "-c",
        "import remoto.connection, remoto.process\n"
        "try:\n"
        "    remoto.process.check(remoto.connection.get('lxc')('gone'), ['true'])\n"
        "except remoto.exc.ContainerError as error:\n"
        "    assert error.kind == 'stopped' and error.host == 'LXC container gone on localhost', error\n"
        "else:\n"
        "    raise AssertionError\n",
    )


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="no mypy")
@pytest.mark.timeout(300)
def test_types_of_the_example_are_correct(tree):
    run(tree, "-m", "mypy")
