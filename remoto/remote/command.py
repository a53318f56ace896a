"""RUNS ON THE REMOTE SIDE: start one command, stream or collect its output, report its end.

``run`` sends blocks of output as they come and then the exit status; ``check`` one answer, and blocks before it where
the output is long. The controller may send: a number, the bytes of output that it has dealt with; KILL; or, where
stdin was True, (bytes,) to be written to it, an empty one at its end, of which ``run`` reports how many it has written.
When it closes the channel, or the connection ends, the command is left running, unless it was started with ``kill``.
"""

from __future__ import absolute_import, unicode_literals

import os
import time

from .ending import Ending, Group, Shell
from .pipes import PIPE_SIZE, WakePipe, poll, prepare_pipe, retry
from .process import encoded, in_background, leave_to_cat, needs_sudo, start
from .stdin import Stdin
from .streams import Plain
from .wire import KILL, MESSAGE, RUNNING, STATUS, STDERR, STDOUT, TAKEN, TERMINATING, WINDOW

BLOCK = 256 * 1024
# what check keeps for its one answer; of a longer output the rest goes ahead
ANSWER = 256 * 1024
# a process substitution such as `> >(tee log)` writes a moment after its shell has ended, seconds
LINGER = 0.1
LINGER_LIMIT = 1.0
# how long a container's client may take to end after its command, before it is left alone, seconds
CLIENT_PATIENCE = 0.5
# between two steps of an ending: nothing reports the end of processes of others, seconds
ENDING_STEP = 0.02
# how long the ends of all commands may take when this process is told to end, seconds
END_ALL_LIMIT = 5.0
CLOSED = object()
COMMANDS = set()


