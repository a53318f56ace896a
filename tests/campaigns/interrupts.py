"""Ctrl-C at any moment is raised soon, leaves nothing behind, and leaves the connection usable or cleanly lost.

``python -m tests.campaigns.interrupts random 10000`` interrupts at random moments, ``... lines`` once at each line of
remoto's and execnet's code that the main thread executes (``lines 8``: at every eighth). The test suite runs a short
version.
"""

import argparse
import collections
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import execnet

import remoto
from remoto.exc import ConnectError, ConnectionLost
from remoto.file_sync import put
from remoto.process import check, run
from tests.integration.leftovers import children, descriptors, wait_until

#: seconds within which an interrupt must be raised
LIMIT = 2.0
FILES = tuple(str(Path(module.__file__).parent) for module in (remoto, execnet))
SENDER = "import os, sys, time\nfor line in sys.stdin: time.sleep(float(line)); os.kill(os.getppid(), 2)"


class Program:
    """An action that uses a connection repeatedly."""

    def __init__(self, host, use_ssh):
        self.host, self.use_ssh = host, use_ssh
        self.conn = self.other = self.module = None
        self.directory = Path(tempfile.mkdtemp(prefix="remoto-interrupts-"))
        (self.directory / "source").write_bytes(b"x" * 300_000)

    def open(self):
        logger = logging.Logger("quiet", logging.CRITICAL)
        self.conn = remoto.Connection(self.host, use_ssh=self.use_ssh, logger=logger)
        self.module = self.conn.import_module(os.path)

    def connect(self):
        """Open another connection; :meth:`close_other` closes it."""
        logger = logging.Logger("quiet", logging.CRITICAL)
        self.other = remoto.Connection(self.host, use_ssh=self.use_ssh, logger=logger)

    def close_other(self):
        if self.other is not None:
            self.other.exit()
            self.other = None

    def run(self):
        run(self.conn, ["echo", "x"])

    def check(self):
        check(self.conn, ["echo", "x"])

    def call(self):
        self.module.join("a", "b")

    def put(self):
        put(self.conn, self.directory / "source", self.directory / f"copy{random.random()}")

    def exit(self):
        self.conn.exit()

    def is_usable(self):
        """Return False if the connection is lost. Any other error is raised."""
        try:
            assert check(self.conn, ["echo", "usable"], timeout=20).stdout == ["usable"]
            assert self.module.join("a", "b") == "a/b"
        except (ConnectionLost, ConnectError):
            assert not self.conn.has_connection()
            return False
        return True


ACTIONS = ("connect", "run", "check", "call", "put", "exit")


def held():
    """Count the children, threads and descriptors that must not be left."""
    return len(children()), len(os.listdir("/proc/self/task")), descriptors()


def more_than(before):
    return any(now > then for now, then in zip(held(), before))


class Campaign:
    def __init__(self, program):
        self.program = program
        self.counts = collections.Counter()
        self.slowest = 0.0
        self.raised_at = None
        self.with_none = self.with_one = None
        sys.unraisablehook = self.unraisable

    def unraisable(self, problem):
        self.counts[f"unraisable in {getattr(problem.object, '__qualname__', problem.object)!r:.80}"] += 1

    def interrupt(self, *_):
        self.raised_at = time.monotonic()
        raise KeyboardInterrupt

    def settle(self):
        """Start over with a new connection; check that nothing is left of the old one."""
        self.program.conn.exit()
        self.with_none = self.with_none or held()
        wait_until(lambda: not more_than(self.with_none), 20)
        self.program.open()
        self.with_one = held()

    def act(self, action, arm, disarm):
        """Interrupt an action once."""
        self.raised_at = None
        try:
            try:
                arm()
                getattr(self.program, action)()
            finally:
                disarm()
        except KeyboardInterrupt:
            delay = time.monotonic() - self.raised_at
            self.slowest = max(self.slowest, delay)
            assert delay < LIMIT, f"{action}: it came out after {delay} seconds"
            self.counts[f"{action}: interrupted"] += 1
        else:
            self.counts[f"{action}: {'lost an interrupt' if self.raised_at else 'was quicker'}"] += 1
        self.program.close_other()
        if self.program.is_usable():
            wait_until(lambda: not more_than(self.with_one), 20)
        else:
            self.counts[f"{action}: connection lost"] += 1
            self.settle()

    def report(self):
        lost = sum(count for what, count in self.counts.items() if what.endswith("lost an interrupt"))
        unraisable = sum(count for what, count in self.counts.items() if what.startswith("unraisable"))
        for what, count in sorted(self.counts.items()):
            print(f"{count:6} {what}")
        print(f"slowest: {self.slowest:.3f} seconds")
        assert lost <= unraisable, "interrupts vanished"


def at_random_moments(campaign, number):
    sender = subprocess.Popen([sys.executable, "-c", SENDER], stdin=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, campaign.interrupt)
    durations = {}
    weights = [1, 8, 8, 16, 4, 1]

    def arm():
        sender.stdin.write(f"{random.uniform(0, durations[action] * 1.1)}\n")
        sender.stdin.flush()

    def disarm():
        while campaign.raised_at is None:
            time.sleep(0.001)

    campaign.settle()
    campaign.settle()
    for action in ACTIONS:
        begun = time.monotonic()
        getattr(campaign.program, action)()
        durations[action] = time.monotonic() - begun
        campaign.program.close_other()
    campaign.settle()
    for count in range(number):
        action = random.choices(ACTIONS, weights)[0]
        campaign.act(action, arm, disarm)
        if count % 500 == 499:
            campaign.settle()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    campaign.settle()
    sender.communicate()


class Tracer:
    """Record the lines that an action executes, and raise at one of them."""

    def __init__(self, campaign, target=None):
        self.campaign, self.target = campaign, target
        self.seen = {}
        self.visited = collections.defaultdict(set)

    def __call__(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(FILES):
            return None
        return self.local

    def local(self, frame, event, _):
        place = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line":
            # a "with" line is executed again at the end of its block, where Python runs no signal handler
            again = frame.f_lineno in self.visited[id(frame)]
            self.visited[id(frame)].add(frame.f_lineno)
            if not again:
                self.seen[place] = None
                if place == self.target:
                    self.target = None
                    self.campaign.interrupt()
        elif event == "return":
            self.visited.pop(id(frame), None)
        return self.local


def at_each_line(campaign, actions, every):
    campaign.settle()
    campaign.settle()
    for action in actions:
        tracer = Tracer(campaign)
        campaign.act(action, lambda tracer=tracer: sys.settrace(tracer), lambda: sys.settrace(None))
        places = list(tracer.seen)
        for place in random.sample(places, len(places) // every):
            tracer = Tracer(campaign, place)
            try:
                campaign.act(action, lambda tracer=tracer: sys.settrace(tracer), lambda: sys.settrace(None))
            except BaseException:
                print(f"{action} interrupted at {place[0]}:{place[1]}", file=sys.stderr)
                raise
        campaign.settle()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["random", "lines"])
    parser.add_argument("number", nargs="?", type=int, default=1)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--action", choices=ACTIONS, action="append", help="for lines; all by default")
    options = parser.parse_args()
    program = Program(options.host, use_ssh=options.host != "localhost")
    program.open()
    campaign = Campaign(program)
    if options.how == "random":
        at_random_moments(campaign, options.number)
    else:
        at_each_line(campaign, options.action or ACTIONS, options.number)
    program.conn.exit()
    campaign.report()


if __name__ == "__main__":
    main()
