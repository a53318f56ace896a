"""RUNS ON THE REMOTE SIDE: end a command with all of its process group."""

from __future__ import absolute_import, unicode_literals

import errno
import os
import signal
import subprocess
import time

from .pipes import poll
from .process import OWN_SESSION, encoded, in_background
from .streams import CLIENT_OUTPUT
from .wire import ENDED, LEFT, RUNNING, TERMINATING

# how long TERM may take before KILL follows, seconds; execnet ends this process 5 seconds after the connection
GRACE = 2.0
# how long an engine may take to deliver KILL, seconds; with all of TERM's less than the controller's KILL_TIMEOUT
KILL_PATIENCE = 5.0
SIGNALS = {"0": 0, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}
# a signal's name a line, for the process group that is the argument; an answer a line
SEND_SIGNALS = 'while read -r name; do if kill "-$name" "-$1" 2> /dev/null; then echo yes; else echo no; fi; done'


class Shell(object):
    """A shell that sends signals to a process group that this process can't reach: one in a container, or of root.

    One for all signals: an engine may take seconds to start another client, while the command is ending.

    :param prefix: the argv that a command is put behind to run there.
    :ivar words: the last lines of what else was written: an engine says why it can't start a shell.
    """

    def __init__(self, prefix):
        self.argv = prefix + ["/bin/sh", "-c", SEND_SIGNALS, "remoto"]
        self.words = b""
        self.process = None
        self.unanswered = 0

    def send(self, name, group, seconds):
        """Return True if there was a process to get it, False if none is left, None if that is not known in time."""
        try:
            process = self.process or self.start(group)
            self.unanswered += 1
            process.stdin.write(name.encode("ascii") + b"\n")
        except (IOError, OSError) as error:
            if error.errno != errno.EPIPE:
                self.words = encoded(str(error))
                return None  # it could not be started
        return self.answer(process, time.time() + seconds)

    def start(self, group):
        self.process = subprocess.Popen(
            self.argv + [str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            close_fds=True,
            **OWN_SESSION
        )
        return self.process

    def answer(self, process, deadline):
        """Return the answer to the last signal, that was sent after all others."""
        answer = None
        while self.unanswered:
            if not poll([process.stdout], [], max(0.0, deadline - time.time())):
                return None
            line = process.stdout.readline()
            if not line:
                return None
            if line in (b"yes\n", b"no\n"):
                self.unanswered -= 1
                answer = line == b"yes\n"
            else:
                self.words = (self.words + line)[-CLIENT_OUTPUT:]
        return answer

    def leave(self):
        """Let it send what it was told to, and end."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            in_background(self.process.wait)


class Group(object):
    """The process group of a command, or of a container's client, on this host.

    :param shell: root's, if sudo has started it: this process may send a signal to sudo, but not to what that has
        started.
    """

    words = b""

    def __init__(self, pid, shell):
        self.pid = pid
        self.shell = shell

    def send(self, name, seconds):
        """Return True if there was a process to get it, False if none is left, None if that is not known."""
        if self.shell is not None:
            return self.shell.send(name, self.pid, seconds)
        try:
            os.killpg(self.pid, SIGNALS[name])
            return True
        except OSError as error:
            if error.errno == errno.ESRCH:
                return False
            if error.errno == errno.EPERM:
                return None
            raise

    def leave(self):
        if self.shell is not None:
            self.shell.leave()


class Ending(object):
    """How a command is ended: its process group gets TERM, and KILL when the time is over."""

    def __init__(self, group):
        self.group = group
        self.state = RUNNING
        self.deadline = 0.0

    def is_over(self):
        return self.state in (ENDED, LEFT)

    def advance(self):
        """Take the next step, until it is over."""
        if self.state == RUNNING:
            self.state = TERMINATING
            known = self.group.send("TERM", GRACE) is not None
            self.deadline = time.time() + (GRACE if known else 0)
        elif time.time() > self.deadline:
            self.state = LEFT if self.group.send("KILL", KILL_PATIENCE) is None else ENDED
        elif self.group.send("0", GRACE) is False:
            self.state = ENDED
