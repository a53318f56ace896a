"""put, get and rsync: the same over every backend."""

import io
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import remoto
from remoto import file_sync
from remoto.exc import ConnectionLost, FileTransferError, RsyncError
from remoto.file_sync import get, put, rsync, rsync_conn
from remoto.process import check

# modes, sizes, an empty file and folder, names that are no UTF-8 or hold a newline, links
TREE = {
    b"a": (0o644, b"some text\n"),
    b"empty": (0o600, b""),
    b"program": (0o755, b"#!/bin/sh\n"),
    b"folder/inner/large": (0o640, bytes(range(256)) * 4096),
    b"folder/new\nline": (0o644, b"x"),
    b"\xff\xfe": (0o644, b"odd"),
    "ä€😀".encode(): (0o444, b"read only"),
}


NEEDS_NO_PYTHON = True


def make_tree(root):
    root = os.fsencode(root)
    for name, (mode, data) in TREE.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    os.mkdir(os.path.join(root, b"empty folder"))
    os.symlink(b"a", os.path.join(root, b"link"))
    os.symlink(b"nowhere", os.path.join(root, b"dangling"))
    os.symlink(b"inner/large", os.path.join(root, b"folder/link"))


def listing(root):
    """{relative path: what it is}"""
    root = os.fsencode(root)
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            below = os.path.relpath(path, root)
            if stat.S_ISLNK(status.st_mode):
                found[below] = os.readlink(path)
            elif stat.S_ISDIR(status.st_mode):
                found[below] = "folder"
            else:
                with open(path, "rb") as file:
                    found[below] = (stat.S_IMODE(status.st_mode), int(status.st_mtime), file.read())
    return found


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    make_tree(folder)
    return folder


@pytest.fixture
def there(conn):
    """A folder on the other side."""
    path = check(conn, ["mktemp", "-d"]).stdout[0]
    yield path
    if conn.has_connection():
        check(conn, ["rm", "-rf", path])


def test_a_tree_there_and_back(conn, tree, there, tmp_path):
    put(conn, tree, f"{there}/copy")
    get(conn, f"{there}/copy", tmp_path / "back")
    assert listing(tmp_path / "back") == listing(tree)
    put(conn, tree, there)
    assert check(conn, ["ls", there]).stdout == ["copy", "tree"]


def is_shell(conn):
    """Without a Python everything is sent, whatever is there."""
    return "shell" in getattr(conn, "identifier", "")


def test_a_second_time_nothing_is_sent(conn, tree, there, tmp_path):
    size = sum(len(data) for _, data in TREE.values())
    nothing = {(size, size)} if is_shell(conn) else {(0, 0)}
    sent = []
    put(conn, tree, f"{there}/copy", progress=lambda number, total: sent.append((number, total)))
    assert sent[-1] == (size, size)
    sent.clear()
    put(conn, f"{tree}/", f"{there}/copy", progress=lambda number, total: sent.append((number, total)))
    assert set(sent[-1:]) <= nothing
    get(conn, f"{there}/copy/", tmp_path / "back")
    sent.clear()
    get(conn, f"{there}/copy/", tmp_path / "back", progress=lambda number, total: sent.append((number, total)))
    assert set(sent) <= {(0, 0)}


