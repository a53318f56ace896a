"""Let the contestants take turns, so that a slow moment of the machine affects all of them."""

import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import SINGLE, python_for
from benchmarks.figures import COUNTED, LIMIT, REMOTO, full_name
from benchmarks.servers import empty
from benchmarks.worker import BOUND

WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A contestant in a process of its environment, started at the first request."""

    def __init__(self, contestant, settings):
        self.contestant = contestant
        self.settings = settings
        self.version = None
        self._process = None

    def _start(self):
        self._process = subprocess.Popen(
            [python_for(self.contestant), WORKER, self.contestant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # if it were set, this repository would be compiled at each import, unlike the installed libraries
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        )
        self._send(self.settings)
        self.version = json.loads(self._process.stdout.readline())["version"]

    def _send(self, message):
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def ask(self, **request):
        """Return the worker's answer: quantities, or the reason why there are none, as ``missing`` or ``failed``."""
        if self._process is None:
            self._start()
        self._send(request)
        answer = self._process.stdout.readline()
        if answer:
            return json.loads(answer)
        status = self.close()
        if status == -signal.SIGALRM:
            kind = "failed" if self.contestant in (REMOTO, LIMIT) else "missing"
            return {kind: f"it takes longer than {BOUND} s"}
        return {"failed": f"the worker ended with status {status}"}

    def close(self):
        process, self._process = self._process, None
        if process is None:
            return None
        process.stdin.close()
        try:
            return process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            process.stdout.close()


class Race:
    """One work, done by all contestants that support it."""

    def __init__(self, work, workers, settings, links):
        self.work = work
        self.workers = workers
        self.settings = settings
        #: a slow one, and one that is not
        self.links = links
        wanted = {figure.quantity for figure in work.figures}
        self.wants_memory = "memory" in wanted
        self.wants_trips = "trips" in wanted
        #: of each contestant
        self.answers = {contestant: [] for contestant in workers}
        self.reasons = {}

    def run(self, times, rounds):
        contestants = [contestant for contestant in self.workers if contestant in (self.work.by or self.workers)]
        for contestant in contestants:
            # after a process has handled more than 64 MB at once, it gets memory faster
            self.workers[contestant].close()
            self.turn(contestant, 1)
        for answers in self.answers.values():
            answers.clear()
        for number in range(rounds):
            # change the order in each round, since the first one, and one after heavy work, are at a disadvantage
            first = number % len(contestants)
            for contestant in contestants[first:] + contestants[:first]:
                if contestant in self.reasons:
                    continue
                if self.wants_memory:
                    # a fresh process, since memory that is reused would not be counted
                    self.workers[contestant].close()
                    self.ask(contestant, do="command", on=("connection", "node0"), times=1)
                self.turn(contestant, times)

    def turn(self, contestant, times):
        request = {"do": self.work.do, "times": times, "with_memory": self.wants_memory}
        bytes_before = self.bytes()
        answer = self.ask(contestant, on=self.work.on, **request)
        counts = {"bytes": (self.bytes() - bytes_before) / times}
        if self.wants_trips:
            kind, _ = self.work.on
            near = self.ask(contestant, on=(kind, COUNTED), **request)
            # the work itself takes as long over the other link; the difference is round trips
            waited = answer.get("seconds", 0) - near.get("seconds", 0)
            counts["trips"] = max(0, round(waited / (2 * self.links[0].delay)))
        self.answers[contestant].append({**answer, **counts})

    def ask(self, contestant, **request):
        answer = self.workers[contestant].ask(**request)
        empty(self.settings["new"])
        if "seconds" not in answer:
            self.reasons.setdefault(contestant, answer)
        return answer

    def bytes(self):
        return sum(link.bytes for link in self.links)

    def values(self, quantity):
        """Return all values of each contestant."""
        return {
            contestant: [answer[quantity] for answer in answers]
            for contestant, answers in self.answers.items()
            if answers and contestant not in self.reasons
        }


def at_most(figure, values, earlier):
    try:
        return figure.at_most and figure.at_most({**earlier, **values})
    except KeyError:
        # what it is compared with has failed; the reasons tell why
        return None


def result(figure, name, race, earlier):
    """Return a figure, ready for JSON."""
    all_values = race.values(figure.quantity)
    medians = {contestant: statistics.median(values) for contestant, values in all_values.items()}
    return {
        "name": figure.name,
        "full_name": name,
        "quantity": figure.quantity,
        "values": medians,
        "rounds": max(map(len, all_values.values()), default=0),
        "least": {contestant: min(values) for contestant, values in all_values.items()},
        "most": {contestant: max(values) for contestant, values in all_values.items()},
        "limit": figure.limit,
        "at_most": at_most(figure, medians, earlier),
        "reasons": race.reasons,
    }


def run(works, settings, links, short=False, contestants=SINGLE):
    """Return the versions of the contestants, and a result for each figure, ready for JSON.

    :param links: the link to the host ``slow``, and one to the same host without delay.
    """
    workers = {contestant: Worker(contestant, settings) for contestant in contestants}
    results, earlier, parent = [], {}, ""
    try:
        for work in works:
            race = Race(work, workers, settings, links)
            race.run(*((1, 1) if short else (work.times, work.rounds)))
            for figure in work.figures:
                name = full_name(figure, parent)
                if not figure.name.startswith("  "):
                    parent = name
                results.append(result(figure, name, race, earlier))
                if REMOTO in results[-1]["values"]:
                    earlier[name] = results[-1]["values"][REMOTO]
            print(f"{work.do} {work.on[-1]} ...", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.close()
    return {contestant: worker.version for contestant, worker in workers.items()}, results
