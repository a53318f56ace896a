"""What README and docs show is run: sessions, modules, and the programs called at a ``$``."""

import doctest
import logging
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
FILE = re.compile(r"# (\w+)\.(py|conf)\n")
BLOCK = re.compile(r"(?:^\.\. code-block:: *(?P<language>\w+)|^.*::)\n\n(?P<code>(?:(?: {4}.*)?\n)+)", re.MULTILINE)


def blocks(page):
    """(language or None, code) of the literal blocks of a page."""
    text = page.read_text("utf-8")
    found = [(match["language"], textwrap.dedent(match["code"]).strip("\n")) for match in BLOCK.finditer(text + "\n")]
    return [(language, code) for language, code in found if not code.startswith(":")]


class ToStdout(logging.Handler):
    def emit(self, record):
        # the tests' own API server logs as well; and doctest puts another stdout in its place all the time
        if not record.name.startswith("websockets"):
            print(self.format(record), file=sys.stdout)


@pytest.fixture
def log_to_stdout():
    handler = ToStdout()
    handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="module")
def everything(sshd, users, docker, podman, kube):
    """The hosts, containers and pods that the pages talk of."""
    for engine in (docker, podman):
        for name, image in (("web", "python"), ("small", "shell")):
            engine.run(image, name=name)
    kube.add(
        "web-0", {"app": ["docker", "exec", "-i", "web"], "log": ["docker", "exec", "-i", "small"]}, namespace="shop"
    )
    yield
    for engine in (docker, podman):
        for name in ("web", "small"):
            engine.remove(name)


@pytest.fixture
def files(request, sshd, tmp_path, monkeypatch):
    """The modules and settings that a page shows, as files."""
    names = []
    for _, code in blocks(request.getfixturevalue("page")):
        match = FILE.match(code)
        if match:
            text = code.partition("\n")[2] + "\n"
            if match[2] == "py":
                names.append(match[1])
            else:
                # how this machine plays the hosts
                text += f"Match all\nInclude {sshd.config}\n"
            (tmp_path / f"{match[1]}.{match[2]}").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.chdir(tmp_path)
    yield
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_sessions(page, everything, files, log_to_stdout):
    sessions = "\n\n".join(code for _, code in blocks(page) if code.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(sessions + "\n", {}, page.name, str(page), 0)
    for example in test.examples:
        output, traceback, error = example.want.partition("Traceback (most recent call last):\n")
        if output and traceback:
            # doctest knows no output before an exception
            example.exc_msg = re.sub(r"^( .*\n)+", "", error)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    report = []
    try:
        runner.run(test, out=report.append)
    finally:
        for value in test.globs.values():
            if hasattr(value, "has_connection"):
                value.exit()
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_programs(page, everything, files):
    for _, code in blocks(page):
        for program, words, output in re.findall(r"^\$ (\w+) (.*)\n((?:[^$\n].*\n?)*)", code, re.MULTILINE):
            if words.startswith("-m pip"):
                continue  # .ci/run does
            line = {"python": sys.executable, "remoto": f"{sys.executable} -m remoto"}.get(program, program)
            done = subprocess.run(["sh", "-c", f"{line} {words}"], capture_output=True, text=True, timeout=50)
            found, wanted = done.stdout + done.stderr, textwrap.dedent(output)
            assert doctest.OutputChecker().check_output(wanted.strip(), found.strip(), doctest.ELLIPSIS), found


#: the README's two commands, which .ci/run runs
NOT_RUN = ("python -m pip install",)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run(page):
    for _, code in blocks(page):
        assert code.startswith((">>>", "$ ", *NOT_RUN)) or FILE.match(code), code