def test_one_file(conn, there, tmp_path):
    for source in (b"some bytes", io.BytesIO(b"some bytes")):
        put(conn, source, f"{there}/file")
        assert check(conn, ["cat", f"{there}/file"]).stdout == ["some bytes"]
    (tmp_path / "here").write_bytes(b"from a file")
    put(conn, str(tmp_path / "here"), there)
    get(conn, f"{there}/here", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"from a file"
    (tmp_path / "folder").mkdir()
    get(conn, f"{there}/here", tmp_path / "folder")
    assert (tmp_path / "folder/here").read_bytes() == b"from a file"


def test_large_files(conn, there, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(1024) * 20_000)
    put(conn, tmp_path / "large", there)
    get(conn, f"{there}/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_rsync_conn(conn, tree, there, logged):
    rsync_conn(conn, tree, f"{there}/copy")
    found = {text for text in logged.texts("INFO") if text.startswith("syncing file: ")}
    assert {"syncing file: a", "syncing file: folder/inner/large"} <= found
    assert len(found) == len(TREE)
    if is_shell(conn):
        with pytest.raises(FileTransferError, match="delete=True needs a Python there"):
            rsync_conn(conn, tree, f"{there}/copy", delete=True)
        return
    logged.clear()
    (tree / "a").write_text("changed")
    check(conn, ["touch", f"{there}/copy/more"])
    logged.clear()
    rsync_conn(conn, tree, f"{there}/copy", delete=True)
    assert [text for text in logged.texts("INFO") if "syncing" in text] == ["syncing file: a"]
    assert check(conn, ["cat", f"{there}/copy/a"]).stdout == ["changed"]
    assert check(conn, ["test", "-e", f"{there}/copy/more"]).returncode == 1


def test_a_source_that_is_not_there(conn, there, tmp_path):
    with pytest.raises(FileTransferError, match="no-such-file") as caught:
        put(conn, tmp_path / "no-such-file", there)
    assert isinstance(caught.value, OSError) and caught.value.errno == 2
    with pytest.raises(FileTransferError, match="no-such-file"):
        get(conn, f"{there}/no-such-file", tmp_path)
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


def test_a_destination_that_can_not_be_written(conn, there, tmp_path):
    with pytest.raises(FileTransferError, match="/proc/"):
        put(conn, b"x", "/proc/no-such-file")
    with pytest.raises(FileTransferError, match="no-such-folder"):
        put(conn, b"x", f"{there}/no-such-folder/file")
    put(conn, b"x", f"{there}/file")
    with pytest.raises(FileTransferError, match="/proc/"):
        get(conn, f"{there}/file", "/proc/no-such-file")


def test_no_litter(conn, there):
    put(conn, b"old", f"{there}/file")

    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        put(conn, Broken(), f"{there}/file")
    assert check(conn, ["sh", "-c", f"cat {there}/file; ls -A {there}"]).stdout == ["old" + "file"]


def test_a_container_without_tar(docker):
    # busybox, of which the other image consists, can't be had without one
    name = docker.run("python")
    docker.client("exec", name, "sh", "-c", "rm /usr/bin/python3* /bin/tar")
    with remoto.connection.get("docker")(container_name=name) as conn:
        for transfer in (put, get):
            with pytest.raises(FileTransferError, match="neither a Python nor a tar") as caught:
                transfer(conn, "/etc/passwd", "/tmp/passwd")
            assert name in str(caught.value)
    docker.remove(name)


def test_a_large_tree_without_python(docker_shell, tree, tmp_path):
    """More than any window; over a tree that is there, and a file that changes in between."""
    with remoto.connection.get("docker")(container_name=docker_shell) as conn:
        (tree / "large").write_bytes(os.urandom(1024) * 30_000)
        put(conn, tree, "/tmp/large tree")
        (tree / "a").write_text("changed")
        put(conn, f"{tree}/", "/tmp/large tree")
        get(conn, "/tmp/large tree", tmp_path / "back")
        assert {name: what for name, what in listing(tmp_path / "back").items() if name != b"a"} == {
            name: what for name, what in listing(tree).items() if name != b"a"
        }
        assert (tmp_path / "back/a").read_text() == "changed"
        check(conn, ["touch", "/tmp/large tree/a"])

        def shrink(sent, total):
            os.truncate(tree / "large", 1_000_000)

        with pytest.raises(OSError):
            put(conn, tree / "large", "/tmp/large tree/new", progress=shrink)
        assert check(conn, ["ls", "-A", "/tmp"]).stdout.count("large tree") == 1
        names = check(conn, ["ls", "-A", "/tmp/large tree"]).stdout
        assert "new" not in names and not [name for name in names if name.startswith(".remoto")]
        check(conn, ["rm", "-r", "/tmp/large tree"])


# what needs a host


@pytest.fixture
def node(sshd):
    with remoto.Connection("node0") as conn:
        yield conn


def test_no_space(node, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        put(node, b"old", small / "file")
        with pytest.raises(FileTransferError, match="No space left") as caught:
            put(node, b"x" * 3_000_000, small / "file")
        assert caught.value.errno == 28
        assert listing(small).keys() == {b"file"} and (small / "file").read_bytes() == b"old"
        with pytest.raises(FileTransferError, match="No space left"):
            get(node, "/bin/bash" if os.path.getsize("/bin/bash") > 1_000_000 else sys.executable, small / "file")
        assert listing(small).keys() == {b"file"} and (small / "file").read_bytes() == b"old"
    finally:
        subprocess.run(["umount", small], check=True)


def test_no_permission(sshd, users, tmp_path):
    with remoto.Connection("unprivileged") as conn:
        with pytest.raises(FileTransferError, match=r"/etc/remoto-test.*Permission denied"):
            put(conn, b"x", "/etc/remoto-test")
        with pytest.raises(FileTransferError, match=r"/etc/shadow.*Permission denied"):
            get(conn, "/etc/shadow", tmp_path)
    with remoto.Connection("unprivileged", sudo=True) as conn:
        get(conn, "/etc/shadow", tmp_path)
    assert (tmp_path / "shadow").read_bytes() == Path("/etc/shadow").read_bytes()


def test_a_file_that_changes_while_it_is_sent(node, tmp_path):
    source = tmp_path / "growing"
    source.write_bytes(b"x" * 30_000_000)

    def shrink(sent, total):
        if sent:
            os.truncate(source, 5_000_000)

    with pytest.raises(FileTransferError, match="growing"):
        put(node, source, tmp_path / "copy", progress=shrink)
    assert not (tmp_path / "copy").exists()
    assert [name for name in os.listdir(tmp_path) if "remoto" in name] == []


def test_the_connection_lost_halfway(sshd, tmp_path):
    (tmp_path / "source").write_bytes(b"new" * 20_000_000)
    (tmp_path / "copy").write_bytes(b"old")
    for transfer in (put, get):
        conn = remoto.Connection("node0")
        dropped = threading.Event()

        def drop(number, total, dropped=dropped):
            if number > 2_000_000 and not dropped.is_set():
                dropped.set()
                sshd.drop_sessions()

        with pytest.raises(ConnectionLost, match="node0"):
            transfer(conn, tmp_path / "source", tmp_path / "copy", progress=drop)
        assert dropped.is_set() and (tmp_path / "copy").read_bytes() == b"old"
        deadline = time.monotonic() + 10
        while set(os.listdir(tmp_path)) != {"source", "copy"}:
            assert time.monotonic() < deadline, os.listdir(tmp_path)
            time.sleep(0.02)
        conn.exit()


MEMORY = """
import sys, remoto
from remoto.file_sync import put, get
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
with remoto.Connection("localhost") as conn:
    put(conn, b"x", sys.argv[2])
    before = peak()
    put(conn, sys.argv[1], sys.argv[2])
    get(conn, sys.argv[2], sys.argv[3])
    print(peak() - before)
"""


def test_a_gigabyte_needs_little_memory(tmp_path):
    with open(tmp_path / "big", "wb") as file:
        file.truncate(1_000_000_000)
    paths = [tmp_path / name for name in ("big", "copy", "back")]
    done = subprocess.run([sys.executable, "-c", MEMORY, *paths], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 64 * 1024
    assert os.path.getsize(tmp_path / "back") == 1_000_000_000


# many hosts


def test_rsync_to_several_hosts(sshd, tree, tmp_path, logged):
    with pytest.raises(RsyncError) as caught:
        rsync(iter(["node1", "refused", "node2"]), tree, tmp_path / "copy")
    assert caught.value.succeeded == ["node1", "node2"] and list(caught.value.failures) == ["refused"]
    assert "refused" in str(caught.value) and "Connection refused" in str(caught.value)
    assert listing(tmp_path / "copy") == listing(tree)
    with pytest.raises(OSError, match="refused"):
        rsync("refused", tree, tmp_path / "copy")


def test_rsync_closes_what_it_has_opened(sshd, tree, tmp_path, monkeypatch):
    opened = []

    class Recording(remoto.Connection):
        def __init__(self, *args, **kw):
            super().__init__(*args, **kw)
            opened.append(self)

    monkeypatch.setattr(file_sync, "Connection", Recording)
    rsync(["node1", "node2"], tree, tmp_path / "copy")
    with pytest.raises(FileTransferError):
        rsync("node3", tree, "/proc/no-such-folder")
    assert len(opened) == 3 and not any(conn.has_connection() for conn in opened)


def test_rsync_with_sudo(sshd, users, tree, tmp_path):
    target = tmp_path / "made by root"
    rsync("unprivileged", tree, target, sudo=True)
    assert target.stat().st_uid == 0 and listing(target) == listing(tree)


def test_programs_may_replace_rsyncs_class(monkeypatch, tree):
    calls = []

    class Fake:
        def __init__(self, source, *args, **kw):
            calls.append(source)

        def add_target(self, gateway, destination, *args, **kw):
            calls.append(destination)

        def send(self):
            calls.append("send")

    monkeypatch.setattr(file_sync, "_RSync", Fake)
    rsync("localhost", "/source", "/destination")
    assert calls == ["/source", "/destination", "send"]


def test_a_source_that_vanishes_during_the_transfer(node, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"x" * 30_000_000)
    (source / "b").write_bytes(b"x")
    (source / "c").write_bytes(b"stays")

    def vanish(sent, total):
        if sent and (source / "b").exists():
            (source / "b").unlink()

    with pytest.raises(FileTransferError, match=r"source/b: No such file") as caught:
        put(node, source, tmp_path / "copy", progress=vanish)
    assert len(caught.value.failures) == 1
    assert sorted(os.listdir(tmp_path / "copy")) == ["a", "c"]


def test_rsync_tells_of_progress_and_takes_options(sshd, tree, tmp_path):
    told = []
    rsync(["node1", "node2"], tree, tmp_path / "copy", progress=lambda *numbers: told.append(numbers), ssh_options="-C")
    assert told[-1][0] == told[-1][1] > 0
    with pytest.raises(OSError, match="port 1"):
        rsync("node1", tree, tmp_path / "copy", ssh_options="-p 1")


def test_the_oldest_far_python(pythons, tree, tmp_path):
    """That the execnet here can start."""
    import execnet

    oldest = min(version for version in pythons if execnet.__version__ < "2" or version >= (3, 8))
    with remoto.Connection("localhost", interpreter=pythons[oldest]) as conn:
        put(conn, str(tree), tmp_path / "copy")
        get(conn, tmp_path / "copy", tmp_path / "back")
        assert listing(tmp_path / "back") == listing(tmp_path / "copy") == listing(tree)
        sent = []
        put(conn, f"{tree}/", tmp_path / "copy", progress=lambda number, total: sent.append(number))
        assert set(sent) <= {0}
