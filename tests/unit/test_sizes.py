"""No file, class or function of remoto is too long. Docstrings and signatures do not count."""

import ast
from pathlib import Path

import remoto

FILE, CLASS, FUNCTION = 450, 200, 40
#: the directory of the package
PACKAGE = Path(remoto.__file__).parent


def lines(node):
    """Return the number of lines from the first statement to the end, without docstrings."""
    docstrings = [inner for inner in ast.walk(node) if isinstance(inner, (ast.ClassDef, ast.FunctionDef))]
    text = sum(length(inner.body[0]) for inner in docstrings if ast.get_docstring(inner) is not None)
    return node.end_lineno - node.body[0].lineno + 1 - text


def length(node):
    return node.end_lineno - node.lineno + 1


def sizes():
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text("utf-8")
        name = str(path.relative_to(PACKAGE))
        yield name, source.count("\n"), FILE
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                yield f"{name}: {node.name}", lines(node), CLASS
            elif isinstance(node, ast.FunctionDef):
                yield f"{name}: {node.name}()", lines(node), FUNCTION


def test_files_classes_and_functions_are_short():
    found = list(sizes())
    assert len(found) > 500
    assert [(name, size) for name, size, limit in found if size > limit] == []
