"""Run the examples in README and docs: sessions, modules, and programs after a ``$``."""

import doctest
import importlib
import itertools
import logging
import os
import re
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest

from remoto.backends import BaseConnection

# the pages create files in the same directories
pytestmark = pytest.mark.xdist_group("docs")
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
FILE = re.compile(r"# (\w+)\.(py|conf)\n")
#: the line before a block: the last one of a paragraph, perhaps in a list, or a directive with a language
OPENING = re.compile(
    r"(?P<indent> *(?:(?:[-*+]|\d+\.|\#\.) +)*)(?:\.\. (?:code-block|code|sourcecode|parsed-literal)::.*|(?!\.\. ).*::)"
)


def blocks(text):
    """Return the literal blocks of a page: lines with a larger indent than the line that opens the block."""
    found, lines = [], iter(text.splitlines())
    for line in lines:
        opening = OPENING.fullmatch(line.rstrip())
        while opening:
            indent, block, line = len(opening["indent"]), [], ""
            for line in lines:
                if line.strip() and len(line) - len(line.lstrip()) <= indent:
                    break
                block.append(line)
            # a directive's options come before the first empty line
            options = list(itertools.takewhile(str.strip, block))
            found.append(textwrap.dedent("\n".join(block[len(options) :])).strip("\n"))
            assert found[-1], f"no block after {opening[0]!r}"
            # the line that ends a block may open the next one
            opening = OPENING.fullmatch(line.rstrip())
    return found


@pytest.mark.parametrize(
    "page",
    [
        "Text::\n\n    >>> 1\n\n    >>> 2\n\nText.",
        "Text::\n\n  >>> 1\n\n  >>> 2",
        "- Text::\n\n   >>> 1\n\n   >>> 2\n\n  Text.",
        "1. Text::\n\n      >>> 1\n\n      >>> 2\n2. Text.",
        "::\n\n\t>>> 1\n\n\t>>> 2",
        ".. note::\n   Text::\n\n     >>> 1\n\n     >>> 2\n\n   Text.",
        ".. code-block:: python-console\n   :caption: A\n\n   >>> 1\n\n   >>> 2\n",
        ".. code::\n\n   >>> 1\n\n   >>> 2\n\n.. autofunction:: remoto.rsync\n   :no-index:",
    ],
)
def test_block_is_found(page):
    assert blocks(page) == [">>> 1\n\n>>> 2"]


def test_block_right_after_another_one_is_found():
    assert blocks("::\n\n  1\n::\n\n  2") == ["1", "2"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_is_in_a_block(page):
    text = page.read_text("utf-8")
    example = re.compile(r"^\s*(?:>>>|\$) .*", re.MULTILINE)
    assert len(example.findall(text)) == sum(len(example.findall(code)) for code in blocks(text))


#: programs may use the quotes of their locale
PLAIN_QUOTES = str.maketrans("‘’", "''")


class ToStdout(logging.Handler):
    def emit(self, record):
        # skip the records of the tests' own API server; look up sys.stdout each time, since doctest replaces it
        if not record.name.startswith("websockets"):
            print(self.format(record).translate(PLAIN_QUOTES), file=sys.stdout)


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
    """The hosts, containers (tests.servers.engines.SHARED) and pods of the examples."""
    kube.add(
        "web-0",
        {"app": ["docker", "exec", "-i", "web"], "log": ["docker", "exec", "-i", "small"]},
        namespace="shop",
        labels={"app": "web"},
    )


@pytest.fixture
def files(request, sshd, tmp_path, monkeypatch):
    """Write the modules and settings that a page shows to files."""
    names = []
    text = request.getfixturevalue("page").read_text("utf-8")
    _remove_remote_files(text)
    for code in blocks(text):
        match = FILE.match(code)
        if match:
            contents = code.partition("\n")[2] + "\n"
            if match[2] == "py":
                names.append(match[1])
            else:
                # the aliases of the tests' own sshd
                contents += f"Match all\nInclude {sshd.config}\n"
            (tmp_path / f"{match[1]}.{match[2]}").write_text(contents)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.chdir(tmp_path)
    yield
    for name in names:
        sys.modules.pop(name, None)
    _remove_remote_files(text)


def _remove_remote_files(text):
    """Remove the files that a page creates in /tmp of the hosts, which are this machine."""
    for path in set(re.findall(r"/tmp/remoto-[\w.-]*\w", text)):
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)


