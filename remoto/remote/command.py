"""RUNS ON THE FAR SIDE: start one command, stream or collect its output, report its end.

``run`` sends blocks of output as they come and then the exit status; ``check`` one answer, and blocks before it where the
output is long. The controller may send: a number, the bytes of output that it has dealt with; 'kill'; or, where stdin was
True, (bytes,) to be written to it, an empty one at its end, of which ``run`` tells how many it has written. When it closes
the channel, or the connection ends, the command is left running, unless it was started with ``kill``.
"""

import errno
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time


PY2 = sys.version_info[0] == 2
STDOUT, STDERR, STATUS, TAKEN = 1, 2, 0, 3
BLOCK = 256 * 1024
PIPE_SIZE = 1024 * 1024
# what check keeps for its one answer; of a longer output the rest goes ahead
ANSWER = 256 * 1024
# what may be on its way to a controller that has not dealt with it yet; of each message, besides its data, MESSAGE bytes count
WINDOW = 8 * 1024 * 1024
MESSAGE = 64
# how long TERM may take before KILL follows, seconds; execnet ends this process 5 seconds after the connection
GRACE = 2.0
# a process substitution such as `> >(tee log)` writes a moment after its shell has ended, seconds
LINGER = 0.1
LINGER_LIMIT = 1.0
# how long a container's client may take to end after its command, before it is left alone, seconds
CLIENT_PATIENCE = 0.5
# how much of what a container's client has said is kept for an error, bytes
CLIENT_WORDS = 4096
EXTRA_PATH = ("/usr/local/bin", "/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
# the exit status of the shell in the container that has not received the whole script
NO_SCRIPT = 98
STARTED = re.compile(br"remoto started (\d{1,20})\n")
# kubectl, to a user of whom it knows no credentials: it would wait for an answer
PROMPT = b"Please enter Username: "
CLOSED = object()
F_SETPIPE_SZ = 1031


def native(data):
    """bytes from the controller as what this Python's subprocess takes for text, whatever the locale."""
    return data if PY2 else os.fsdecode(data)


def environment(given, extra):
    """The command's environment: the one given, or this process's with the administrator's folders at the end of PATH."""
    if given is not None:
        result = dict(given)
    else:
        result = dict(os.environ if PY2 else os.environb)
        path = [folder for folder in result.get(b"PATH", b"").split(b":") if folder]
        extension = [folder.encode("ascii") for folder in EXTRA_PATH]
        result[b"PATH"] = b":".join(path + [folder for folder in extension if folder not in path])
    result.update(extra or {})
    return result


def new_session():
    os.setsid()
    # Python 2 ignores SIGPIPE and hands that down: `yes | head` would never end
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def start(args, sudo, stdin, env, extend_env, popen):
    """A session of its own: a signal for this process group is not the command's, and the command can't ask a terminal."""
    args = [native(word) for word in args] if isinstance(args, (list, tuple)) else native(args)
    options = dict((name, native(value) if isinstance(value, bytes) else value) for name, value in popen.items())
    if sudo and os.getuid() != 0:
        if options.pop("shell", False):
            args = ["/bin/sh", "-c", args] if not isinstance(args, list) else ["/bin/sh", "-c"] + args
        args = ["sudo"] + (args if isinstance(args, list) else [args])
    options.setdefault("close_fds", True)
    if PY2:
        options.setdefault("preexec_fn", new_session)
    else:
        options.setdefault("start_new_session", True)
    devnull = None
    if stdin is None:
        devnull = open(os.devnull, "rb")
    try:
        return subprocess.Popen(
            args,
            stdin=devnull or subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(env, extend_env),
            bufsize=0,
            **options
        )
    finally:
        if devnull is not None:
            devnull.close()


def prepare_pipe(pipe):
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_SIZE)
    except (IOError, OSError):
        pass  # a larger pipe only saves time


