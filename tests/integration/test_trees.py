"""Whatever a tree holds: what arrives is what was sent, and a second run sends nothing."""

import os
import tempfile

import pytest

import remoto
from remoto.file_sync import get, put, rsync_conn
from tests.integration.test_files import listing

hypothesis = pytest.importorskip("hypothesis")
some = hypothesis.strategies

NAMES = some.binary(min_size=1, max_size=20).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
FILES = some.tuples(some.sampled_from([0o644, 0o600, 0o755, 0o400, 0o000]), some.binary(max_size=2000))
LINKS = some.lists(NAMES, min_size=1, max_size=2).map(b"/".join)
TREES = some.recursive(
    some.dictionaries(NAMES, FILES | LINKS, max_size=4),
    lambda inner: some.dictionaries(NAMES, inner | FILES | LINKS, max_size=4),
    max_leaves=12,
)


def build(tree, folder):
    os.mkdir(folder)
    for name, content in tree.items():
        path = os.path.join(folder, name)
        if isinstance(content, dict):
            build(content, path)
        elif isinstance(content, tuple):
            with open(path, "wb") as file:
                file.write(content[1])
            os.chmod(path, content[0])
        else:
            os.symlink(content, path)


@pytest.fixture(scope="module")
def conn():
    with remoto.Connection("localhost") as conn:
        yield conn


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(tree=TREES)
def test_any_tree(conn, tree):
    with tempfile.TemporaryDirectory() as work:
        work = os.fsencode(work)
        source, copy, back = (os.path.join(work, name) for name in (b"source", b"copy", b"back"))
        build(tree, source)
        wanted = listing(source)
        # bytes would be a file's contents
        put(conn, os.fsdecode(source), copy)
        get(conn, copy, back)
        assert listing(copy) == listing(back) == wanted
        sent = []
        rsync_conn(conn, source, copy, delete=True, progress=lambda number, total: sent.append(total))
        assert set(sent) <= {0} and listing(copy) == wanted


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(old=TREES, new=TREES)
def test_any_tree_over_another(conn, old, new):
    with tempfile.TemporaryDirectory() as work:
        work = os.fsencode(work)
        source, copy = os.path.join(work, b"source"), os.path.join(work, b"copy")
        build(old, copy)
        build(new, source)
        rsync_conn(conn, source, copy, delete=True)
        assert listing(copy) == listing(source)