def caught(example):
    """Make an example that raises print its error instead, since doctest ignores the output before an error."""
    output, traceback, error = example.want.partition("Traceback (most recent call last):\n")
    if not traceback:
        return example
    source = (
        f"try:\n{textwrap.indent(example.source, '    ')}"
        "except BaseException as error:\n"
        "    import traceback\n"
        "    print(*traceback.format_exception_only(type(error), error), sep='', end='')\n"
    )
    message = re.sub(r"^( .*\n)+", "", error)
    return doctest.Example(source, output + message, lineno=example.lineno, options=example.options)


def run_sessions(text, name, path):
    """Return doctest's report on a page; empty if it passes."""
    sessions = "\n\n".join(code for code in blocks(text) if code.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(sessions + "\n", {}, name, path, 0)
    test.examples = [caught(example) for example in test.examples]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    report = []
    try:
        runner.run(test, out=report.append, clear_globs=False)
    finally:
        for value in test.globs.values():
            if isinstance(value, BaseConnection):
                value.exit()
    return "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
# dozens of commands, with containers and pods
@pytest.mark.timeout(300)
def test_sessions_of_a_page_print_what_it_shows(page, everything, files, log_to_stdout):
    report = run_sessions(page.read_text("utf-8"), page.name, str(page))
    assert not report, report


def test_output_before_an_exception_is_compared():
    session = (
        "::\n\n  >>> print('seen'); 1 / 0\n  {}\n"
        "  Traceback (most recent call last):\n    ...\n  ZeroDivisionError: division by zero\n"
    )
    assert not run_sessions(session.format("seen"), "page", None)
    assert "Expected:\n    not seen" in run_sessions(session.format("not seen"), "page", None)


def commands(code):
    """Return (command line, output) for each ``$`` of a block."""
    before, *parts = re.split(r"^\$ ", code, flags=re.MULTILINE)
    assert not before, code
    return [part.partition("\n")[::2] for part in parts]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put this Python and this remoto on PATH, as ``python`` and ``remoto``."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, words in (("python", ""), ("remoto", "-m remoto")):
        (directory / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.timeout(300)
def test_programs_of_a_page_print_what_it_shows(page, everything, files, programs):
    for code in blocks(page.read_text("utf-8")):
        if not code.startswith("$ "):
            continue
        for line, wanted in commands(code):
            if line.startswith(PIP):
                continue
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=250)
            found = done.stdout + done.stderr
            assert doctest.OutputChecker().check_output(wanted.strip(), found.strip(), doctest.ELLIPSIS), found


#: commands that .ci/run tests
PIP = "python -m pip install "
BY_CI = (PIP, "pip install ", ".ci/install-servers\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run(page):
    for code in blocks(page.read_text("utf-8")):
        is_run = code.startswith((">>>", "$ ")) or FILE.match(code)
        assert is_run or (page.name == "README.rst" and code.startswith(BY_CI)), code


def documented():
    """Yield the objects that the reference describes."""
    text = (ROOT / "docs" / "reference.rst").read_text("utf-8")
    names = re.findall(r"^ *\.\. auto(?:class|function|exception|data|method):: ([\w.]+)", text, re.MULTILINE)
    for module, members in re.findall(r"^\.\. automodule:: ([\w.]+)\n   :members: (.*)", text, re.MULTILINE):
        names += [f"{module}.{member}" for member in members.split(", ")]
    for name in names:
        module, _, attribute = name.rpartition(".")
        yield getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", ["remoto", "remoto.exc", "remoto.process", "remoto.file_sync"])
def test_every_public_name_is_in_the_reference(name):
    module = importlib.import_module(name)
    described = list(documented())
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            continue
        if value.__module__.startswith("execnet"):
            # the reference includes the docstring of the module
            assert name in module.__doc__
        else:
            assert any(value is found for found in described), f"{name} is not in the reference"
