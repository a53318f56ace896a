"""put, get and rsync: the same over every backend."""

import errno
import io
import itertools
import logging
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

import remoto
from remoto import file_sync
from remoto.commands.answers import Block, Exited
from remoto.exc import ConnectionLost, FileTransferError, HostError, RsyncError
from remoto.file_sync import CopyResult, get, put, rsync, rsync_conn
from remoto.files import tar_reading
from remoto.files import transfer as transfer_module
from remoto.files.rsync import Shares
from remoto.files.tar_writing import Archive
from remoto.process import check
from remoto.remote.filesystem import remove
from remoto.remote.receiver import Receiver
from remoto.remote.records import (
    Failure,
)
from remoto.remote.wire import STDOUT
from tests.integration import leftovers
from tests.integration.leftovers import wait_until

# modes, sizes, an empty file and directory, names that are not UTF-8 or contain a newline, links
TREE = {
    b"a": (0o644, b"some text\n"),
    b"empty": (0o600, b""),
    b"program": (0o755, b"#!/bin/sh\n"),
    b"directory/inner/large": (0o640, bytes(range(256)) * 4096),
    b"directory/new\nline": (0o644, b"x"),
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
    os.mkdir(os.path.join(root, b"empty directory"), 0o750)
    os.symlink(b"a", os.path.join(root, b"link"))
    os.symlink(b"nowhere", os.path.join(root, b"dangling"))
    os.symlink(b"inner/large", os.path.join(root, b"directory/link"))
    os.chmod(os.path.join(root, b"directory"), 0o555)
    for directory in (b"empty directory", b"directory/inner", b"directory"):
        os.utime(os.path.join(root, directory), (1_100_000_000, 1_100_000_000))


def listing(root):
    """{relative path: what it is}"""
    root = os.fsencode(root)
    found = {}
    for directory, directories, others in os.walk(root):
        for name in directories + others:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            below = os.path.relpath(path, root)
            if stat.S_ISLNK(status.st_mode):
                found[below] = os.readlink(path)
            elif stat.S_ISDIR(status.st_mode):
                found[below] = (stat.S_IMODE(status.st_mode), int(status.st_mtime))
            else:
                with open(path, "rb") as file:
                    found[below] = (stat.S_IMODE(status.st_mode), int(status.st_mtime), file.read())
    return found


@pytest.fixture
def tree(tmp_path):
    directory = tmp_path / "tree"
    directory.mkdir()
    make_tree(directory)
    return directory


@pytest.fixture
def there(conn):
    """A directory on the remote side."""
    path = check(conn, ["mktemp", "-d"]).stdout[0]
    yield path
    if conn.has_connection():
        check(conn, ["rm", "-rf", path])


def test_put_and_get_copy_a_tree(conn, tree, there, tmp_path):
    put(conn, tree, f"{there}/copy")
    get(conn, f"{there}/copy", tmp_path / "back")
    assert listing(tmp_path / "back") == listing(tree)
    put(conn, tree, there)
    assert check(conn, ["ls", there]).stdout == ["copy", "tree"]


def is_shell(conn):
    """Without Python, all files are sent again."""
    return "shell" in getattr(conn, "identifier", "")


def test_unchanged_tree_is_not_sent_again(conn, tree, there, tmp_path):
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


def test_result_counts_copied_and_unchanged_files(conn, tree, there, tmp_path):
    size = sum(len(data) for _, data in TREE.values())
    everything = CopyResult(copied=len(TREE), unchanged=0, size=size)
    nothing = CopyResult(copied=0, unchanged=len(TREE), size=0)
    assert put(conn, f"{tree}/", f"{there}/copy") == everything
    assert put(conn, f"{tree}/", f"{there}/copy") == (everything if is_shell(conn) else nothing)
    assert get(conn, f"{there}/copy/", tmp_path / "back") == everything
    assert get(conn, f"{there}/copy/", tmp_path / "back") == nothing
    (tmp_path / "back/a").chmod(0o600)
    assert get(conn, f"{there}/copy/", tmp_path / "back") == nothing._replace(unchanged=len(TREE) - 1)
    assert put(conn, b"12345", f"{there}/data") == (1, 0, 5)


def test_progress_of_data_has_a_total(conn, there, tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(b"before" + data)
    with open(tmp_path / "file", "rb") as file, open(tmp_path / "file", "rb", buffering=0) as raw:
        for source in (data, bytearray(data), io.BytesIO(data), file, raw):
            if source in (file, raw):
                assert source.read(6) == b"before"
            reported = []
            put(conn, source, f"{there}/copy", progress=lambda *numbers, reported=reported: reported.append(numbers))
            assert {total for _, total in reported} == {len(data)} and reported[-1] == (len(data), len(data))
            assert len(reported) > 2 and reported == sorted(reported)


def test_progress_of_a_pipe_has_no_total_before_the_end(conn, there):
    reader, writer = os.pipe()
    data = os.urandom(3_000_000)

    def write():
        with open(writer, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    reported = []
    with open(reader, "rb") as source:
        put(conn, source, f"{there}/copy", progress=lambda *numbers: reported.append(numbers))
    thread.join()
    # without a remote Python, it is read to the end first
    totals = {len(data)} if is_shell(conn) else {None}
    assert len(reported) > 2 and reported.pop() == (len(data), len(data)) and {total for _, total in reported} == totals


def test_progress_of_a_tree_has_a_total_that_fits_the_end(conn, tree, there, tmp_path):
    size = sum(len(data) for _, data in TREE.values())
    reported = []
    put(conn, tree, f"{there}/copy", progress=lambda *numbers: reported.append(numbers))
    assert {total for _, total in reported} == {size}
    reported.clear()
    get(conn, f"{there}/copy", tmp_path / "back", progress=lambda *numbers: reported.append(numbers))
    # a tar archive does not begin with a list of its members
    totals = {total for received, total in reported if received < size}
    assert totals <= ({None} if is_shell(conn) else {size}) and reported[-1] == (size, size)


def test_error_has_the_side_of_the_path(conn, there, tmp_path):
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source/fifo")
    put(conn, b"x", f"{there}/file")
    for side, path, transfer in (
        ("local", tmp_path / "missing", lambda: put(conn, tmp_path / "missing", there)),
        ("local", tmp_path / "source/fifo", lambda: put(conn, tmp_path / "source", f"{there}/source")),
        ("remote", "/proc/", lambda: put(conn, b"x", "/proc/no-such-file")),
        ("remote", f"{there}/missing", lambda: get(conn, f"{there}/missing", tmp_path)),
        ("local", "/proc/", lambda: get(conn, f"{there}/file", "/proc/no-such-file")),
    ):
        with pytest.raises(FileTransferError, match=f": {side} path {path}") as caught:
            transfer()
        assert caught.value.side == side and caught.value.path.startswith(str(path))


def test_put_and_get_copy_a_file(conn, there, tmp_path):
    for source in (b"some bytes", io.BytesIO(b"some bytes")):
        put(conn, source, f"{there}/file", timeout=0)
        assert check(conn, ["cat", f"{there}/file"]).stdout == ["some bytes"]
    (tmp_path / "here").write_bytes(b"from a file")
    put(conn, str(tmp_path / "here"), there)
    get(conn, f"{there}/here", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"from a file"
    (tmp_path / "directory").mkdir()
    get(conn, f"{there}/here", tmp_path / "directory")
    assert (tmp_path / "directory/here").read_bytes() == b"from a file"


def test_large_files_are_copied(conn, there, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(1024) * 20_000)
    put(conn, tmp_path / "large", there)
    get(conn, f"{there}/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_rsync_conn_copies_changed_files(conn, tree, there, logged):
    rsync_conn(conn, tree, f"{there}/copy")
    found = {text for text in logged.texts("INFO") if text.startswith("syncing file: ")}
    assert {"syncing file: a", "syncing file: directory/inner/large"} <= found
    assert len(found) == len(TREE)
    if is_shell(conn):
        with pytest.raises(FileTransferError, match="delete=True requires Python in the container"):
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


def test_missing_source_is_reported(conn, there, tmp_path):
    with pytest.raises(FileTransferError, match="no-such-file") as caught:
        put(conn, tmp_path / "no-such-file", there)
    assert isinstance(caught.value, OSError) and caught.value.errno == 2
    with pytest.raises(FileTransferError, match="no-such-file"):
        get(conn, f"{there}/no-such-file", tmp_path)
    assert check(conn, ["echo", "usable"]).stdout == ["usable"]


def test_nul_in_a_path_is_refused(conn, there, tmp_path):
    (tmp_path / "x").touch()
    for function, *paths in (
        (put, b"x", f"{there}/x\0y"),
        (put, f"{tmp_path}/x\0y", there),
        (get, f"{there}\0", tmp_path),
        (get, there, f"{tmp_path}/x\0y"),
        (rsync_conn, f"{tmp_path}\0", there),
        (rsync_conn, os.fsencode(tmp_path), os.fsencode(there) + b"\0"),
    ):
        with pytest.raises(ValueError, match="embedded null byte"):
            function(conn, *paths)
    assert check(conn, ["ls", "-A", there]).stdout == []


def test_unwritable_destination_is_reported(conn, there, tmp_path):
    with pytest.raises(FileTransferError, match="/proc/"):
        put(conn, b"x", "/proc/no-such-file")
    with pytest.raises(FileTransferError, match="no-such-directory"):
        put(conn, b"x", f"{there}/no-such-directory/file")
    put(conn, b"x", f"{there}/file")
    with pytest.raises(FileTransferError, match="/proc/"):
        get(conn, f"{there}/file", "/proc/no-such-file")


def test_failed_transfer_leaves_no_temporary_file(conn, there):
    put(conn, b"old", f"{there}/file")

    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        put(conn, Broken(), f"{there}/file")
    assert check(conn, ["sh", "-c", f"cat {there}/file; ls -A {there}"]).stdout == ["old" + "file"]


def test_container_without_tar_is_reported(docker):
    # the other image is busybox, which always has tar
    name = docker.run("python")
    docker.client("exec", name, "sh", "-c", "rm /usr/bin/python3* /bin/tar")
    with remoto.connection.get("docker")(container_name=name) as conn:
        for transfer in (put, get):
            with pytest.raises(FileTransferError, match="neither Python nor tar") as caught:
                transfer(conn, "/etc/passwd", "/tmp/passwd")
            assert name in str(caught.value)
    docker.remove(name)


def test_large_tree_is_copied_without_python(docker_shell, tree, tmp_path):
    """The tree is larger than any window; it is sent over an existing one, and a file changes meanwhile."""
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

        with pytest.raises(FileTransferError, match="large: changed while it was sent"):
            put(conn, tree / "large", "/tmp/large tree/new", progress=shrink)
        assert check(conn, ["ls", "-A", "/tmp"]).stdout.count("large tree") == 1
        names = check(conn, ["ls", "-A", "/tmp/large tree"]).stdout
        assert "new" not in names and not [name for name in names if name.startswith(".remoto")]
        check(conn, ["rm", "-r", "/tmp/large tree"])


def test_empty_source_is_refused(conn, there, tmp_path, monkeypatch):
    """It does not mean the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    check(conn, ["touch", f"{there}/stays"])
    for transfer in (put, rsync_conn):
        with pytest.raises(FileTransferError) as caught:
            transfer(conn, "", there)
        assert caught.value.errno == 2
    with pytest.raises(FileTransferError):
        rsync_conn(conn, "", there, delete=True)
    assert check(conn, ["ls", there]).stdout == ["stays"]


@pytest.mark.root
def test_device_or_fifo_is_not_replaced(conn, there, tmp_path):
    check(conn, ["mkfifo", f"{there}/fifo"])
    (tmp_path / "source").mkdir()
    (tmp_path / "source/fifo").write_bytes(b"x")
    for source, destination in (
        (b"x", f"{there}/fifo"),
        (str(tmp_path / "source"), f"{there}/fifo"),
        (f"{tmp_path}/source/", there),
    ):
        with pytest.raises(FileTransferError, match="is a device, FIFO or socket: not replaced"):
            put(conn, source, destination)
    assert check(conn, ["test", "-p", f"{there}/fifo"]).returncode == 0
    assert check(conn, ["ls", "-A", there]).stdout == ["fifo"]
    put(conn, b"x", f"{there}/file")
    os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(FileTransferError, match="is a device, FIFO or socket: not replaced") as caught:
        get(conn, f"{there}/file", tmp_path / "null")
    assert caught.value.errno == errno.EINVAL and stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_fifo_in_the_source_is_skipped(conn, there, tmp_path):
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source/fifo")
    (tmp_path / "source/file").write_bytes(b"x")
    with pytest.raises(FileTransferError, match="source/fifo: not a regular file, directory or symbolic link"):
        put(conn, tmp_path / "source", f"{there}/copy")
    assert check(conn, ["ls", f"{there}/copy"]).stdout == ["file"]
    with pytest.raises(FileTransferError, match="not a regular file, directory or symbolic link"):
        put(conn, tmp_path / "source/fifo", there)
    check(conn, ["mkfifo", f"{there}/copy/fifo"])
    with pytest.raises(FileTransferError, match="fifo: not a regular file, directory or symbolic link"):
        get(conn, f"{there}/copy", tmp_path / "back")
    assert os.listdir(tmp_path / "back") == ["file"]
    with pytest.raises(FileTransferError, match="fifo: not a regular file, directory or symbolic link"):
        get(conn, f"{there}/copy/fifo", tmp_path / "one")


def test_hard_links_are_copied_or_reported(conn, there, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(b"x")
    os.link(tmp_path / "source/a", tmp_path / "source/b")
    put(conn, tmp_path / "source", f"{there}/copy")
    assert check(conn, ["cat", f"{there}/copy/a", f"{there}/copy/b"]).stdout == ["xx"]
    check(conn, ["ln", f"{there}/copy/a", f"{there}/copy/c"])
    if is_shell(conn):
        with pytest.raises(FileTransferError, match="is a hard link"):
            get(conn, f"{there}/copy", tmp_path / "back")
        assert len(os.listdir(tmp_path / "back")) == 2
    else:
        get(conn, f"{there}/copy", tmp_path / "back")
        assert sorted(os.listdir(tmp_path / "back")) == ["a", "b", "c"]


def test_files_of_unknown_size_are_copied(conn, there, tmp_path):
    put(conn, "/proc/cpuinfo", there)
    assert check(conn, ["grep", "-c", "^processor", f"{there}/cpuinfo"]).stdout[0] != "0"
    put(conn, "/sys/kernel/mm/transparent_hugepage/enabled", there)
    assert check(conn, ["cat", f"{there}/enabled"]).stdout[0].count("never") == 1
    if not is_shell(conn):
        get(conn, "/proc/version", tmp_path / "version")
        assert (tmp_path / "version").read_text() == Path("/proc/version").read_text()


def test_link_that_points_outside_is_skipped_and_the_rest_is_copied(conn, tree, there, tmp_path):
    put(conn, tree, f"{there}/copy")
    check(conn, ["ln", "-s", "../../etc/passwd", f"{there}/copy/bad"])
    with pytest.raises(FileTransferError) as caught:
        get(conn, f"{there}/copy", tmp_path / "back")
    reason = "refused: a link that points out of the directory, to ../../etc/passwd"
    assert caught.value.failures == [(f"{tmp_path}/back/bad", reason)]
    assert listing(tmp_path / "back") == listing(tree)


@pytest.mark.root
def test_replaced_file_keeps_its_owner_and_data_its_mode(conn, there, tmp_path):
    for name in ("data", "file", "directory/file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"new")
        (tmp_path / name).chmod(0o604)
    check(conn, ["mkdir", f"{there}/directory"])
    names = [f"{there}/{name}" for name in ("data", "file", "directory/file")]
    check(conn, ["touch", *names])
    check(conn, ["chmod", "640", *names])
    check(conn, ["chown", "12:34", *names])
    put(conn, b"new", names[0])
    put(conn, str(tmp_path / "file"), there)
    put(conn, f"{tmp_path}/directory/", f"{there}/directory")
    rows = [row.split() for row in check(conn, ["ls", "-ldn", *names]).stdout]
    assert [(row[0], *row[2:5]) for row in rows] == [
        ("-rw-r-----", "12", "34", "3"),
        ("-rw----r--", "12", "34", "3"),
        ("-rw----r--", "12", "34", "3"),
    ]


def test_link_as_the_destination_is_followed(conn, there):
    check(conn, ["sh", "-c", f"cd {there}; mkdir directory; echo old > directory/file; ln -s directory/file link"])
    put(conn, b"new", f"{there}/link")
    assert check(conn, ["sh", "-c", f"cd {there}; readlink link; cat directory/file; ls -A . directory"]).stdout == [
        *("directory/file", "new.:", "directory", "link", "", "directory:", "file")
    ]


def test_dangling_link_as_the_destination_is_followed(conn, there):
    check(conn, ["sh", "-c", f"cd {there}; mkdir directory; ln -s directory/link link; ln -s file directory/link"])
    put(conn, b"new", f"{there}/link")
    assert check(conn, ["sh", "-c", f"cd {there}; readlink link; cat directory/file; ls -A . directory"]).stdout == [
        *("directory/link", "new.:", "directory", "link", "", "directory:", "file", "link")
    ]


def test_unusual_destinations_are_written_or_reported(conn, there, tmp_path):
    with pytest.raises(FileTransferError, match="missing/: No such file or directory"):
        put(conn, b"x", f"{there}/missing/")
    put(conn, b"x", f"{there}/file")
    with pytest.raises(FileTransferError, match="file/: Not a directory"):
        put(conn, b"x", f"{there}/file/")
    with pytest.raises(FileTransferError, match="missing/: No such file or directory"):
        get(conn, f"{there}/file", f"{tmp_path}/missing/")
    name = f"-n{os.path.basename(there)}"
    try:
        put(conn, b"x", name)
        (tmp_path / "directory").mkdir()
        put(conn, tmp_path / "directory", f"{name} directory")
        put(conn, f"{tmp_path}/directory/", f"{name} directory")
        get(conn, name, tmp_path / "back")
        get(conn, f"{name} directory", tmp_path / "back directory")
        assert (tmp_path / "back").read_bytes() == b"x" and (tmp_path / "back directory").is_dir()
    finally:
        check(conn, ["rm", "-r", "--", f"./{name}", f"./{name} directory"])


def test_directories_replace_files_and_links(conn, tree, there, tmp_path):
    """Existing directories get modes and times, too."""
    check(conn, ["mkdir", "-p", f"{there}/copy/directory/link", f"{there}/copy/a"])
    check(conn, ["touch", f"{there}/copy/empty directory", f"{there}/copy/empty"])
    check(conn, ["ln", "-s", "/etc", f"{there}/copy/directory/inner"])
    put(conn, f"{tree}/", f"{there}/copy")
    get(conn, f"{there}/copy/", tmp_path / "back")
    assert listing(tmp_path / "back") == listing(tree)


def test_file_that_grows_or_is_touched_while_it_is_sent_is_reported(conn, there, tmp_path):
    source = tmp_path / "source"
    for change in (lambda: source.open("ab").write(b"more"), lambda: os.utime(source, (1, 1))):
        source.write_bytes(b"x" * 3_000_000)
        with pytest.raises(FileTransferError, match="source: changed while it was sent"):
            put(conn, source, f"{there}/copy", progress=lambda sent, total, change=change: sent and change())
        assert check(conn, ["ls", "-A", there]).stdout == []


def test_progress_is_not_called_for_an_empty_transfer(conn, there, tmp_path):
    put(conn, b"", f"{there}/empty", progress=lambda sent, total: sent / total)
    get(conn, f"{there}/empty", tmp_path / "empty", progress=lambda sent, total: sent / total)


# tests that need a host, or that are the same for all backends with Python


@pytest.fixture
def node(sshd):
    with remoto.Connection("node0") as conn:
        yield conn


@pytest.mark.root
def test_full_disk_is_reported(node, tmp_path):
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


def test_missing_permission_is_reported(sshd, users, tmp_path):
    with remoto.Connection("unprivileged") as conn:
        with pytest.raises(FileTransferError, match=r"/etc/remoto-test.*Permission denied"):
            put(conn, b"x", "/etc/remoto-test")
        with pytest.raises(FileTransferError, match=r"/etc/shadow.*Permission denied"):
            get(conn, "/etc/shadow", tmp_path)
    with remoto.Connection("unprivileged", sudo=True) as conn:
        get(conn, "/etc/shadow", tmp_path)
    assert (tmp_path / "shadow").read_bytes() == Path("/etc/shadow").read_bytes()


def test_file_that_changes_while_it_is_sent_is_reported(node, tmp_path):
    source = tmp_path / "growing"
    source.write_bytes(b"x" * 30_000_000)

    def shrink(sent, total):
        if sent:
            os.truncate(source, 5_000_000)

    with pytest.raises(FileTransferError, match="growing"):
        put(node, source, tmp_path / "copy", progress=shrink)
    assert not (tmp_path / "copy").exists()
    assert [name for name in os.listdir(tmp_path) if "remoto" in name] == []


def test_connection_lost_during_a_transfer_leaves_the_old_file(sshd, tmp_path):
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
        wait_until(lambda: set(os.listdir(tmp_path)) == {"source", "copy"})
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


# two gigabytes, each with digests on both sides
@pytest.mark.timeout(240)
def test_gigabyte_is_copied_in_little_memory(tmp_path):
    with open(tmp_path / "big", "wb") as file:
        file.truncate(1_000_000_000)
    paths = [tmp_path / name for name in ("big", "copy", "back")]
    done = subprocess.run([sys.executable, "-c", MEMORY, *paths], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 64 * 1024
    assert os.path.getsize(tmp_path / "back") == 1_000_000_000


FLOODED = """
import os, sys, time, remoto
from remoto import file_sync
from remoto.exc import ConnectionLost, FileTransferError
from remoto.files import transfer
from remoto.remote.records import (
    BEGIN, COMPARED, DATA, ENTRY, ENTRY_HEAD, FILE, FILE_HEAD, HEAD, LISTED, NO_PARENT, NO_SIZE, SKIP, WANTED, Failure,
)

def record(kind, data):
    return HEAD.pack(kind, len(data)) + data

case, marker = sys.argv[1:]
listing = b"".join([
    record(ENTRY, ENTRY_HEAD.pack(NO_PARENT, FILE, 0o644, 0, 1, 0)),
    record(LISTED, b""),
    record(BEGIN, FILE_HEAD.pack(0, 0o644, 0, NO_SIZE)),
    record(DATA, b"x"),
])
skipped = record(SKIP, Failure(b"x" * 1000, 13, "Permission denied").pack())
# what begins the transfer, and a message that is sent again and again
begin, flood = {
    "data": (listing, record(DATA, b"x" * 100_000)),
    "small messages": (listing, record(DATA, b"x")),
    "files skipped": (listing, skipped * 100),
    "files wanted": (record(COMPARED, bytes(4)), record(WANTED, bytes(4000))),
}[case]

def send(channel, begin, flood, marker):
    channel.send(begin)
    for _ in range(min(150_000_000 // (len(flood) + 150), 400_000)):
        channel.send(flood)
    open(marker, "w").close()
    for acknowledgement in channel:
        pass

class Hostile:
    def start(self, gateway, request):
        return gateway.remote_exec(send, begin=begin, flood=flood, marker=marker)

def wait(*_):
    # for a disk, or a source, that is slower than the remote side
    while conn.has_connection() and not os.path.exists(marker):
        time.sleep(0.01)
    return b""

class Source:
    read = staticmethod(wait)

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

transfer._GET = transfer._PUT = Hostile()
with remoto.Connection("localhost") as conn:
    before = peak()
    try:
        if case == "files wanted":
            file_sync.put(conn, Source(), "/no/such/directory")
        else:
            file_sync.get(conn, "/x", marker + ".copy", progress=wait)
    except (ConnectionLost, FileTransferError) as error:
        print(peak() - before, os.path.exists(marker), error)
"""


@pytest.mark.parametrize("case", ["data", "small messages", "files skipped", "files wanted"])
def test_remote_side_that_does_not_wait_uses_little_memory(tmp_path, case):
    (tmp_path / "flooded.py").write_text(FLOODED)
    command = [sys.executable, tmp_path / "flooded.py", case, tmp_path / "marker"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=55)
    memory, has_sent_all, error = done.stdout.split(" ", 2)
    assert has_sent_all == "False" and "localhost" in error and int(memory) < 64 * 1024


# many hosts


@pytest.mark.root
def test_rsync_copies_to_several_hosts(sshd, tree, tmp_path, logged):
    with pytest.raises(RsyncError) as caught:
        rsync(iter(["node1", "refused", "node2"]), tree, tmp_path / "copy")
    assert caught.value.succeeded == ["node1", "node2"] and list(caught.value.failures) == ["refused"]
    assert "refused" in str(caught.value) and "Connection refused" in str(caught.value)
    assert listing(tmp_path / "copy") == listing(tree)
    with pytest.raises(HostError, match="refused"):
        rsync("refused", tree, tmp_path / "copy")


@pytest.mark.root
def test_rsync_closes_its_connections(sshd, tree, tmp_path, monkeypatch):
    opened = []

    class Recording(remoto.Connection):
        def __init__(self, *args, **kw):
            super().__init__(*args, **kw)
            opened.append(self)

    monkeypatch.setattr(file_sync, "Connection", Recording)
    rsync(["node1", "node2"], tree, tmp_path / "copy")
    with pytest.raises(FileTransferError):
        rsync("node3", tree, "/proc/no-such-directory")
    assert len(opened) == 3 and not any(conn.has_connection() for conn in opened)


def test_rsync_of_a_missing_source_does_not_connect(monkeypatch, tmp_path):
    monkeypatch.setattr(file_sync, "Connection", None)
    for hosts in ("node1", ["node1", "node2"]):
        with pytest.raises(FileTransferError, match=f"{tmp_path}/missing: No such file or directory") as caught:
            rsync(hosts, tmp_path / "missing", tmp_path / "copy")
        assert caught.value.errno == 2
    with pytest.raises(TypeError, match="not bytes"):
        rsync(b"node1", tmp_path, tmp_path / "copy")


def test_ctrl_c_while_rsync_connects_leaves_nothing(tmp_path):
    """ssh never answers."""
    script = (
        '#!/bin/sh\n[ "$1" = -G ] && exit 1\nfor host; do case $host in node*) touch connecting-$host; esac; done\n'
    )
    (tmp_path / "ssh").write_text(f"{script}exec sleep 100\n")
    (tmp_path / "ssh").chmod(0o755)
    program = subprocess.Popen(
        [sys.executable, "-c", "import remoto; remoto.rsync(['node1', 'node2'], '/etc/passwd', '/tmp')"],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", leftovers.VARIABLE: f"connecting-{os.getpid()}"},
    )
    wait_until(lambda: len(list(tmp_path.glob("connecting-*"))) == 2)
    program.send_signal(signal.SIGINT)
    try:
        assert program.wait(50) == -signal.SIGINT and b"KeyboardInterrupt" in program.communicate()[1]
    finally:
        program.kill()
    wait_until(lambda: not leftovers.started_with(f"connecting-{os.getpid()}"))


def test_rsync_logs_to_the_given_logger(tree, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rsync("localhost", tree, tmp_path / "copy", logger=logging.getLogger("mine"))
    assert ("mine", logging.INFO, "syncing file: a") in caplog.record_tuples


def test_rsync_with_sudo_writes_as_root(sshd, users, tree, tmp_path):
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


def test_source_removed_during_the_transfer_is_reported(node, tmp_path):
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


@pytest.mark.root
def test_rsync_reports_progress_and_accepts_options(sshd, tree, tmp_path):
    reported = []
    rsync(
        ["node1", "node2"],
        tree,
        tmp_path / "copy",
        progress=lambda *numbers: reported.append(numbers),
        ssh_options="-C",
    )
    assert reported[-1][0] == reported[-1][1] > 0
    with pytest.raises(HostError, match="port 1"):
        rsync("node1", tree, tmp_path / "copy", ssh_options="-p 1")


def test_oldest_remote_python_copies_files(pythons, tree, tmp_path):
    """The oldest that the installed execnet can start."""
    import execnet

    oldest = min(version for version in pythons if execnet.__version__ < "2" or version >= (3, 7))
    with remoto.Connection("localhost", interpreter=pythons[oldest]) as conn:
        put(conn, str(tree), tmp_path / "copy")
        get(conn, tmp_path / "copy", tmp_path / "back")
        assert listing(tmp_path / "back") == listing(tmp_path / "copy") == listing(tree)
        sent = []
        put(conn, f"{tree}/", tmp_path / "copy", progress=lambda number, total: sent.append(number))
        assert set(sent) <= {0}


def test_progress_of_a_file_without_a_size_has_no_total_before_the_end(local, tmp_path):
    symbols = Path("/proc/kallsyms")
    if not symbols.exists() or len(symbols.read_bytes()) < 3_000_000:
        pytest.skip("no large file of unknown size")
    for transfer in (put, get):
        reported = []
        result = transfer(
            local,
            str(symbols),
            tmp_path / "copy",
            progress=lambda *numbers, reported=reported: reported.append(numbers),
        )
        assert len(reported) > 2 and reported.pop() == (result.size, result.size)
        assert {total for _, total in reported} == {None}


def test_progress_of_several_hosts_has_no_total_before_each_has_one():
    reported = []
    shares = Shares(lambda *numbers: reported.append(numbers))
    shares.of("a")(1, None)
    shares.of("b")(2, 4)
    shares.of("a")(3, 3)
    assert reported == [(1, None), (3, None), (5, 7)]


@pytest.fixture
def local():
    with remoto.Connection("localhost") as conn:
        yield conn


def test_changed_mode_is_copied(local, tree, tmp_path):
    put(local, tree, tmp_path / "copy")
    (tree / "a").chmod(0o711)
    sent = []
    put(local, f"{tree}/", tmp_path / "copy", progress=lambda *numbers: sent.append(numbers))
    assert sent == [] and listing(tmp_path / "copy") == listing(tree)


def test_files_that_could_not_be_read_are_not_deleted(local, tree, tmp_path):
    os.mkfifo(tree / "fifo")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/stays").touch()
    with pytest.raises(FileTransferError, match="fifo"):
        rsync_conn(local, tree, tmp_path / "copy", delete=True)
    assert (tmp_path / "copy/stays").exists() and (tmp_path / "copy/a").exists()


def test_temporary_files_of_another_transfer_are_not_deleted(local, tree, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/.remoto-0123456789abcdef").touch()
    rsync_conn(local, tree, tmp_path / "copy", delete=True)
    assert (tmp_path / "copy/.remoto-0123456789abcdef").exists()


def test_local_failure_leaves_nothing_on_the_remote_side(local, tmp_path):
    def fail(sent, total):
        if sent > 25_000_000:
            raise ZeroDivisionError

    (tmp_path / "source").write_bytes(b"x" * 30_000_000)
    with pytest.raises(ZeroDivisionError):
        put(local, str(tmp_path / "source"), tmp_path / "copy", progress=fail)
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize("setting", ["timeout", "global_timeout"])
@pytest.mark.parametrize("transfer", [put, get])
def test_timeout_applies_when_the_remote_side_stops(monkeypatch, tmp_path, transfer, setting):
    """The remote side neither reads nor writes; the data does not fit into the pipe."""
    monkeypatch.setattr(transfer_module, "ABANDON_TIMEOUT", 0.2)
    (tmp_path / "source").write_bytes(b"x" * 20_000_000)
    conn = remoto.Connection("localhost")
    options = {"timeout": 0.5} if setting == "timeout" else {}
    conn.global_timeout = 0.5 if setting == "global_timeout" else None
    pid = conn.gateway._io.popen.pid

    def stop(number, total):
        if number:
            os.kill(pid, signal.SIGSTOP)

    try:
        with pytest.raises(FileTransferError, match=r"no answer for 0\.5 seconds") as raised:
            transfer(conn, str(tmp_path / "source"), tmp_path / "copy", progress=stop, **options)
        assert raised.value.errno == errno.ETIMEDOUT
    finally:
        os.kill(pid, signal.SIGCONT)
        conn.exit()
    assert not (tmp_path / "copy").exists()


def test_ctrl_c_ends_a_transfer_whose_remote_side_has_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(transfer_module, "ABANDON_TIMEOUT", 0.2)
    (tmp_path / "source").write_bytes(b"x" * 20_000_000)
    conn = remoto.Connection("localhost")
    pid = conn.gateway._io.popen.pid
    numbers = []

    def stop(number, total):
        if number and not any(numbers):
            os.kill(pid, signal.SIGSTOP)
        numbers.append(number)

    def interrupt():
        wait_until(lambda: any(numbers))
        while True:  # as long as it goes on
            before = len(numbers)
            time.sleep(0.3)
            if len(numbers) == before:
                break
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            put(conn, str(tmp_path / "source"), tmp_path / "copy", progress=stop)
        # when it continues, it first gets the rest of that message, and then the end of its channel
        os.kill(pid, signal.SIGCONT)
        assert check(conn, ["echo", "usable"]).stdout == ["usable"]
        wait_until(lambda: os.listdir(tmp_path) == ["source"])
    finally:
        os.kill(pid, signal.SIGCONT)
        conn.exit()


@pytest.mark.parametrize("seconds", [9_300_000_000, -20_000_000_000])
def test_file_with_an_extreme_time_is_copied(local, tree, tmp_path, seconds):
    # a file system may store the nearest time that it supports
    os.utime(tree / "a", (seconds, seconds))
    put(local, tree, tmp_path / "copy")
    sent = []
    rsync_conn(local, tree, tmp_path / "copy", progress=lambda *numbers: sent.append(numbers))
    assert listing(tmp_path / "copy").keys() == listing(tree).keys() and sent == []


# hostile or unusual tar archives


def archive(*members):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def member(name, kind=tarfile.REGTYPE, **more):
    info = tarfile.TarInfo(name)
    info.type = kind
    for attribute, value in more.items():
        setattr(info, attribute, value)
    return info


def long_name(size):
    info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=size)
    return info.tobuf(tarfile.GNU_FORMAT) + b"x" * 20_000_000


ROOT = (member("./", tarfile.DIRTYPE, mode=0o755), b"")
ODD = {
    "empty": (b"", "empty file"),
    "no members": (archive(), "ended before all files were received"),
    "no tar": (b"rubbish" * 1000, "incomplete or malformed tar"),
    "a time that is no number": (
        archive(ROOT, (member("./x", pax_headers={"mtime": "nan"}), b"x")),
        "malformed answer",
    ),
    "a time without end": (archive(ROOT, (member("./x", pax_headers={"mtime": "inf"}), b"x")), "malformed answer"),
    "a long header": (long_name(600_000_000), "a header of 600000000 bytes"),
    "cut short": (archive(ROOT, (member("./x"), b"x" * 100_000))[:50_000], "incomplete or malformed tar"),
    "out of the directory": (archive(ROOT, (member("../x"), b"x")), "refused"),
}


def received(directory, blocks):
    """Receive a tar archive as ``get`` does. The caller checks the result."""
    answers = itertools.chain((Block(STDOUT, block) for block in blocks), [Exited(0)])
    records = tar_reading.Records(tar_reading.Stream(answers, lambda status, words: None))
    receiver = records.receiver = Receiver(records, os.fsencode(directory), b"", confine=True)
    receiver.run()


@pytest.mark.parametrize(("answer", "words"), ODD.values(), ids=ODD)
def test_malformed_tar_is_reported(tmp_path, answer, words):
    with pytest.raises(Failure, match=words):
        received(tmp_path / "here", [answer])
    assert not (tmp_path / "here").exists() or os.listdir(tmp_path / "here") == []


SPARSE_FORMATS = {
    "gnu": ["--format=gnu"],
    "pax 0.0": ["--format=posix", "--sparse-version=0.0"],
    "pax 0.1": ["--format=posix", "--sparse-version=0.1"],
    "pax 1.0": ["--format=posix", "--sparse-version=1.0"],
}


@pytest.mark.parametrize("options", SPARSE_FORMATS.values(), ids=SPARSE_FORMATS)
def test_sparse_member_is_refused(tmp_path, options):
    """A tar archive of 10 KB would write 3 GB."""
    (tmp_path / "there").mkdir()
    with open(tmp_path / "there/file", "wb") as file:
        file.truncate(3_000_000_000)
        file.write(b"x")
    if b"GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True, check=True).stdout:
        pytest.skip("it takes GNU tar to make one")
    command = ["tar", "--sparse", *options, "-C", tmp_path / "there", "-cf", "-", "."]
    made = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(made) < 20_000
    with pytest.raises(Failure, match="refused: a sparse file in the tar") as caught:
        received(tmp_path / "here", [made])
    assert caught.value.path.endswith(b"/file") and not (tmp_path / "here").exists()


def test_endless_list_of_sparse_parts_is_not_read(tmp_path):
    header = bytearray(member("./x", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # more blocks of the list follow
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    part = (b"%011o\0" % 1) * 42 + b"\1" * 8
    blocks = iter([bytes(header), *[part * 500] * 100])
    with pytest.raises(Failure, match="refused: a sparse file in the tar"):
        received(tmp_path / "here", blocks)
    assert len(list(blocks)) > 90


def test_tar_options_of_a_container_are_ignored(docker, tmp_path):
    """TAR_OPTIONS could enable sparse members."""
    name = docker.run("python")
    make = "rm /usr/bin/python3*; mkdir /there; printf x > /there/file; truncate -s 5M /there/file"
    docker.client("exec", name, "sh", "-c", make)
    with remoto.connection.get("docker")(container_name=name, env={"TAR_OPTIONS": "--sparse"}) as conn:
        get(conn, "/there", tmp_path)
    docker.remove(name)
    assert (tmp_path / "there/file").read_bytes() == b"x" + bytes(5 * 1024 * 1024 - 1)


def test_deep_directory_is_archived(tmp_path):
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1100):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    made = Archive(os.fsencode(tmp_path), lambda sent, total: None, None)
    assert made.prepare() == b"directory"
    names = tarfile.open(fileobj=io.BytesIO(b"".join(made.blocks()))).getnames()
    # Python 3.9 keeps the slash after a long directory name
    assert [name.rstrip("/") for name in names].count("content" + "/d" * 1100) == 1
    remove(os.fsencode(tmp_path / "d"))