def retry(call, *args):
    """Python 2 raises EINTR where Python 3 goes on by itself. None: nothing there now."""
    while True:
        try:
            return call(*args)
        except (IOError, OSError, select.error) as error:
            code = error.args[0]
            if code == errno.EINTR:
                continue
            if code in (errno.EAGAIN, errno.EWOULDBLOCK):
                return None
            raise


class Marks(object):
    """What the shell in the container reports on both streams, taken out; the client's and daemons' lines are not output.

    It begins with its process group, which needs no secret: nothing but the client has written before. The end has ``word``
    in it, which the command does not know.

    :param names: of the program and the folder, for errors.
    :ivar pid: of the command's process group, in the container.
    :ivar status: the command's exit status.
    """

    def __init__(self, word, names):
        self.word = word
        self.mark = re.compile(re.escape(word) + br" (ended|failed) (\w{1,20})\n")
        self.names = names
        self.states = {STDOUT: "before", STDERR: "before"}
        self.held = {STDOUT: b"", STDERR: b""}
        self.last_words = b""
        self.pid = None
        self.status = None
        self.failed = None
        self.ended_at = None

    def feed(self, name, data):
        """The command's own part of it."""
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
            self.note(name, *[word.decode("ascii") for word in mark.groups()])
            start = mark.end()
        data = data[start:]
        keep = min(len(data), CLIENT_WORDS) if self.states[name] == "before" else self.beginning_of_a_mark(data)
        self.held[name] = data[len(data) - keep :]
        if self.states[name] == "inside":
            own.append(data[: len(data) - keep])
        own = b"".join(own)
        if name == STDERR:
            self.last_words = (self.last_words + own)[-CLIENT_WORDS:]
        return own

    def beginning_of_a_mark(self, data):
        """How many of the last bytes may be one."""
        place = data.rfind(self.word)
        if place >= 0 and b"\n" not in data[place:]:
            return len(data) - place
        keep = min(len(self.word) - 1, len(data))
        while not data.endswith(self.word[:keep]):
            keep -= 1
        return keep

    def note(self, name, what, value):
        if what == "ended":
            self.status = int(value)
            self.states[name] = "after"
            if self.complete():
                self.ended_at = time.time()
        else:
            self.failed = value

    def client_asks(self):
        """Whether the client waits for an answer in the place of starting the command."""
        return self.pid is None and self.held[STDOUT].endswith(PROMPT)

    def complete(self):
        return self.states == {STDOUT: "after", STDERR: "after"}

    def rest(self):
        """(stream, data) of what is left at the end: half a mark, which was none."""
        return [(name, self.held[name]) for name in (STDOUT, STDERR) if self.states[name] == "inside" and self.held[name]]

    def outcome(self, client_status, script_sent):
        """The command's exit status, once both streams are complete.

        Else ["client", the client's exit status, whether the command may have begun, the last lines of stderr].
        """
        if self.failed is not None:
            problem = {
                "program": "No such program, or not one that can be executed, in the container",
                "folder": "No such folder, or not one that can be entered, in the container",
                "variable": "The container's shell does not let a variable be set",
            }
            name = self.names.get(self.failed)
            raise OSError(errno.ENOENT, problem[self.failed], *([native(name)] if name else []))
        if self.complete():
            return self.status
        begun = self.pid is not None and script_sent and client_status != NO_SCRIPT
        # docker and podman report some of their problems on stdout
        words = self.last_words if self.pid is not None else self.held[STDERR] + self.held[STDOUT]
        return ["client", client_status, begun, words]


class Killer(object):
    """A shell in the container that sends signals to the command's process group.

    One for all signals: an engine may take seconds to start another client there, while the command is ending.
    """

    def __init__(self, argv):
        options = {"preexec_fn": new_session} if PY2 else {"start_new_session": True}
        with open(os.devnull, "wb") as devnull:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=devnull, bufsize=0, close_fds=True, **options
            )
        self.unanswered = 0
        self.poller = select.poll()
        self.poller.register(self.process.stdout, select.POLLIN)

    def send(self, name, seconds):
        """Whether there was anybody to get it; None where that is not known in time."""
        answer = None
        try:
            self.process.stdin.write(name.encode("ascii") + b"\n")
            self.unanswered += 1
            limit = time.time() + seconds
            while self.unanswered:
                if not retry(self.poller.poll, max(0.0, limit - time.time()) * 1000):
                    return None
                # a line each: yes or no
                line = self.process.stdout.readline()
                if not line:
                    return None
                self.unanswered -= 1
                answer = line == b"yes\n"
        except (IOError, OSError):
            return None
        return answer

    def leave(self):
        """It does what it has been told, and ends."""
        self.process.stdin.close()
        self.process.stdout.close()
        in_background(self.process.wait)


