"""What is measured against: an sshd with a slow way to it, a container, and files."""

import contextlib
import os
import pwd
import shutil
import tempfile
from pathlib import Path

from tests.servers.engines import Docker
from tests.servers.sshd import Sshd

CONTAINER = "remoto-benchmark"


@contextlib.contextmanager
def servers():
    """Yields the sshd; its aliases and the engine are the environment's while it runs."""
    before = dict(os.environ)
    with Sshd() as sshd, Docker() as docker:
        os.environ["PATH"] = f"{sshd.wrapper_folder}{os.pathsep}{os.environ['PATH']}"
        os.environ.update(docker.environment)
        docker.run("python", name=CONTAINER)
        try:
            yield sshd
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextlib.contextmanager
def settings(sshd, sizes):
    """What the contestants are told; the files are there while it lasts."""
    folder = Path(tempfile.mkdtemp(prefix="remoto-benchmark-"))
    try:
        line = "0123456789" * 6
        (folder / "output").write_text(f"{line}\n" * (sizes.output // (len(line) + 1)))
        (folder / "lines").write_text("".join(f"line {number} of a long output\n" for number in range(sizes.lines)))
        (folder / "file").mkdir()
        (folder / "file" / "file").write_bytes(os.urandom(1_000_000) * (sizes.file // 1_000_000))
        for number in range(sizes.files_in_tree):
            path = folder / "tree" / str(number % 20) / str(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(1024))
        for name in ("new", "kept"):
            (folder / name).mkdir()
        # for those that read no configuration of ssh's
        target = {
            "address": "127.0.0.1",
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "key": str(sshd.folder / "user"),
        }
        yield {
            "hosts": {"node0": {**target, "port": sshd.port}, "slow": {**target, "port": sshd.slow_link.port}},
            "container": CONTAINER,
            "value": "x" * 100,
            "large": "x" * 1_000_000,
            "lines": str(folder / "lines"),
            "lines_count": sizes.lines,
            "output": str(folder / "output"),
            "output_lines": sizes.output // (len(line) + 1),
            "file": str(folder / "file" / "file"),
            "tree": str(folder / "tree"),
            "new": str(folder / "new"),
            "kept": str(folder / "kept"),
        }
    finally:
        shutil.rmtree(folder)


def empty(folder):
    shutil.rmtree(folder)
    os.mkdir(folder)
