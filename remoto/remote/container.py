"""RUNS ON THE REMOTE SIDE: run a command in a container, through the container's client."""

from __future__ import absolute_import, unicode_literals

import errno
import os
import re
import time

from .command import Command
from .command import check as check_command
from .command import run as run_command
from .ending import Shell
from .process import leave_to, native
from .streams import CLIENT_OUTPUT
from .wire import NO_SCRIPT, STDERR, STDOUT

# exit statuses of a shell's exec that fails
EXEC_FAILED = {"126": errno.EACCES, "127": errno.ENOENT}
# kubectl, to a user of whom it knows no credentials: it would wait for an answer
PROMPT = b"Please enter Username: "
# A shell between the stdout of a container's client and its stdin, for a command that has not begun yet. It reads the
# script and the command's stdin from its own stderr, which is a file.
SEND_AFTER_START = """\
while IFS= read -r line; do
  case $1$line in
  *"remoto started "[0-9]*) cat <&2 & exec cat > /dev/null 2>&1 ;;
  esac
  shift $#
done
"""
STARTED = re.compile(br"remoto started (\d{1,20})\n")


class ContainerCommand(Command):
    """A command in a container; the process here is the client's."""

    def divide(self, request, sudo, client):
        container = request["container"]
        shell = Shell((["sudo"] if sudo else []) + [native(word) for word in container["client"]])
        streams = Marked(container["mark"], container["names"])
        return streams, ContainerGroup(client, shell, self.group_in_container)

    def group_in_container(self):
        return self.streams.pid if self.script_is_sent() else None

    def leave_rest_of_stdin(self):
        if self.script_is_sent():
            self.stdin.leave()
        elif self.outputs.pop(self.process.stdout, None):
            with self.process.stdout:
                leave_until_start(self.stdin, self.process.stdout, self.streams.held[STDOUT])
        else:
            self.stdin.close()


def leave_until_start(stdin, stdout, received):
    """Let a client have the rest of its stdin once it reports the start of its command's shell.

    :param stdout: the client's.
    :param received: what was read from it.
    """
    try:
        rest = stdin.as_file()
    except (IOError, OSError):
        stdin.close()  # the command does not begin
        return
    line = received.rpartition(b"\n")[2].replace(b"\0", b"")
    with rest:
        leave_to(["/bin/sh", "-c", SEND_AFTER_START, "sh", native(line)], stdout, stdin.pipe, rest)
    stdin.close()


def run(channel, kill, **request):
    run_command(channel, kill, ContainerCommand, **request)


def check(channel, kill, **request):
    check_command(channel, kill, ContainerCommand, **request)


class Marked(object):
    """The streams of a container's client: the shell in the container marks where its command's output begins and ends.

    Before the beginning, the client has written it; behind the end, the client or a daemon. The shell reports its
    process group first, which needs no secret: nothing but the client has written before. The end has ``word`` in it,
    which the command does not know.

    :param names: of the program and of the working directory, for errors.
    :ivar pid: the command's process group, in the container.
    """

    def __init__(self, word, names):
        self.word = word
        self.mark = re.compile(re.escape(word) + br" (ended|failed) (\w{1,20})(?: (\w{1,20}))?\n")
        self.names = names
        self.states = {STDOUT: "before", STDERR: "before"}
        self.held = {STDOUT: b"", STDERR: b""}
        self.last_stderr = b""
        self.pid = None
        self.status = None
        self.failed = None
        self.ended_at = None

    @property
    def may_begin(self):
        """Whether the script may be sent. A client that asks for a password must not read it as the answer."""
        return self.pid is not None

    def feed(self, name, data):
        """Return the command's own part of a block."""
        data = self.held[name] + data
        own = []
        start = 0
        if self.states[name] == "before":
            started = STARTED.search(data)
            if started:
                self.pid = started.group(1).decode("ascii")
                self.states[name] = "inside"
                start = started.end()
        for mark in self.mark.finditer(data, start):
            if self.states[name] == "inside":
                own.append(data[start : mark.start()])
            self.note(name, *[word and word.decode("ascii") for word in mark.groups()])
            start = mark.end()
        data = data[start:]
        keep = min(len(data), CLIENT_OUTPUT) if self.states[name] == "before" else self.beginning_of_a_mark(data)
        self.held[name] = data[len(data) - keep :]
        if self.states[name] == "inside":
            own.append(data[: len(data) - keep])
        joined = b"".join(own)
        if name == STDERR:
            self.last_stderr = (self.last_stderr + joined)[-CLIENT_OUTPUT:]
        return joined

    def beginning_of_a_mark(self, data):
        """Return how many of the last bytes may be one."""
        place = data.rfind(self.word)
        if place >= 0 and b"\n" not in data[place:]:
            return len(data) - place
        keep = min(len(self.word) - 1, len(data))
        while not data.endswith(self.word[:keep]):
            keep -= 1
        return keep

    def note(self, name, what, value, code):
        if what == "failed":
            self.failed = (value, EXEC_FAILED.get(code) or getattr(errno, code or "", errno.EINVAL))
            return
        self.status = int(value)
        # else its beginning is missing: kubectl drops messages that come early, with the warning
        # "Unknown stream id 1, discarding message"
        if self.states[name] == "inside":
            self.states[name] = "after"
        if self.is_complete():
            self.ended_at = time.time()

    def client_asks(self):
        """Return True if the client waits for an answer and does not start the command."""
        return self.pid is None and self.held[STDOUT].endswith(PROMPT)

    def is_complete(self):
        return self.states == {STDOUT: "after", STDERR: "after"}

    def rest(self):
        """Return (stream, data) of what is left when the client has ended: the beginning of a mark, which was none."""
        inside = [name for name in (STDOUT, STDERR) if self.states[name] == "inside"]
        return [(name, self.held[name]) for name in inside if self.held[name]]

    def may_have_begun(self, client_status, script_sent):
        return self.pid is not None and script_sent and client_status != NO_SCRIPT

    def is_lost(self, client_status, script_sent):
        """Return True if the client has ended, and the command perhaps not."""
        return not self.is_complete() and self.failed is None and self.may_have_begun(client_status, script_sent)

    def outcome(self, client_status, script_sent, ending):
        """Return the command's exit status, once both streams are complete.

        Else return ["client", the client's exit status, whether the command may have begun, the last lines of stderr,
        the state of its ending, why it could not be ended].

        :raises OSError: the command could not be started.
        """
        if self.failed is not None:
            what, code = self.failed
            name = self.names.get(what)
            raise OSError(code, os.strerror(code), *([native(name)] if name else []))
        if self.is_complete():
            return self.status
        # docker and podman report some of their problems on stdout
        stderr = self.last_stderr if self.pid is not None else self.held[STDERR] + self.held[STDOUT]
        begun = self.may_have_begun(client_status, script_sent)
        return ["client", client_status, begun, stderr, ending.state, ending.group.words]


class ContainerGroup(object):
    """The process group of a command in a container, and its client's.

    :param begun: a function that returns the command's process group; None if it has not begun, and never will.
    """

    def __init__(self, client, shell, begun):
        self.client = client
        self.shell = shell
        self.begun = begun

    @property
    def words(self):
        return self.shell.words

    def send(self, name, seconds):
        group = self.begun()
        if group is None:
            return self.client.send(name, seconds)
        answer = self.shell.send(name, group, seconds)
        if name == "KILL":
            self.client.send(name, seconds)
        return answer

    def leave(self):
        self.client.leave()
        self.shell.leave()
