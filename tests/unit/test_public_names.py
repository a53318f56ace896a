"""``__all__`` of the public modules."""

import ast
import inspect

import pytest

import remoto
import remoto.testing
from remoto import backends, connection, exc, file_sync, group, log, process, util

# shared by remoto's own modules, and not public
SHARED = {
    connection: {"find"},
    process: {"NO_EXIT_CODE"},
    file_sync: {"get_as", "get_into", "put_listed", "rsync_listed"},
    log: {"timed_out"},
    util: {"checked_seconds", "checked_text", "shown"},
}
MODULES = pytest.mark.parametrize(
    "module",
    [remoto, backends, connection, exc, file_sync, group, log, process, remoto.testing, util],
    ids=lambda module: module.__name__,
)


def defined(module):
    """Return the names that a module defines itself, without imports."""
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


@MODULES
def test_every_public_name_is_exported(module):
    public = {name for name in defined(module) if not name.startswith("_")}
    assert public - set(module.__all__) == SHARED.get(module, set())


@MODULES
def test_every_exported_name_exists_and_is_listed_once(module):
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert set(module.__all__) <= set(dir(module))
    assert module.__all__ == sorted(set(module.__all__))
