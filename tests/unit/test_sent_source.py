"""What is sent to the remote side: without comments, and the same code all the same."""

import ast
import inspect
from pathlib import Path

import pytest
from execnet import gateway_base

from remoto import remote
from remoto.gateways import bootstrap

TEXTS = {path.stem: remote.text(path.name) for path in sorted(Path(remote.__file__).parent.glob("*.py"))}
TEXTS["execnet"] = inspect.getsource(gateway_base)


def code_of(text):
    """Return the syntax tree of a text, with the number of each line, and without docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        # a docstring may be the end of a class or function
        for attribute in ("end_lineno", "end_col_offset"):
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


def test_strings_and_comments_behind_code_are_kept():
    code = 'X = """\n # a line of a string\n"""\ny = "#"  # a reason\n'
    assert remote.without_comments(code).splitlines()[3] == 'y = "#"  # a reason'


def test_first_line_is_small():
    # 60,743 bytes when all modules came along, with their comments
    assert len(bootstrap._first_line({}, "marker", "worker")) < 26_000
