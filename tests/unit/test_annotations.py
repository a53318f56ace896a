"""``Any`` is in one file, which names its uses; these names are rare in the annotations of the package."""

import ast
from pathlib import Path

import remoto

PACKAGE = Path(remoto.__file__).parent
UNTYPED = PACKAGE / "untyped.py"
#: lower it whenever one is removed
MOST = 31


def trees():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))


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


def imported(tree, module):
    """Return the names that a file imports from a module."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == module]
    return {alias.name for node in imports for alias in node.names}


def test_any_is_in_one_file():
    users = [
        path
        for path, tree in trees()
        if "Any" in imported(tree, "typing") or any(getattr(node, "attr", "") == "Any" for node in ast.walk(tree))
    ]
    assert users == [UNTYPED.name]


def test_annotations_rarely_use_its_aliases():
    found = [
        f"{path}: {name}"
        for path, tree in trees()
        if (aliases := imported(tree, "untyped"))
        for annotation in annotations(tree)
        if annotation is not None
        for name in names(annotation)
        if name in aliases
    ]
    assert 0 < len(found) <= MOST, found


def test_each_alias_is_used():
    assigned = [node.targets[0].id for node in ast.parse(UNTYPED.read_text()).body if isinstance(node, ast.Assign)]
    used = {name for _, tree in trees() for name in imported(tree, "untyped")}
    assert used == {name for name in assigned if not name.startswith("_")}
