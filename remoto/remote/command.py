"""RUNS ON THE REMOTE SIDE: start one command, stream or collect its output, report its exit status.

``run`` sends each block of output at once, and then the exit status. ``check`` sends one answer, and blocks before it
if the output is long. The controller may send a number of bytes, to acknowledge output; KILL; and, if stdin is True,
(bytes,) to write to stdin, empty for EOF; ``run`` reports how many of these bytes were written. When the controller
closes the channel, or the connection ends, the command is left running, or killed if it was started with ``kill``.
"""

from __future__ import absolute_import, unicode_literals

import os
import time

from .pipes import PIPE_SIZE, WakePipe, poll, prepare_pipe, retry
from .process import copy_by_cat, encoded, exit_watch, in_background, needs_sudo, start
from .stdin import Stdin
from .streams import Plain
from .termination import Group, Shell, Termination
from .wire import KILL, MESSAGE, RUNNING, STATUS, STDERR, STDOUT, TERMINATING, WINDOW, WRITTEN

BLOCK = 256 * 1024
# bytes of output that check keeps for its answer; it sends longer output in blocks before it
ANSWER = 256 * 1024
# seconds to read on after the exit: a process substitution such as `> >(tee log)` outlives its shell for a moment
LINGER = 0.1
LINGER_LIMIT = 1.0
# seconds to wait for a container's client to exit after its command
CLIENT_TIMEOUT = 0.5
# seconds between checks while a command is killed: the exit of processes that are not children is not reported
KILL_INTERVAL = 0.02
# seconds to kill all commands when this process gets SIGTERM or SIGHUP
KILL_ALL_TIMEOUT = 5.0
CLOSED = object()
COMMANDS = set()


