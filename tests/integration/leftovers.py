"""What must not be left behind: processes, threads, file descriptors."""

import os
import threading
import time
from pathlib import Path

VARIABLE = "REMOTO_TEST_STARTED_BY"


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)  # for the end of somebody else's process there is no event


def started_with(mark):
    """The command lines of all processes that were started with this mark in their environment; zombies too."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{VARIABLE}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has just ended
    return found


def children():
    """Of this process; zombies too."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update((task / "children").read_text().split())
        except OSError:
            continue  # a thread that has just ended
    return found


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def threads():
    return {thread.name for thread in threading.enumerate()}