class Command(object):
    def __init__(self, channel, kill, deliver, request, overhead):
        """
        :param overhead: bytes that count of each block besides its data.
        """
        container = request.get("container")
        sudo = needs_sudo(request["sudo"])
        self.deliver = deliver
        self.overhead = overhead
        self.kill_at_end = kill
        self.kill_wanted = False
        self.closed = False  # by the controller, or with the connection
        self.exited = False
        # bytes of output: only the thread that serves changes the first, the receiver the second
        self.sent = self.acknowledged = 0
        self.process = start(**dict((name, request[name]) for name in request if name != "container"))
        self.stdin = Stdin(self.process.stdin, container["script"] if container else b"", request["stdin"])
        group = Group(self.process.pid, Shell(["sudo"]) if sudo else None)
        self.streams, group = self.divide(request, sudo, group)
        self.ending = Ending(group)
        self.outputs = {self.process.stdout: STDOUT, self.process.stderr: STDERR}
        self.wake_pipe = WakePipe()
        for pipe in list(self.outputs) + ([self.stdin.pipe] if self.stdin.pipe else []):
            prepare_pipe(pipe)
        COMMANDS.add(self)
        in_background(self.wait)
        channel.setcallback(self.hear, endmarker=CLOSED)

    def divide(self, request, sudo, group):
        """Return the streams, and the process group that is to be ended.

        :param group: the process's.
        """
        return Plain(), group

    # called in other threads

    def wait(self):
        self.process.wait()
        self.exited = True
        self.wake_pipe.wake()

    def hear(self, item):
        if item is CLOSED:
            self.closed = True
        elif item == KILL:
            self.kill_wanted = True
        elif isinstance(item, tuple):
            self.stdin.add(item[0])
        else:
            self.acknowledged += item
        self.wake_pipe.wake()

    # called in the thread that serves the command

    def serve(self):
        """Return the exit status, or what the streams know in its place; None if the command is left to itself."""
        try:
            while not self.has_ended():
                if self.is_to_end() and not self.ending.is_over():
                    self.ending.advance()
                    if self.ending.is_over():
                        continue  # the process's end may have been reported before
                elif self.closed:
                    return None
                self.handle(self.poll(self.timeout(), self.wake_pipe))
            if self.exited:
                self.drain()
            if self.kill_at_end and self.streams.is_lost(self.process.returncode, self.script_is_sent()):
                self.end_without_client()
            if self.closed:
                return None
            for name, data in self.streams.rest():
                self.deliver(name, data)
            return self.streams.outcome(self.process.returncode, self.script_is_sent(), self.ending)
        finally:
            self.leave()

    def has_ended(self):
        if self.ending.state == TERMINATING:
            return False
        if self.exited:
            return True
        # both streams are complete: a client that stays does so for a daemon
        return self.streams.ended_at is not None and time.time() > self.streams.ended_at + CLIENT_PATIENCE

    def is_to_end(self):
        return self.kill_wanted or (self.closed and self.kill_at_end)

    def script_is_sent(self):
        return self.stdin.script_left == 0

    def end_without_client(self):
        while not self.ending.is_over():
            self.ending.advance()
            time.sleep(ENDING_STEP)

    def drain(self):
        """Read what a command left in its pipes when it ended, though another process still holds them open."""
        for pipe in list(self.outputs):
            self.read(pipe, PIPE_SIZE)
        limit = time.time() + LINGER_LIMIT
        while self.outputs and time.time() < limit and not (self.closed or self.kill_wanted):
            if not self.window_open():
                limit += self.wait_for_window()
                continue
            ready = self.poll(LINGER)
            if not ready:
                break
            self.handle(ready)

    def wait_for_window(self):
        """Return the seconds until the controller has dealt with some of the output, or does not want it any more."""
        started = time.time()
        while not (self.window_open() or self.closed or self.kill_wanted):
            self.handle(self.poll(None, self.wake_pipe))
        return time.time() - started

    def may_write(self):
        # no command begins while it is being ended
        if not self.script_is_sent() and not (self.streams.may_begin and self.ending.state == RUNNING):
            return False
        return self.stdin.is_waiting()

    def window_open(self):
        # nobody reads the output of a command that is being ended; a container's client ends when it has written it
        return self.kill_wanted or self.sent - self.acknowledged < WINDOW

    def timeout(self):
        if self.ending.state == TERMINATING:
            return ENDING_STEP
        return None if self.streams.ended_at is None else LINGER

    def poll(self, timeout, *others):
        readable = list(self.outputs) if self.window_open() else []
        writable = [self.stdin.pipe] if self.may_write() else []
        return poll(readable + list(others), writable, timeout)

    def handle(self, ready):
        for pipe in ready:
            if pipe is self.wake_pipe:
                pipe.wait()
            elif pipe in self.outputs:
                self.read(pipe, BLOCK)
            elif pipe is self.stdin.pipe:
                self.write()

    def read(self, pipe, limit):
        while limit > 0:
            data = retry(os.read, pipe.fileno(), min(limit, BLOCK))
            if data is None:
                return
            if not data:
                pipe.close()
                del self.outputs[pipe]
                return
            limit -= len(data)
            data = self.streams.feed(self.outputs[pipe], data)
            if self.streams.client_asks():
                self.stdin.close()
            self.sent += len(data) + self.overhead if data else 0
            try:
                if data and not (self.closed or self.kill_wanted):
                    self.deliver(self.outputs[pipe], data)
            except (IOError, OSError):
                self.closed = True  # nobody is there to get it

    def write(self):
        has_more = self.stdin.more
        taken = self.stdin.write()
        if taken and has_more and not self.closed:
            self.deliver(TAKEN, taken)

    def leave(self):
        """Close everything here.

        A command that runs on keeps a reader for its output and gets the rest of its input.
        """
        COMMANDS.discard(self)
        self.wake_pipe.close()
        self.ending.group.leave()
        self.leave_stdin()
        for pipe in self.outputs:
            leave_to_cat(pipe, None)
            pipe.close()

    def leave_stdin(self):
        if self.stdin.pipe is None or self.exited or self.stdin.more or self.ending.state != RUNNING:
            self.stdin.close()
        else:
            self.leave_rest_of_stdin()

    def leave_rest_of_stdin(self):
        self.stdin.leave()


def outcome(kind, channel, kill, deliver, request, overhead=0):
    """Run a command and return its exit status, or what is known in its place; None if it is left to itself."""
    try:
        command = kind(channel, kill, deliver, request, overhead)
    except OSError as error:
        if "container" not in request:
            raise
        # it is the client, not the command
        return ["client", None, False, encoded(str(error)), RUNNING, b""]
    return command.serve()


def end_all():
    """End all commands as with the connection, since this process is about to end."""
    for command in list(COMMANDS):
        command.hear(CLOSED)
    deadline = time.time() + END_ALL_LIMIT
    while COMMANDS and time.time() < deadline:
        time.sleep(ENDING_STEP)


def run(channel, kill, kind=Command, **request):
    def deliver(name, data):
        channel.send((name, data))

    status = outcome(kind, channel, kill, deliver, request, MESSAGE)
    if status is not None and not channel.isclosed():
        channel.send((STATUS, status))


def check(channel, kill, kind=Command, **request):
    held = {STDOUT: [], STDERR: []}  # type: dict
    sizes = {STDOUT: 0, STDERR: 0}

    def deliver(name, data):
        held[name].append(data)
        sizes[name] += len(data)
        if sizes[name] >= ANSWER:
            channel.send((name, take(name)))

    def take(name):
        sizes[name] = 0
        data = b"".join(held[name])
        held[name] = []
        return data

    status = outcome(kind, channel, kill, deliver, request)
    if status is not None and not channel.isclosed():
        channel.send((take(STDOUT), take(STDERR), status))
