"""Files to and from a host."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, in_turn
from benchmarks.servers import connect, quiet
from remoto.file_sync import put, rsync_conn

#: bytes
BIG = 256 * 1024 * 1024
SMALL_FILES = 2000


@contextlib.contextmanager
def folder():
    path = Path(tempfile.mkdtemp(prefix="remoto-benchmark-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def a_big_file(repeats):
    with folder() as work, connect() as conn:
        (work / "big").write_bytes(os.urandom(1024 * 1024) * (BIG // 1024 // 1024))

        def mine():
            (work / "mine").unlink(missing_ok=True)
            put(conn, work / "big", work / "mine")

        def scp():
            (work / "scp").unlink(missing_ok=True)
            subprocess.run(["scp", "-q", "-S", shutil.which("ssh"), work / "big", f"node0:{work}/scp"], check=True)

        figures = in_turn(max(1, repeats // 8), mine, scp)
    return Figure("put of 256 MB", *figures, "scp", 2)


def tree(work):
    source = work / "source"
    for number in range(SMALL_FILES):
        path = source / str(number % 20) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1024))
    return source


def rsync(source, target):
    subprocess.run(["rsync", "-a", "-e", "ssh", f"{source}/", f"node0:{target}/"], check=True)


def many_small_files(repeats):
    with folder() as work, connect() as conn:
        source = tree(work)

        def anew(name):
            shutil.rmtree(work / name, ignore_errors=True)

        def mine():
            anew("mine")
            rsync_conn(conn, source, work / "mine", quiet())

        def bare():
            anew("bare")
            rsync(source, work / "bare")

        figures = in_turn(max(1, repeats // 3), mine, bare)
    return Figure(f"rsync of {SMALL_FILES:,} files of 1 KB", *figures, "rsync -a -e ssh", 1.5)


def unchanged_files(repeats):
    with folder() as work, connect() as conn:
        source = tree(work)
        figures = in_turn(
            max(1, repeats // 3),
            lambda: rsync_conn(conn, source, work / "mine", quiet()),
            lambda: rsync(source, work / "bare"),
        )
    return Figure("the same again, nothing has changed", *figures, "rsync -a -e ssh", 2)


def with_a_connection_of_its_own(repeats):
    """rsync(1) connects each time; here so does remoto."""
    with folder() as work:
        source = tree(work)

        def mine():
            shutil.rmtree(work / "mine", ignore_errors=True)
            with connect() as conn:
                rsync_conn(conn, source, work / "mine", quiet())

        def bare():
            shutil.rmtree(work / "bare", ignore_errors=True)
            rsync(source, work / "bare")

        figures = in_turn(max(1, repeats // 3), mine, bare)
    return Figure("rsync of them, connecting for it", *figures, "rsync -a -e ssh", 1.5)


MEASURES = (a_big_file, many_small_files, unchanged_files, with_a_connection_of_its_own)
