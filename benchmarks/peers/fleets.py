"""remoto's Group, and the cost of holding its hosts open in this process."""

import os
import resource
import statistics
import time
from pathlib import Path
from unittest import mock

from common import fleet_names, quiet, settings

import remoto


def group_of(names, path, **keywords):
    os.environ["PATH"] = path
    # no short timeout: the logins of all hosts are measured, and one may take long on a busy machine
    own = {"logger": quiet(), "connect_timeout": 240}
    return remoto.Group(names, ssh_options=f"-F {settings['fleet']['config']}", **own, **keywords)


def fleet(kind):
    names, path = fleet_names(kind), settings["fleet"]["path"]
    # all hosts at the same time, as with the other contestants
    with mock.patch.dict(os.environ), group_of(names, path, logins=len(names)) as group:
        group.run(["true"]).raise_for_errors()


def relayed(kind):
    names, path, options = fleet_names(kind), settings["fleet"]["path"], f"-F {settings['fleet']['config']}"
    with (
        mock.patch.dict(os.environ, PATH=path),
        remoto.Connection("node", quiet(), ssh_options=options) as relay,
        group_of(names, path, via=relay, logins=len(names)) as group,
    ):
        group.run(["true"]).raise_for_errors()


def usage():
    """Return the resources that this process uses, and the number of its children, by name."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    children = [
        child
        for task in Path("/proc/self/task").iterdir()
        # a thread may have ended meanwhile
        for child in ((task / "children").read_text().split() if (task / "children").exists() else ())
    ]
    return {
        "seconds": time.perf_counter(),
        "own": time.process_time(),
        "memory": int(status["VmRSS"].split()[0]) * 1024,
        "threads": int(status["Threads"]),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "children": len(children),
    }


def growth(before, after):
    return {name: after[name] - value for name, value in before.items()}


def settled(threads):
    """Return the usage once at most so many threads are left, since those of the last call are about to end."""
    deadline = time.monotonic() + 5
    while True:
        now = usage()
        if now["threads"] <= threads or time.monotonic() > deadline:
            return now
        time.sleep(0.01)


def took(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def held(what):
    """Hold hosts open, over ssh or its replacement. Return the seconds and this process's growth for each host."""
    way, count = what
    path = settings["fleet"]["path"]
    if way != "ssh":
        path = settings["fleet"]["stand_in"] + os.pathsep + path
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with mock.patch.dict(os.environ):
        # the first host starts the threads that all hosts share
        with group_of(["node"], path) as group:
            group.run(["true"]).raise_for_errors()
        before = usage()
        with group_of([f"node{number}" for number in range(count)], path) as group:
            group.reconnect().raise_for_errors()
            connected = usage()
            checks = [took(lambda: group.check(["true"]).raise_for_errors()) for _ in range(5)]
            opened = settled(before["threads"] + count)
            closing = time.perf_counter()
        closed = time.perf_counter() - closing
        left = growth(before, settled(before["threads"]))
    connecting, grown = growth(before, connected), growth(before, opened)
    return {
        "connect": connecting["seconds"] / count,
        "own": connecting["own"] / count,
        "check": statistics.median(checks) / count,
        "close": closed / count,
        "memory": grown["memory"] / count,
        "threads": grown["threads"] / count,
        "descriptors": grown["descriptors"] / count,
        "left": sum(max(0, left[name]) for name in ("threads", "descriptors", "children")),
    }