class Command(object):
    """A command that runs.

    :param overhead: bytes to count for each block besides its data.
    """

    def __init__(self, channel, kill, deliver, request, overhead):
        container = request.get("container")
        sudo = needs_sudo(request.get("sudo"))
        self.deliver = deliver
        self.overhead = overhead
        self.kill_at_end = kill
        self.kill_wanted = False
        self.closed = False  # by the controller, or with the connection
        self.exited = False
        # bytes of output: only the serving thread changes the first, only the receiver thread the second
        self.sent = self.acknowledged = 0
        self.process = start(**dict((name, request[name]) for name in request if name != "container"))
        self.stdin = Stdin(self.process.stdin, container["script"] if container else b"", request.get("stdin"))
        group = Group(self.process.pid, Shell(["sudo"]) if sudo else None)
        self.streams, group = self.divide(request, sudo, group)
        self.termination = Termination(group)
        self.outputs = {self.process.stdout: STDOUT, self.process.stderr: STDERR}
        pipes = list(self.outputs) + ([self.stdin.pipe] if self.stdin.pipe else [])
        watches = []  # type: list
        try:
            watches.append(exit_watch(self.process))
            watches.append(WakePipe())
        except Exception:
            # too many open files or threads: the error must be true, and no zombie or descriptor may be left
            os.killpg(self.process.pid, 9)
            self.process.wait()
            for opened in pipes + watches:
                opened.close()
            raise
        self.exit_watch, self.wake_pipe = watches
        for pipe in pipes:
            prepare_pipe(pipe)
        COMMANDS.add(self)
        channel.setcallback(self.receive, endmarker=CLOSED)

    def divide(self, request, sudo, group):
        """Return the streams, and the process group to kill.

        :param group: the process group of the process.
        """
        return Plain(), group

    def receive(self, item):
        """Process a message. Called by execnet's receiver thread."""
        if item is CLOSED:
            self.closed = True
        elif item == KILL:
            self.kill_wanted = True
        elif isinstance(item, tuple):
            self.stdin.add(item[0])
        else:
            self.acknowledged += item
        self.wake_pipe.wake()

    def serve(self):
        """Return the exit status, or the client's failure instead; None if the command is left running."""
        try:
            while not self.has_ended():
                if self.must_be_killed() and not self.termination.is_over():
                    self.termination.advance()
                    if self.termination.is_over():
                        continue  # the exit of the process may have been reported before
                elif self.closed:
                    return None
                self.handle(self.poll(self.timeout(), self.wake_pipe, *([] if self.exited else [self.exit_watch])))
            if self.exited:
                self.drain()
            if self.kill_at_end and self.streams.is_lost(self.process.returncode, self.script_is_sent()):
                self.kill_without_client()
            if self.closed:
                return None
            for name, data in self.streams.rest():
                self.deliver(name, data)
            return self.streams.outcome(self.process.returncode, self.script_is_sent(), self.termination)
        finally:
            self.close()

    def has_ended(self):
        if self.termination.state == TERMINATING:
            return False
        if self.exited:
            return True
        # both streams are complete: a client that is still running waits for a daemon
        return self.streams.ended_at is not None and time.time() > self.streams.ended_at + CLIENT_TIMEOUT

    def must_be_killed(self):
        return self.kill_wanted or (self.closed and self.kill_at_end)

    def script_is_sent(self):
        return self.stdin.script_left == 0

    def kill_without_client(self):
        while not self.termination.is_over():
            self.termination.advance()
            time.sleep(KILL_INTERVAL)

    def drain(self):
        """Read the rest of the output after the command has exited, even if another process holds the pipes open."""
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
        """Wait until the controller acknowledges output, or sends KILL or closes the channel; return the seconds."""
        started = time.time()
        while not (self.window_open() or self.closed or self.kill_wanted):
            self.handle(self.poll(None, self.wake_pipe))
        return time.time() - started

    def may_write(self):
        # do not send the script of a command that is being killed
        if not self.script_is_sent() and not (self.streams.may_begin and self.termination.state == RUNNING):
            return False
        return self.stdin.is_waiting()

    def window_open(self):
        # after a kill, read on: a container's client exits only after it has written all output
        return self.kill_wanted or self.sent - self.acknowledged < WINDOW

    def timeout(self):
        if self.termination.state == TERMINATING:
            return KILL_INTERVAL
        return None if self.streams.ended_at is None else LINGER

    def poll(self, timeout, *others):
        readable = list(self.outputs) if self.window_open() else []
        writable = [self.stdin.pipe] if self.may_write() else []
        return poll(readable + list(others), writable, timeout)

    def handle(self, ready):
        for pipe in ready:
            if pipe is self.wake_pipe:
                pipe.wait()
            elif pipe is self.exit_watch:
                self.process.wait()
                self.exited = True
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
            if self.streams.client_prompts():
                self.stdin.close()
            self.sent += len(data) + self.overhead if data else 0
            try:
                if data and not (self.closed or self.kill_wanted):
                    self.deliver(self.outputs[pipe], data)
            except (IOError, OSError):
                self.closed = True  # the connection is lost

    def write(self):
        has_more = self.stdin.more
        written = self.stdin.write()
        if written and has_more and not self.closed:
            self.deliver(WRITTEN, written)

    def close(self):
        """Close everything. If the command is left running, other processes read its output and write its stdin."""
        try:
            self.wake_pipe.close()
            self.exit_watch.close()
            self.termination.group.close()
            self.detach_stdin()
            for pipe in self.outputs:
                copy_by_cat(pipe, None)
                pipe.close()
            if not self.exited:
                in_background(self.process.wait)
        finally:
            # last: until then, kill_all() waits, and this Python does not exit
            COMMANDS.discard(self)

    def detach_stdin(self):
        if self.stdin.pipe is None or self.exited or self.stdin.more or self.termination.state != RUNNING:
            self.stdin.close()
        else:
            self.detach_rest_of_stdin()

    def detach_rest_of_stdin(self):
        self.stdin.detach()


def outcome(kind, channel, kill, deliver, request, overhead=0):
    """Run a command; return its exit status, or the client's failure instead; None if it is left running."""
    try:
        command = kind(channel, kill, deliver, request, overhead)
    except OSError as error:
        if "container" not in request:
            raise
        # the client, not the command
        return ["client", None, False, encoded(str(error)), RUNNING, b""]
    return command.serve()


def kill_all():
    """Kill the commands with ``kill``, as at the end of the connection, since this process is about to exit."""
    for command in list(COMMANDS):
        command.receive(CLOSED)
    deadline = time.time() + KILL_ALL_TIMEOUT
    while COMMANDS and time.time() < deadline:
        time.sleep(KILL_INTERVAL)


def run(channel, kill=False, kind=Command, **request):
    def deliver(name, data):
        channel.send((name, data))

    status = outcome(kind, channel, kill, deliver, request, MESSAGE)
    if status is not None and not channel.isclosed():
        channel.send((STATUS, status))


def check(channel, kill=False, kind=Command, **request):
    blocks = {STDOUT: [], STDERR: []}  # type: dict
    sizes = {STDOUT: 0, STDERR: 0}

    def deliver(name, data):
        blocks[name].append(data)
        sizes[name] += len(data)
        if sizes[name] >= ANSWER:
            channel.send((name, take(name)))

    def take(name):
        sizes[name] = 0
        data = b"".join(blocks[name])
        blocks[name] = []
        return data

    status = outcome(kind, channel, kill, deliver, request)
    if status is not None and not channel.isclosed():
        channel.send((take(STDOUT), take(STDERR), status))
