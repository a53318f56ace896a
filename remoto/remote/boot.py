"""RUNS ON THE REMOTE SIDE, first of all: serves a gateway by execnet, and keeps the source of the other modules."""

import errno
import gc
import os
import signal
import sys
import threading
import time


def unpack(text):
    import binascii
    import zlib

    data = zlib.decompress(binascii.a2b_base64(text))
    # Python 2 takes a coding line in bytes only
    return data if sys.version_info[0] == 2 else data.decode("utf-8")


def set_environment(variables):
    for name, value in variables:
        if sys.version_info[0] == 2:
            os.environ[name.encode("utf-8")] = value.encode("utf-8")
        else:
            # the text was decoded with surrogateescape: this gives back its bytes, whatever the locale is here
            os.environb[name.encode("utf-8", "surrogateescape")] = value.encode("utf-8", "surrogateescape")


class Sources(object):
    """The source of the other modules. The controller adds each before the first call that needs it."""

    def __init__(self):
        self.texts = {}
        self.changed = threading.Condition()

    def add(self, module, text):
        with self.changed:
            self.texts[module] = text
            self.changed.notify_all()

    def get(self, module):
        """Return a source. Calls run at the same time: one that came later may be here before the source has been added."""
        with self.changed:
            deadline = time.time() + 60
            while module not in self.texts and time.time() < deadline:
                self.changed.wait(1)
            return self.texts[module]


SOURCES = Sources()
# execnet.gateway_base, which the controller adds
EXECNET = ""


def call(channel, module, function, request):
    """Run ``function`` of one of the other modules; each is compiled when it is first used."""
    # not in a variable here: a gateway of execnet's own runs this text anew for each call
    loaded = sys.modules.get("remoto_far_" + module)
    if loaded is None:
        loaded = type(sys)(str("remoto_far_" + module))
        loaded.MAIN_THREAD = MAIN_THREAD
        code = compile(SOURCES.get(module), "remoto/remote/" + module + ".py", "exec")
        exec(code, loaded.__dict__)
        # another thread may have been as quick: then its module counts
        loaded = sys.modules.setdefault("remoto_far_" + module, loaded)
    getattr(loaded, function)(channel, **request)


# None in a gateway that execnet has opened: there the main thread is execnet's
MAIN_THREAD = None


class MainThread(object):
    """Runs one task at a time in the main thread, the only one in which Python sets and runs signal handlers.

    It waits for one at a pipe: Python 2 runs no handler while the main thread waits for a lock.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.task = None
        self.is_new = False
        self.ended = False
        self.reader, self.writer = os.pipe()

    def offer(self, task):
        """Return False if another task is running; else have ``task.run()`` called, then ``task.fail(error)`` if that raises."""
        with self.lock:
            if self.task is not None or self.ended:
                return False
            self.task = task
            self.is_new = True
        os.write(self.writer, b".")
        return True

    def release(self, task):
        """Take the next task from now on. A task that has done its work calls this before it reports the result."""
        if self.task is task:
            self.task = None

    def end(self):
        self.ended = True
        os.write(self.writer, b".")

    def serve(self):
        """Run tasks until the end."""
        while True:
            try:
                if self.is_new:
                    self.run()
                elif self.ended:
                    return
                else:
                    # a byte only wakes: a handler that raises may have lost one
                    os.read(self.reader, 1024)
            except Exception:
                self.report(sys.exc_info()[1])

    def run(self):
        task = self.task
        try:
            self.is_new = False
            task.run()
        except Exception:
            # a handler of the task's own has come too late for it
            task.fail(sys.exc_info()[1])
        finally:
            self.release(task)

    def report(self, error):
        """What a handler has raised between two tasks ends none of them."""
        os.fstat(self.reader)  # closed by a function that closes all: an error
        if getattr(error, "errno", None) != errno.EINTR:
            sys.excepthook(*sys.exc_info())


def serve_gateway(io, worker, execnet):
    """As execnet's own ``serve``, but for the main thread, which execnet gives to whatever comes first.

    :param execnet: the names of its gateway_base.
    """
    global MAIN_THREAD
    MAIN_THREAD = MainThread()
    gateway = execnet["WorkerGateway"](io=io, id=worker, _startcount=2)
    gateway._execpool = execnet["WorkerPool"](io.execmodel)
    gateway._executetask_complete = None  # since execnet 2.1.1

    def receive():
        try:
            gateway._thread_receiver()
        finally:
            MAIN_THREAD.end()

    io.execmodel.start(receive)
    MAIN_THREAD.serve()


def end_commands_first():
    """Let SIGTERM and SIGHUP end the commands that are to end with this process, as the end of the connection does.

    A plain handler: the main thread waits at a pipe, where Python 2 runs it, too. ``signal.set_wakeup_fd`` would be quicker
    in the middle of a function, but a child of fork() writes to the same descriptor.
    """
    process = os.getpid()

    def end(number, frame):
        # a second one ends it at once
        signal.signal(number, signal.SIG_DFL)
        commands = sys.modules.get("remoto_far_command")
        if commands is not None and os.getpid() == process:
            commands.end_all()
        os.kill(os.getpid(), number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def boot(execnet_version, variables, marker, worker):
    # as a daemon may have left it: then a command's exit status would be lost
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Ctrl-C at the controller's terminal is not for this process. A handler, since what is ignored is so in commands, too
    signal.signal(signal.SIGINT, lambda *_: None)
    end_commands_first()
    # compiling makes no garbage worth looking for: a fifth of the time
    gc.disable()
    set_environment(variables)
    main = sys.modules["__main__"].__dict__
    try:
        exec(compile(EXECNET, "execnet/gateway_base.py", "exec"), main)
    except Exception:
        found = ".".join(str(number) for number in sys.version_info[:3])
        problem = sys.exc_info()[1]
        sys.stderr.write("remoto: Python %s cannot run execnet %s: %s\n" % (found, execnet_version, problem))
        sys.exit(1)
    gc.enable()
    io = main["init_popen_io"](main["get_execmodel"]("thread"))
    uid = os.getuid() if hasattr(os, "getuid") else -1
    io.write(("%s %d\n" % (marker, uid)).encode("ascii"))
    serve_gateway(io, worker, main)
