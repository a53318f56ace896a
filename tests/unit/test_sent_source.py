"""The code for the remote side is sent without comments, and otherwise unchanged."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from execnet import gateway_base

from remoto import remote
from remoto.gateways import bootstrap, execnet_internals

TEXTS = {path.stem: remote.text(path.name) for path in sorted(Path(remote.__file__).parent.glob("[!_]*.py"))}
TEXTS["execnet"] = execnet_internals.remote_source()


def code_of(text):
    """Return the syntax tree of a source, with line numbers, without columns and docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        # a docstring may be all of a class or function
        for attribute in ("col_offset", "end_lineno", "end_col_offset"):
            if hasattr(node, attribute):
                setattr(node, attribute, None)
        body = getattr(node, "body", None)
        if _has_docstring(body):
            del body[0]
    return [ast.dump(node, include_attributes=True) for node in tree.body]


def _has_docstring(body):
    if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
        return False
    return isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str)


@pytest.mark.parametrize("name", TEXTS)
def test_code_without_comments_is_the_same(name):
    sent = remote.without_comments(TEXTS[name])
    assert code_of(sent) == code_of(TEXTS[name])
    assert len(sent) < len(TEXTS[name])


def test_comment_after_code_is_removed_and_string_is_kept():
    code = 'X = """\n # a line of a string\n"""\ny = "  # no comment"\nz = 1  # a reason\n'
    assert remote.without_comments(code).splitlines()[3:] == ['y = "  # no comment"', "z = 1"]


def test_execnet_is_sent_without_unused_classes():
    def lines_of(source):
        named = (ast.ClassDef, ast.FunctionDef)
        return {node.name: node.lineno for node in ast.parse(source).body if isinstance(node, named)}

    whole, sent = lines_of(inspect.getsource(gateway_base)), lines_of(execnet_internals.remote_source())
    protocols = {"WriteIO", "ReadIO", "IO", "Event"}
    others = {"EventletExecModel", "GeventExecModel", "MainThreadOnlyExecModel"}
    # execnet 1.9 defines them in a function
    assert whole.keys() - sent.keys() - protocols == others & whole.keys()
    sent.pop("traceback")
    assert {name: whole[name] for name in sent} == sent


def test_remote_python_starts_without_modules_that_take_long_to_import():
    source = execnet_internals.remote_source()
    started = f"import sys; exec({source!r}); print(*sorted(sys.modules))"
    # -S: a .pth file in site-packages may import anything
    found = subprocess.run([sys.executable, "-ISc", started], stdout=subprocess.PIPE, check=True, text=True)
    assert {"typing", "traceback", "re"}.isdisjoint(found.stdout.split())


def test_first_line_is_small():
    # 21,776 with execnet 2.1.2; 60,743 bytes when all modules came along, with their comments
    assert len(bootstrap._first_line({}, "marker", "worker")) < 22_000
