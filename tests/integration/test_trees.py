"""Any tree arrives unchanged, and a second run sends nothing."""

import os
import stat
import tempfile

import pytest

import remoto
from remoto.exc import FileTransferError
from remoto.file_sync import get, put, rsync_conn
from remoto.process import check
from tests.integration.test_files import listing

hypothesis = pytest.importorskip("hypothesis")
some = hypothesis.strategies

NAMES = some.binary(min_size=1, max_size=20).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
# some are larger than the blocks in which they are read
DATA = some.binary(max_size=2000) | some.builds(
    lambda data, size: data * (size // len(data)), some.binary(min_size=1, max_size=50), some.integers(50, 700_000)
)
FILES = some.tuples(some.sampled_from([0o644, 0o600, 0o755, 0o400, 0o000]), DATA)
LINKS = some.lists(NAMES, min_size=1, max_size=2).map(b"/".join)
TIMES = some.integers(0, 2**33)
FOLDER_MODES = some.sampled_from([0o755, 0o700, 0o555, 0o1777, 0o000])


def directories(inner):
    """Return [mode, time, {name: contents}] of a tree."""
    return some.tuples(FOLDER_MODES, TIMES, some.dictionaries(NAMES, inner, max_size=4)).map(list)


TREES = some.recursive(
    directories(FILES | LINKS),
    lambda inner: directories(inner | FILES | LINKS),
    max_leaves=12,
)


def build(tree, directory):
    mode, time, contents = tree
    os.mkdir(directory)
    for name, content in contents.items():
        path = os.path.join(directory, name)
        if isinstance(content, list):
            build(content, path)
        elif isinstance(content, tuple):
            with open(path, "wb") as file:
                file.write(content[1])
            os.chmod(path, content[0])
        else:
            os.symlink(content, path)
    os.chmod(directory, mode)
    os.utime(directory, (time, time))


def itself(directory):
    status = os.stat(directory)
    return stat.S_IMODE(status.st_mode), int(status.st_mtime)


def as_received(what):
    """Return the ``listing`` or ``itself`` of a copy made by ``get``, which never sets set-id and sticky bits."""
    if isinstance(what, dict):
        return {name: as_received(content) for name, content in what.items()}
    return (what[0] & 0o777, *what[1:]) if isinstance(what, tuple) else what


@pytest.fixture(scope="module")
def conn():
    with remoto.Connection("localhost") as conn:
        yield conn


@pytest.mark.root
@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(tree=TREES)
def test_any_tree_is_copied(conn, tree):
    with tempfile.TemporaryDirectory() as work:
        work = os.fsencode(work)
        source, copy, back = (os.path.join(work, name) for name in (b"source", b"copy", b"back"))
        build(tree, source)
        wanted = listing(source)
        # bytes would be a file's contents
        put(conn, os.fsdecode(source), copy)
        get(conn, copy, back)
        assert listing(copy) == wanted and listing(back) == as_received(wanted)
        assert itself(copy) == itself(source) and itself(back) == as_received(itself(source))
        sent = []
        rsync_conn(conn, source, copy, delete=True, progress=lambda number, total: sent.append(total))
        assert set(sent) <= {0} and listing(copy) == wanted


@pytest.mark.root
@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(old=TREES, new=TREES)
def test_any_tree_replaces_another(conn, old, new):
    with tempfile.TemporaryDirectory() as work:
        work = os.fsencode(work)
        source, copy = os.path.join(work, b"source"), os.path.join(work, b"copy")
        build(old, copy)
        build(new, source)
        rsync_conn(conn, source, copy, delete=True)
        assert listing(copy) == listing(source)


@hypothesis.settings(max_examples=8, deadline=None, phases=[hypothesis.Phase.generate])
@hypothesis.given(old=TREES, new=TREES)
def test_any_tree_is_copied_by_tar(docker_shell, old, new):
    """Copy a tree to the remote side, over another one, and back."""
    with tempfile.TemporaryDirectory() as work, remoto.connection.get("docker")(container_name=docker_shell) as conn:
        work = os.fsencode(work)
        before, source, back = (os.path.join(work, name) for name in (b"before", b"source", b"back"))
        build(old, before)
        build(new, source)
        check(conn, ["rm", "-rf", "/tmp/any tree"])
        put(conn, os.fsdecode(before), "/tmp/any tree")
        try:
            put(conn, os.fsdecode(source) + "/", "/tmp/any tree")
        except FileTransferError as error:
            # a directory that is not empty is not replaced by a file
            assert "not empty" in str(error)
            return
        get(conn, "/tmp/any tree", back)
        found = listing(back)
        assert {name: found.get(name) for name in listing(source)} == as_received(listing(source))
