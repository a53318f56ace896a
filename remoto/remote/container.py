"""RUNS ON THE REMOTE SIDE: run a command in a container, through the container's client."""

from __future__ import absolute_import, unicode_literals

import errno
import os
import re
import time

from .command import Command
from .command import check as check_command
from .command import run as run_command
from .process import native, start_detached
from .streams import CLIENT_OUTPUT
from .termination import Shell
from .wire import NO_SCRIPT, STDERR, STDOUT

# exit statuses of a shell whose exec fails
EXEC_FAILED = {"126": errno.EACCES, "127": errno.ENOENT}
# kubectl without credentials prints this and waits for an answer
PROMPT = b"Please enter Username: "
# A shell between the stdout of a container's client and its stdin, for a command that has not begun yet. It reads the
# script and the command's stdin from a file, which is its stderr.
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
    """A command in a container. The local process is the client."""

    def divide(self, request, sudo, client):
        container = request["container"]
        shell = Shell((["sudo"] if sudo else []) + [native(argument) for argument in container["client"]])
        streams = Marked(container["mark"], container["names"])
        return streams, ContainerGroup(client, shell, self.group_in_container)

    def group_in_container(self):
        return self.streams.pid if self.script_is_sent() else None

    def detach_rest_of_stdin(self):
        if self.script_is_sent():
            self.stdin.detach()
        elif self.outputs.pop(self.process.stdout, None):
            with self.process.stdout:
                detach_until_start(self.stdin, self.process.stdout, self.streams.held[STDOUT])
        else:
            self.stdin.close()


def detach_until_start(stdin, stdout, received):
    """Leave a client running that gets the rest of its stdin once it reports the start of the command's shell.

    :param stdout: the client's stdout.
    :param received: the data read from it so far.
    """
    try:
        rest = stdin.as_file()
    except (IOError, OSError):
        stdin.close()  # the command does not begin
        return
    line = received.rpartition(b"\n")[2].replace(b"\0", b"")
    with rest:
        start_detached(["/bin/sh", "-c", SEND_AFTER_START, "sh", native(line)], stdout, stdin.pipe, rest)
    stdin.close()


def run(channel, **request):
    run_command(channel, kind=ContainerCommand, **request)


def check(channel, **request):
    check_command(channel, kind=ContainerCommand, **request)


class Marked(object):
    """The streams of a container's client. The container's shell marks the beginning and the end of the output.

    Before the beginning, the output is the client's; after the end, it is the client's or a daemon's. The beginning is
    the report of the shell's process group; it needs no secret, since only the client can have written before. The end
    has ``token`` in it, which the command does not know.

    :param names: the names of the program and the working directory, for errors.
    :ivar pid: the command's process group, in the container.
    """

    def __init__(self, token, names):
        self.token = token
        self.mark = re.compile(re.escape(token) + br" (ended|failed) (\w{1,20})(?: (\w{1,20}))?\n")
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
        """True if the script may be sent. A client that asks for a password must not read it as the answer."""
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
            self.note(name, *[part and part.decode("ascii") for part in mark.groups()])
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
        """Return how many of the last bytes may be the beginning of a mark."""
        place = data.rfind(self.token)
        if place >= 0 and b"\n" not in data[place:]:
            return len(data) - place
        keep = min(len(self.token) - 1, len(data))
        while not data.endswith(self.token[:keep]):
            keep -= 1
        return keep

    def note(self, name, what, value, code):
        if what == "failed":
            self.failed = (value, EXEC_FAILED.get(code) or getattr(errno, code or "", errno.EINVAL))
            return
        self.status = int(value)
        # else its beginning is missing: kubectl drops early messages, with the warning
        # "Unknown stream id 1, discarding message"
        if self.states[name] == "inside":
            self.states[name] = "after"
        if self.is_complete():
            self.ended_at = time.time()

    def client_prompts(self):
        """Return True if the client waits for an answer instead of starting the command."""
        return self.pid is None and self.held[STDOUT].endswith(PROMPT)

    def is_complete(self):
        return self.states == {STDOUT: "after", STDERR: "after"}

    def rest(self):
        """Return (stream, data) of the rest when the client has exited: it looked like the beginning of a mark."""
        inside = [name for name in (STDOUT, STDERR) if self.states[name] == "inside"]
        return [(name, self.held[name]) for name in inside if self.held[name]]

    def may_have_begun(self, client_status, script_sent):
        return self.pid is not None and script_sent and client_status != NO_SCRIPT

    def is_lost(self, client_status, script_sent):
        """Return True if the client has exited, and the command may still be running."""
        return not self.is_complete() and self.failed is None and self.may_have_begun(client_status, script_sent)

    def outcome(self, client_status, script_sent, termination):
        """Return the command's exit status if both streams are complete.

        Else return ["client", the client's exit status, True if the command may have begun, the last stderr lines, the
        state of the command, why it could not be killed].

        :raises OSError: the command could not be started.
        """
        if self.failed is not None:
            what, code = self.failed
            name = self.names.get(what)
            raise OSError(code, os.strerror(code), *([native(name)] if name else []))
        if self.is_complete():
            return self.status
        # docker and podman write some errors to stdout
        stderr = self.last_stderr if self.pid is not None else self.held[STDERR] + self.held[STDOUT]
        begun = self.may_have_begun(client_status, script_sent)
        return ["client", client_status, begun, stderr, termination.state, termination.group.output]


class ContainerGroup(object):
    """The process groups of a command in a container and of its client.

    :param begun: a function that returns the command's process group; None if it has not begun, and never will.
    """

    def __init__(self, client, shell, begun):
        self.client = client
        self.shell = shell
        self.begun = begun

    @property
    def output(self):
        return self.shell.output

    def send(self, name, seconds):
        group = self.begun()
        if group is None:
            return self.client.send(name, seconds)
        answer = self.shell.send(name, group, seconds)
        if name == "KILL":
            self.client.send(name, seconds)
        return answer

    def close(self):
        self.client.close()
        self.shell.close()
