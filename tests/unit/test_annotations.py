"""``Any`` is rare in the annotations of the package."""

import ast
from pathlib import Path

import remoto

PACKAGE = Path(remoto.__file__).parent
#: lower it whenever one is removed
MOST = 59


def annotations(tree):
    """Yield the annotations of arguments, results and variables."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.arg, ast.AnnAssign)):
            yield node.annotation
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.returns


def names(annotation):
    """Yield the names in an annotation, including its quoted parts."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                yield from names(ast.parse(node.value, mode="eval"))
            except SyntaxError:
                pass  # an item of a Literal


def test_annotations_rarely_use_any():
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        for annotation in annotations(ast.parse(path.read_text("utf-8")))
        if annotation is not None
        for name in names(annotation)
        if name == "Any"
    ]
    assert 0 < len(found) <= MOST, {path: found.count(path) for path in found}
