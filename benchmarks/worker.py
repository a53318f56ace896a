"""usage: worker.py CONTESTANT: read requests from stdin and write measurements to stdout, each a line of JSON.

A contestant is a module of peers/. The first line of stdin has its settings. A request names one of its functions and
the argument: a ``connection`` to a host, a ``local`` one, one ``inside`` a container, or a ``persistent`` one in it,
which are kept for the next request; the ``name`` of a host or pod; or ``nothing``. The first line of stdout has the
contestant's version. The worker uses only the standard library, since it runs in every environment.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

#: seconds for a request; after that, the worker exits
BOUND = 60
STARTING = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn")
started = 0


def count_starts(event, _):
    global started
    if event in STARTING:
        started += 1


def children():
    """Return the running descendants of this process."""
    found, parents = [], [os.getpid()]
    while parents:
        for task in Path(f"/proc/{parents.pop()}/task").glob("*/children"):
            # a process may end meanwhile
            with contextlib.suppress(OSError):
                pids = [int(pid) for pid in task.read_text().split()]
                found += pids
                parents += pids
    return found


def cpu():
    """Return the seconds of processor time of this process and its descendants."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for pid in children():
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    return total


def memory(field, pid="self"):
    """Return the memory of a process in bytes; 0 if it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), 0)


class LargestChild:
    """A context manager that measures the highest memory use of a descendant of this process.

    It polls, since the kernel's figure for children that have ended includes the memory of this process at their start.
    """

    #: seconds; a process's highest mark outlives it by no time at all
    INTERVAL = 0.05

    def __enter__(self):
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        over = False
        while not over:
            # once more at the end: one that is kept counts however short the work is
            over = self._over.wait(self.INTERVAL)
            for pid in children():
                with contextlib.suppress(OSError):
                    self.bytes = max(self.bytes, memory("VmHWM", pid))


class Contestant:
    def __init__(self, module):
        self.module = module
        self.kept = {}

    def function(self, do):
        return getattr(self.module, do, None) or getattr(self, do, None)

    def connecting(self, host):
        self.module.close(self.module.connect(host))

    def once(self, host):
        connection = self.module.connect(host)
        self.module.command(connection)
        self.module.close(connection)

    def arguments(self, kind, name):
        if kind == "nothing":
            return ()
        if kind == "name":
            return (name,)
        if (kind, name) not in self.kept:
            self.kept[kind, name] = self.opener(kind)(name)
        return (self.kept[kind, name],)

    def opener(self, kind):
        if kind == "connection":
            return self.module.connect
        if kind == "local":
            return self.module.connect_local
        # most contestants enter a container in one way only
        return getattr(self.module, "enter_persistent" if kind == "persistent" else "enter", self.module.enter)

    def measure(self, do, on, times, with_memory=False):
        function = self.function(do)
        if function is None:
            return {"missing": getattr(self.module, "MISSING", {}).get(do, "not measured")}
        arguments = self.arguments(*on)
        # the highest mark of memory from here on
        Path("/proc/self/clear_refs").write_text("5")
        memory_before, starts_before, cpu_before, begun = memory("VmRSS"), started, cpu(), time.perf_counter()
        # not for the short ones: looking takes time as well
        with LargestChild() if with_memory else contextlib.nullcontext() as child:
            for _ in range(times):
                result = function(*arguments)
            seconds = time.perf_counter() - begun
        return {
            # the function measures in its own process, and returns the figures
            "seconds": result if isinstance(result, float) else seconds / times,
            "cpu": (cpu() - cpu_before) / times,
            "processes": (started - starts_before) / times,
            "memory": memory("VmHWM") - memory_before + (child.bytes if child else 0),
            # a function that measures by itself
            **(result if isinstance(result, dict) else {}),
        }

    def close(self):
        for (kind, _), connection in self.kept.items():
            if kind in ("connection", "local"):
                self.module.close(connection)


def main():
    _, name = sys.argv
    answers = os.fdopen(os.dup(1), "w")
    # what a contestant prints is not an answer
    os.dup2(2, 1)
    sys.path[0] = str(Path(__file__).with_name("peers"))
    from common import settings

    settings.update(json.loads(sys.stdin.readline()))
    module = importlib.import_module(name)
    contestant = Contestant(module)
    sys.addaudithook(count_starts)

    def answer(**fields):
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    answer(version=importlib.metadata.version(module.DISTRIBUTION))
    for line in sys.stdin:
        request = json.loads(line)
        signal.alarm(request.pop("bound", BOUND))
        try:
            answer(**contestant.measure(**request))
        except Exception as error:
            answer(failed=f"{type(error).__name__}: {error}")
        signal.alarm(0)
    contestant.close()


if __name__ == "__main__":
    main()
