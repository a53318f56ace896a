"""RUNS ON A RELAY: starts a process, such as ssh, and carries its stdin, stdout and stderr over a channel.

``relay_wire.py`` has the messages. Each stream has a window: if the process or the controller does not read, only this
process stalls.
"""

from __future__ import absolute_import, unicode_literals

import collections
import errno
import os
import re
import signal
import subprocess
import threading

from .pipes import WakePipe, make_nonblocking, poll, retry
from .process import environment, in_background, native, start
from .relay_wire import EXITED, FAILED, KILL, MESSAGE, STDERR, STDIN, STDOUT, WINDOWS

BLOCK = 64 * 1024
# bytes to read after the process has exited: other processes may have its stderr, and write to it forever
LAST_BYTES = 1024 * 1024
# seconds to wait for ssh -G; a `Match exec` in ssh's configuration may hang
QUERY_TIMEOUT = 10.0
CLOSED = None
CHILDREN = set()


class Child(object):
    def __init__(self, channel, argv):
        """Start the process.

        :raises OSError: it can't be started.
        """
        self.channel = channel
        self.process = start(argv, False, True, None, None, {})
        self.stdin = self.process.stdin
        self.blocks = collections.deque()  # type: collections.deque
        self.outputs = {STDOUT: self.process.stdout, STDERR: self.process.stderr}
        # bytes of each: only the thread that serves changes the first, the receiver the second
        self.sent = dict.fromkeys(self.outputs, 0)
        self.acknowledged = dict.fromkeys(self.outputs, 0)
        self.closed = False  # by the controller, or with the connection
        self.killed = False
        self.exited = False
        self.waiting = False
        self.last_bytes = LAST_BYTES
        self.lock = threading.Lock()
        self.wake_pipe = WakePipe()
        for pipe in (self.stdin, self.process.stdout, self.process.stderr):
            make_nonblocking(pipe)
        CHILDREN.add(self)
        channel.setcallback(self.receive, endmarker=CLOSED)

    # called by the receiver thread, which must never wait

    def receive(self, item):
        if item is CLOSED:
            self.closed = True
            # here, since this Python may exit as soon as the receiver thread has ended
            self.kill()
        elif item[0] == STDIN:
            self.blocks.append(memoryview(item[1]))
        elif item[0] == KILL:
            self.kill()
        else:
            self.acknowledged[item[0]] += item[1]
        self.wake_pipe.wake()

    def kill(self):
        self.killed = True
        with self.lock:
            if not self.exited:
                try:
                    os.killpg(self.process.pid, signal.SIGKILL)
                except OSError:
                    pass  # it has exited, or it belongs to root because of sudo, and exits at EOF on stdin

    def wait(self):
        self.process.wait()
        with self.lock:
            self.exited = True
        self.wake_pipe.wake()

    # called by the thread that serves the process

    def serve(self):
        """Carry the streams until the process has exited.

        Return its exit status, or None if the controller has closed the channel.
        """
        try:
            while not self.closed and (self.outputs or not self.exited):
                if self.exited and self.killed:
                    break
                self.handle(self.poll())
                self.start_waiting()
            return None if self.closed else self.process.returncode
        finally:
            self.close()

    def poll(self):
        """Return the pipes that are ready. After the process has exited, a stream without data has ended."""
        names = [name for name in self.outputs if self.sent[name] - self.acknowledged[name] < WINDOWS[name]]
        exited = self.exited
        readable = [self.wake_pipe] + [self.outputs[name] for name in names]
        writable = [self.stdin] if self.stdin is not None and self.blocks else []
        ready = poll(readable, writable, 0 if exited and names else None)
        if exited and not ready:
            for name in names:
                self.end_output(name)
        return ready

    def handle(self, ready):
        for pipe in ready:
            if pipe is self.wake_pipe:
                pipe.wait()
            elif pipe is self.stdin:
                self.write()
            else:
                for name in [name for name in self.outputs if self.outputs[name] is pipe]:
                    self.read(name)
        if self.stdin is None and self.blocks:
            self.drop_blocks()

    def read(self, name):
        size = BLOCK if not self.exited else min(BLOCK, self.last_bytes)
        data = retry(os.read, self.outputs[name].fileno(), size) if size else b""
        if data is None:
            return
        if self.exited:
            self.last_bytes -= len(data)
        if not data:
            self.end_output(name)
            return
        self.sent[name] += len(data) + MESSAGE
        self.send(name, data)

    def end_output(self, name):
        self.outputs.pop(name).close()
        self.send(name, b"")

    def write(self):
        block = self.blocks[0]
        if not len(block):
            self.close_stdin()
            return
        try:
            written = retry(os.write, self.stdin.fileno(), block) or 0
        except (IOError, OSError) as error:
            if error.errno != errno.EPIPE:
                raise
            self.close_stdin()
            return
        # only this thread takes blocks
        self.blocks[0] = block[written:]
        size = written
        if not len(self.blocks[0]):
            self.blocks.popleft()
            size += MESSAGE
        if size:
            self.send(STDIN, size)

    def close_stdin(self):
        self.stdin.close()
        self.stdin = None

    def drop_blocks(self):
        """Acknowledge the rest without writing it: the process has closed its stdin."""
        while self.blocks:
            self.send(STDIN, len(self.blocks.popleft()) + MESSAGE)

    def start_waiting(self):
        """Once the process is expected to exit, wait for it in a thread."""
        if not self.waiting and (self.stdin is None or self.killed or STDOUT not in self.outputs):
            self.waiting = True
            in_background(self.wait)

    def send(self, name, value):
        try:
            self.channel.send((name, value))
        except (IOError, OSError):
            self.closed = True  # the connection is lost

    def close(self):
        CHILDREN.discard(self)
        self.kill()
        if self.stdin is not None:
            self.close_stdin()
        for name in list(self.outputs):
            self.outputs.pop(name).close()
        if not self.waiting:
            self.process.wait()
        self.wake_pipe.close()


def kill_all():
    """Kill all processes, since this one is about to exit."""
    for child in list(CHILDREN):
        child.kill()


def with_keepalive(argv, seconds):
    """Return ssh's argv with a keepalive, unless ssh's configuration on this machine has one.

    :param argv: ``ssh -T OPTIONS HOST COMMAND``
    """
    # in batch mode, Debian's ssh has a ServerAliveInterval of 300 that no user has configured
    query = argv[:1] + [b"-G", b"-o", b"BatchMode=no"] + argv[2:-1]
    with open(os.devnull, "r+b") as devnull:
        process = subprocess.Popen(
            [native(argument) for argument in query],
            stdin=devnull,
            stdout=subprocess.PIPE,
            stderr=devnull,
            close_fds=True,
            env=environment(None, None),
        )
    timer = threading.Timer(QUERY_TIMEOUT, process.kill)
    timer.start()
    try:
        answer = process.communicate()[0]
    finally:
        timer.cancel()
    if not re.search(b"^serveraliveinterval 0$", answer, re.MULTILINE):
        return argv
    return argv[:-2] + [b"-o", b"ServerAliveInterval=%d" % seconds] + argv[-2:]


def serve(channel, argv, keepalive=0):
    """Start a process and carry its streams.

    :param argv: a list of bytes.
    :param keepalive: seconds for :func:`with_keepalive`; 0 does not change the argv.
    """
    try:
        if keepalive:
            argv = with_keepalive(argv, keepalive)
        child = Child(channel, argv)
    except (IOError, OSError) as error:
        channel.send((FAILED, error.errno or 0))
        return
    status = child.serve()
    if status is not None:
        child.send(EXITED, status)