def in_background(function):
    thread = threading.Thread(target=function)
    thread.daemon = True
    thread.start()


class Command(object):
    def __init__(self, channel, kill, deliver, request, overhead=0):
        """
        :param overhead: bytes that count of each block besides its data.
        """
        self.overhead = overhead
        container = request.pop("container", None)
        self.marks = Marks(container["mark"], container["names"]) if container else None
        self.kill_in_container = [native(word) for word in container["kill"]] if container else None
        if container and request["sudo"] and os.getuid() != 0:
            self.kill_in_container.insert(0, "sudo")
        self.killer = None
        self.deliver = deliver
        self.kill_at_end = kill
        self.unacknowledged = 0
        self.closed = False  # by the controller, or with the connection
        self.kill_wanted = False
        self.kill_deadline = None
        self.exited_at = None
        self.lock = threading.Lock()
        self.more_stdin = request["stdin"] is True  # blocks of it come by the channel
        self.script = container["script"] if container else b""
        self.stdin = memoryview(self.script if self.more_stdin else self.script + (request["stdin"] or b""))
        self.script_left = len(self.script)
        self.stdin_blocks = []
        self.process = start(**request)
        self.outputs = {self.process.stdout: STDOUT, self.process.stderr: STDERR}
        self.input = self.process.stdin
        self.poller = select.poll()
        self.wake_reader, self.wake_writer = os.pipe()
        for pipe in [self.wake_reader] + list(self.outputs) + ([self.input] if self.input else []):
            prepare_pipe(pipe)
        in_background(self.wait)
        channel.setcallback(self.hear, endmarker=CLOSED)

    # called in other threads

    def wait(self):
        self.process.wait()
        self.exited_at = time.time()
        self.wake()

    def hear(self, item):
        with self.lock:
            if item is CLOSED:
                self.closed = True
            elif item == "kill":
                self.kill_wanted = True
            elif isinstance(item, tuple):
                self.stdin_blocks.append(item[0])
            else:
                self.unacknowledged -= item
        self.wake()

    def wake(self):
        with self.lock:
            if self.wake_writer is not None:
                retry(os.write, self.wake_writer, b".")

    # called in the thread that serves the command

    def serve(self):
        """The exit status; None where the controller has gone."""
        try:
            while not self.finished():
                if self.closed and not (self.kill_at_end or self.kill_wanted):
                    return None
                if self.kill_wanted or self.closed:
                    self.kill()
                    if self.kill_deadline is None:
                        continue
                self.handle(self.poll())
            if self.marks is None:
                return self.process.returncode
            for name, data in self.marks.rest():
                self.deliver(name, data)
            return self.marks.outcome(self.process.returncode, self.script_left == 0)
        finally:
            self.leave()

    def finished(self):
        if self.kill_deadline is not None:
            return False
        if self.marks is not None and self.marks.ended_at is not None and self.exited_at is None:
            # both streams are complete: a client that stays does so for a daemon
            return time.time() > self.marks.ended_at + CLIENT_PATIENCE
        if self.exited_at is None:
            return False
        return not self.outputs or self.drained()

    def drained(self):
        """Take what a command left in its pipes when it ended, though somebody else still holds them open."""
        for pipe in list(self.outputs):
            self.read(pipe, PIPE_SIZE)
        limit = time.time() + LINGER_LIMIT
        while self.outputs and time.time() < limit and not (self.closed or self.kill_wanted):
            if not self.window_open():
                limit += self.wait_for_window()
                continue
            self.watch(window_open=True)
            self.unwatch(self.wake_reader)
            ready = retry(self.poller.poll, LINGER * 1000)
            if not ready:
                break
            self.handle(ready)
        return True

    def wait_for_window(self):
        """The seconds until the controller has dealt with some of the output, or does not want it any more."""
        started = time.time()
        while not (self.window_open() or self.closed or self.kill_wanted):
            self.watch(window_open=False)
            self.handle(retry(self.poller.poll) or [])
        return time.time() - started

    def watch(self, window_open):
        for pipe in self.outputs:
            if window_open:
                self.poller.register(pipe, select.POLLIN)
            else:
                self.unwatch(pipe)
        if self.input is not None and self.has_stdin():
            self.poller.register(self.input, select.POLLOUT)
        self.poller.register(self.wake_reader, select.POLLIN)

    def unwatch(self, pipe):
        try:
            self.poller.unregister(pipe)
        except KeyError:
            pass

    def window_open(self):
        with self.lock:
            return self.unacknowledged < WINDOW

    def poll(self):
        self.watch(self.window_open())
        # nothing tells of the end of somebody else's children: they are asked for while they are being killed
        timeout = 20 if self.kill_deadline is not None else None
        if self.marks is not None and self.marks.ended_at is not None:
            timeout = LINGER * 1000
        return retry(self.poller.poll, timeout) or []

    def handle(self, ready):
        by_number = dict((pipe.fileno(), pipe) for pipe in self.outputs)
        for fd, _ in ready:
            if fd == self.wake_reader:
                retry(os.read, fd, 4096)
            elif fd in by_number:
                self.read(by_number[fd], BLOCK)
            elif self.input is not None and fd == self.input.fileno():
                self.write()

    def read(self, pipe, limit):
        while limit > 0:
            data = retry(os.read, pipe.fileno(), min(limit, BLOCK))
            if data is None:
                return
            if not data:
                self.unwatch(pipe)
                pipe.close()
                del self.outputs[pipe]
                return
            limit -= len(data)
            name = STDOUT if pipe is self.process.stdout else STDERR
            if self.marks is not None:
                data = self.marks.feed(name, data)
                if self.marks.client_asks():
                    self.end_stdin()
            with self.lock:
                self.unacknowledged += len(data) + self.overhead if data else 0
            try:
                if not self.closed and data:
                    self.deliver(name, data)
            except (IOError, OSError):
                self.closed = True  # nobody is there to get it

    def has_stdin(self):
        """Whether there is something to write, or the end of it to be told."""
        if self.script_left and (self.marks.pid is None or self.kill_deadline is not None):
            return False  # a client that asks for a password must not read it, nor may a command begin while it is killed
        with self.lock:
            if not len(self.stdin) and self.stdin_blocks:
                self.stdin = memoryview(self.stdin_blocks.pop(0))
                if not len(self.stdin):
                    self.more_stdin = False
        return len(self.stdin) > 0 or not self.more_stdin

    def write(self):
        try:
            taken = retry(os.write, self.input.fileno(), self.stdin[:BLOCK]) or 0
        except (IOError, OSError) as error:
            if error.errno != errno.EPIPE:
                raise
            taken = 0
            self.stdin = self.stdin[:0]  # the command does not want the rest: its own business
            self.more_stdin = False
        self.stdin = self.stdin[taken:]
        of_script = min(taken, self.script_left)
        self.script_left -= of_script
        if self.more_stdin:
            if not self.closed and taken > of_script:
                self.deliver(TAKEN, taken - of_script)
            if not len(self.stdin):
                self.unwatch(self.input)
        elif not len(self.stdin):
            self.end_stdin()

    def end_stdin(self):
        if self.input is not None:
            self.unwatch(self.input)
            self.input.close()
            self.input = None

    def kill(self):
        """TERM at first, KILL when the time is over; done when nobody is there any more."""
        if self.kill_deadline is None:
            known = self.signal(signal.SIGTERM) is not None
            self.kill_deadline = time.time() + (GRACE if known else 0)
            return
        if time.time() > self.kill_deadline:
            self.signal(signal.SIGKILL)
        elif self.signal(0) is not False:
            return
        self.kill_deadline = None
        self.kill_wanted = self.kill_at_end = False

    def signal(self, number):
        """Whether there was anybody to get it; None where that is not known."""
        reached = False
        if self.marks is not None and self.marks.pid is not None:
            if self.killer is None:
                self.killer = Killer(self.kill_in_container + [self.marks.pid])
            reached = self.killer.send({0: "0", signal.SIGTERM: "TERM", signal.SIGKILL: "KILL"}[number], GRACE)
            if number != signal.SIGKILL:
                return reached
        try:
            os.killpg(self.process.pid, number)
            return True
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.EPERM):
                return reached
            raise

    def leave(self):
        """Close everything here; a command that runs on keeps a reader for its output and gets the rest of its input."""
        with self.lock:
            os.close(self.wake_reader)
            os.close(self.wake_writer)
            self.wake_writer = None
        if self.killer is not None:
            self.killer.leave()
        if self.input is not None:
            if self.exited_at is None and not self.more_stdin:
                self.hand_over_stdin()
            else:
                self.input.close()
        for pipe in self.outputs:
            hand_over(pipe, None)
            pipe.close()

    def hand_over_stdin(self):
        """Let the command have the rest of its stdin without this Python, which may end with the connection."""
        import tempfile  # takes longer than most commands

        try:
            rest = tempfile.TemporaryFile()
            rest.write(self.stdin.tobytes())
            rest.flush()
            rest.seek(0)
        except (IOError, OSError):
            # a full disk: as long as this Python lives, then
            in_background(self.write_the_rest)
            return
        with rest:
            if not self.script_left:
                hand_over(rest, self.input)
            else:
                for stdout in [pipe for pipe in self.outputs if pipe is self.process.stdout]:
                    begun = self.marks.held[STDOUT].rpartition(b"\n")[2].replace(b"\0", b"")
                    spawn(["/bin/sh", "-c", SEND_AFTER_START, "sh", native(begun)], stdout, self.input, rest)
                    del self.outputs[stdout]
                    stdout.close()
        self.input.close()

    def write_the_rest(self):
        with self.input:
            if self.script_left:
                return
            make_blocking(self.input)
            try:
                while len(self.stdin):
                    self.stdin = self.stdin[retry(os.write, self.input.fileno(), self.stdin[:BLOCK]) :]
            except (IOError, OSError):
                pass  # the command does not want it


