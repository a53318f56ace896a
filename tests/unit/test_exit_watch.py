"""The remote side polls for the exit of a process, with and without pidfd_open(2)."""

import os
import subprocess

import pytest

from remoto.remote.pipes import poll
from remoto.remote.process import exit_watch
from remoto.remote.spawn import spawn

#: seconds
PATIENCE = 30
STATUS = 3
ARGV = ["/bin/sh", "-c", f"read line; exit {STATUS}"]


def by_subprocess():
    return subprocess.Popen(ARGV, stdin=subprocess.PIPE)


def by_spawn(monkeypatch):
    # pytest, and what started it, may have inheritable descriptors
    monkeypatch.setattr("remoto.remote.spawn.has_inheritable", lambda: False)
    return spawn(ARGV, dict(os.environb), True)


@pytest.fixture(params=["subprocess", "spawn"])
def process(request, monkeypatch):
    """A process that exits at EOF on its stdin."""
    started = by_subprocess() if request.param == "subprocess" else by_spawn(monkeypatch)
    yield started
    started.stdin.close()
    started.wait()


@pytest.fixture(params=["pidfd", "thread"])
def watch(request, monkeypatch, process):
    if request.param == "thread":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("this Python has no os.pidfd_open")
    return exit_watch(process)


def test_exit_watch_is_readable_once_the_process_has_exited(process, watch):
    assert poll([watch], [], 0) == []
    process.stdin.close()
    assert poll([watch], [], PATIENCE) == [watch]
    process.wait()
    assert process.returncode == STATUS
    watch.close()


def test_exit_watch_may_be_closed_before_the_process_exits(process, watch):
    watch.close()
    process.stdin.close()
    process.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
