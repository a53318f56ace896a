"""The contestants take turns, so that a slow moment of the machine hits all of them."""

import json
import signal
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import CONTESTANTS, python_for
from benchmarks.servers import empty
from benchmarks.worker import BOUND

WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A contestant in a process of its environment, which is started when it is first asked."""

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
        )
        self._send(self.settings)
        self.version = json.loads(self._process.stdout.readline())["version"]

    def _send(self, message):
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def ask(self, **request):
        """The worker's answer: quantities, or why there are none, as ``missing`` or ``failed``."""
        if self._process is None:
            self._start()
        self._send(request)
        answer = self._process.stdout.readline()
        if answer:
            return json.loads(answer)
        status = self.close()
        if status == -signal.SIGALRM:
            return {"missing": f"{request['do']} takes longer than {BOUND} s"}
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


def measure(work, workers, settings, link, short=False):
    """The quantities of each contestant, each a median, or the reason why there are none."""
    times, rounds = (1, 1) if short else (work.times, work.rounds)
    needs_memory = any(figure.quantity == "memory" for figure in work.figures)
    answers = {contestant: [] for contestant in workers}
    reasons = {}

    def ask(contestant, times):
        bytes_before = link.bytes
        answer = workers[contestant].ask(do=work.do, on=work.on, times=times)
        empty(settings["new"])
        if "seconds" not in answer:
            reasons[contestant] = answer
            return None
        answer["bytes"] = (link.bytes - bytes_before) / times
        # one round trip takes 0.1 seconds, and all else far less
        answer["trips"] = int(answer["seconds"] / 0.1)
        return answer

    for contestant in workers:
        ask(contestant, 1)
    for _ in range(rounds):
        for contestant, worker in workers.items():
            if contestant in reasons:
                continue
            if needs_memory:
                # memory that was in use before would not count
                worker.close()
                worker.ask(do="command", on=("connection", "node0"), times=1)
            answers[contestant].append(ask(contestant, times))
    medians = {
        contestant: {quantity: statistics.median(answer[quantity] for answer in given) for quantity in given[0]}
        for contestant, given in answers.items()
        if contestant not in reasons
    }
    return medians, reasons


def at_most(figure, values):
    try:
        return figure.at_most and figure.at_most(values)
    except KeyError:
        # what it is compared with has failed; the reasons tell why
        return None


def run(works, settings, link, short=False):
    """The versions of the contestants, and a result for each figure, ready for JSON."""
    workers = {contestant: Worker(contestant, settings) for contestant in CONTESTANTS}
    results = []
    try:
        for work in works:
            medians, reasons = measure(work, workers, settings, link, short)
            for figure in work.figures:
                values = {contestant: medians[contestant][figure.quantity] for contestant in medians}
                results.append(
                    {
                        "name": figure.name,
                        "quantity": figure.quantity,
                        "values": values,
                        "limit": figure.limit,
                        "at_most": at_most(figure, values),
                        "reasons": reasons,
                    }
                )
            print(f"{work.do} {work.on[-1]} ...", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.close()
    return {contestant: worker.version for contestant, worker in workers.items()}, results
