"""Files to the hosts of a group, over a real sshd: the source is listed once for all of them."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

import remoto
from remoto.exc import FileTransferError

NODES = [f"node{number}" for number in range(4)]
DIRECTORIES = 3
#: prints how often each directory of the source is listed while something copies it
COUNTED = """
import collections, os, sys
source, hosts = sys.argv[1], eval(sys.argv[2])
listed = collections.Counter()

def note(event, args):
    if event in ("os.listdir", "os.scandir") and args:
        path = os.path.realpath(os.fsdecode(args[0] or "."))
        if (path + "/").startswith(source + "/"):
            listed[path] += 1

sys.addaudithook(note)
import remoto.cli
with remoto.Group(hosts) as group:
    {work}
print(sorted(listed.values()))
"""


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    for directory in ("a", "b"):
        (source / directory).mkdir(parents=True)
        for number in range(3):
            (source / directory / f"file{number}").write_text(f"{directory}{number}")
    return source


@pytest.fixture
def homes(sshd, tmp_path):
    """The keywords of hosts whose current directories differ, since all are this machine; and the directories."""
    homes = {host: tmp_path / "homes" / host for host in NODES}
    for home in homes.values():
        home.mkdir(parents=True)
    return {host: {"interpreter": f"env -C {home} python3"} for host, home in homes.items()}, homes


def files(directory):
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "work",
    [
        "group.rsync(source, 'copy', delete=True).raise_for_errors()",
        "group.rsync(source, 'copy', batch=1).raise_for_errors()",
        "group.put(source, 'copy').raise_for_errors()",
        "remoto.rsync(list(hosts), source, {copy!r})",
        "remoto.cli.main(['rsync', *hosts, '--', source, {copy!r}])",
        "remoto.cli.main(['put', *hosts, '--', source + '/', {copy!r}])",
    ],
    ids=["rsync", "batches", "put", "remoto.rsync", "command line", "command line put"],
)
def test_the_source_is_listed_once_for_all_hosts(homes, source, tmp_path, work):
    keywords, homes = homes
    copy = str(tmp_path / "copy")
    script = COUNTED.replace("{work}", work.replace("{copy!r}", repr(copy)))
    argv = [sys.executable, "-c", script, str(source), repr(keywords)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=100, check=True)
    assert done.stdout.splitlines()[-1] == str([1] * DIRECTORIES)
    copies = [tmp_path / "copy"] if os.path.exists(copy) else [home / "copy" for home in homes.values()]
    for directory in copies:
        assert files(directory) == files(source)


def note_listings(source, log):
    """In a process of an executor, write down each listing of a directory of the source."""

    def note(event, args):
        if event == "os.listdir" and os.fsdecode(args[0]).startswith(source):
            with open(log, "a") as file:
                file.write("listed\n")

    sys.addaudithook(note)


def test_each_share_of_an_executor_lists_the_source_once(homes, source, tmp_path):
    keywords, homes = homes
    log = tmp_path / "log"
    pool = {"mp_context": multiprocessing.get_context("spawn"), "initializer": note_listings}
    with ProcessPoolExecutor(2, **pool, initargs=(str(source), str(log))) as executor:
        remoto.Group(keywords, executor=executor, connect_timeout=100).rsync(source, "copy").raise_for_errors()
    assert len(log.read_text().splitlines()) == 2 * DIRECTORIES
    for home in homes.values():
        assert files(home / "copy") == files(source)


def test_what_cannot_be_read_is_reported_for_each_host_and_nothing_is_deleted(homes, source):
    keywords, homes = homes
    os.mkfifo(source / "a" / "fifo")
    for home in homes.values():
        (home / "copy").mkdir()
        (home / "copy" / "old").write_text("old")
    with remoto.Group(keywords) as group:
        failed = group.rsync(source, "copy", delete=True).failed
    assert list(failed) == NODES
    for host, error in failed.items():
        assert isinstance(error, FileTransferError) and error.host == host
        assert error.failures == [(f"{source}/a/fifo", "not a regular file, directory or symbolic link")]
        assert files(homes[host] / "copy") == {**files(source), "old": "old"}


def test_a_source_that_changes_meanwhile_is_sent_as_it_was_listed(homes, source):
    keywords, homes = homes

    def change(done, total, host):
        if done == 1:
            (source / "a" / "file0").unlink()
            (source / "a" / "file1").write_text("changed")
            (source / "a" / "new").touch()

    with remoto.Group(keywords) as group:
        result = group.rsync(source, "copy", batch=1, progress=change)
    assert list(result.ok) == NODES[:1]
    for host, error in result.failed.items():
        assert error.failures == [(f"{source}/a/file0", "No such file or directory")]
        # a file is read when it is sent
        expected = files(source)
        del expected["a/new"]
        assert files(homes[host] / "copy") == expected
