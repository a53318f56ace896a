"""RUNS ON THE REMOTE SIDE: kill a command and its process group."""

from __future__ import absolute_import, unicode_literals

import errno
import os
import time

from .pipes import poll
from .process import OWN_SESSION, encoded, in_background
from .signals import signal
from .streams import CLIENT_OUTPUT
from .wire import ENDED, LEFT, RUNNING, TERMINATING

# seconds between TERM and KILL; execnet kills this process 5 seconds after the end of the connection
GRACE = 2.0
# seconds for an engine to deliver KILL; together with those for TERM less than the controller's KILL_TIMEOUT
SEND_KILL_TIMEOUT = 5.0
SIGNALS = {"0": 0, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}
# read names of signals, a line each, send them to the process group $1, and write an answer for each
SEND_SIGNALS = 'while read -r name; do if kill "-$name" "-$1" 2> /dev/null; then echo yes; else echo no; fi; done'


class Shell(object):
    """A shell that sends signals which this process can't send: to a process group in a container, or to root's.

    One shell sends all signals, since an engine may take seconds to start another client.

    :param prefix: the argv that runs a command in the container or as root, up to that command.
    :ivar output: the last lines of other output, for instance the engine's error.
    """

    def __init__(self, prefix):
        self.argv = prefix + ["/bin/sh", "-c", SEND_SIGNALS, "remoto"]
        self.output = b""
        self.process = None
        self.unanswered = 0

    def send(self, name, group, seconds):
        """Send a signal. Return True if it was delivered, False if no process is left, None if unknown in time."""
        try:
            process = self.process or self.start(group)
            self.unanswered += 1
            process.stdin.write(name.encode("ascii") + b"\n")
        except (IOError, OSError) as error:
            if error.errno != errno.EPIPE:
                self.output = encoded(str(error))
                return None  # the shell could not be started
        return self.answer(process, time.time() + seconds)

    def start(self, group):
        import subprocess  # takes longer than most commands

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
        """Return the answer to the last signal."""
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
                self.output = (self.output + line)[-CLIENT_OUTPUT:]
        return answer

    def close(self):
        """Close stdin, so that the shell exits once it has sent the queued signals."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            in_background(self.process.wait)


class Group(object):
    """The process group of a command, or of a container's client, on this host.

    :param shell: root's shell, if sudo was used: this process may send signals to sudo, but not to sudo's children.
    """

    output = b""

    def __init__(self, pid, shell):
        self.pid = pid
        self.shell = shell

    def send(self, name, seconds):
        """Send a signal. Return True if it was delivered, False if no process is left, None if unknown."""
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

    def close(self):
        if self.shell is not None:
            self.shell.close()


class Termination(object):
    """Kill a command, step by step: its process group gets TERM and, after a grace period, KILL."""

    def __init__(self, group):
        self.group = group
        self.state = RUNNING
        self.deadline = 0.0

    def is_over(self):
        return self.state in (ENDED, LEFT)

    def advance(self):
        """Send the next signal, if it is due."""
        if self.state == RUNNING:
            self.state = TERMINATING
            known = self.group.send("TERM", GRACE) is not None
            self.deadline = time.time() + (GRACE if known else 0)
        elif time.time() > self.deadline:
            self.state = LEFT if self.group.send("KILL", SEND_KILL_TIMEOUT) is None else ENDED
        elif self.group.send("0", GRACE) is False:
            self.state = ENDED
