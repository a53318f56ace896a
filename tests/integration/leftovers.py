"""Find processes, threads and file descriptors that were left behind."""

import os
import threading
import time
from pathlib import Path

VARIABLE = "REMOTO_TEST_STARTED_BY"


def wait_until(condition, seconds=50):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)  # there is no event for the end of another process's child


def started_with(mark):
    """Return the command lines of all processes with this mark in their environment, including zombies."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if f"{VARIABLE}={mark}".encode() in (directory / "environ").read_bytes().split(b"\0"):
                found.append((directory / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended meanwhile
    return found


def children(parent=None):
    """Return the ids of a process's children, including zombies; by default of this process."""
    found = set()
    # not /proc/self/task/*/children: if a thread ends while these are read, its children move to another one
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # proc_pid_stat(5): the name of the program, in parentheses, may contain anything
            own = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:
            continue  # the process has ended meanwhile
        if int(own) == (parent or os.getpid()):
            found.add(process.name)
    return found


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def threads():
    return {thread.name for thread in threading.enumerate()}


def resident(pid):
    """Return the memory of a process in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