# a shell between the client's stdout and its stdin, with the script and the command's stdin as its own stderr
SEND_AFTER_START = """\
while IFS= read -r line; do
  case $1$line in
    *"remoto started "[0-9]*) cat <&2 & exec cat > /dev/null 2>&1 ;;
  esac
  shift $#
done
"""


def make_blocking(pipe):
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)


def hand_over(source, target):
    """Let cat do the reading and writing from now on: it ends with the command, and no Python waits for it."""
    with open(os.devnull, "wb") as devnull:
        spawn(["cat"], source, target or devnull, devnull)


def spawn(argv, stdin, stdout, stderr):
    for pipe in (stdin, stdout):
        make_blocking(pipe)
    options = {"preexec_fn": new_session} if PY2 else {"start_new_session": True}
    try:
        process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, close_fds=True, **options)
    except OSError:
        return  # a machine without cat: what the command writes from now on meets a closed pipe
    in_background(process.wait)


def run(channel, kill, **request):
    def deliver(name, data):
        channel.send((name, data))

    status = Command(channel, kill, deliver, request, MESSAGE).serve()
    if status is not None and not channel.isclosed():
        channel.send((STATUS, status))


def check(channel, kill, **request):
    held = {STDOUT: [], STDERR: []}
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

    status = Command(channel, kill, deliver, request).serve()
    if status is not None and not channel.isclosed():
        channel.send((take(STDOUT), take(STDERR), status))
