"""RUNS ON THE REMOTE SIDE, first of all: serves an execnet gateway, and keeps the source of the other modules."""

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
    # Python 2 accepts a coding line only in bytes
    return data if sys.version_info[0] == 2 else data.decode("utf-8")


def set_environment(variables):
    for name, value in variables:
        if sys.version_info[0] == 2:
            os.environ[name.encode("utf-8")] = value.encode("utf-8")
        else:
            # the controller decoded it with surrogateescape: restore its bytes, whatever the locale on this side
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
        """Return the source of a module; wait for it, since calls run in parallel and may overtake the one that adds it."""
        with self.changed:
            deadline = time.time() + 60
            while module not in self.texts and time.time() < deadline:
                self.changed.wait(1)
            return self.texts[module]


SOURCES = Sources()
# the source of execnet.gateway_base, set by the controller
EXECNET = ""


def call(channel, module, function, request):
    """Run ``function`` of another module, which is compiled on first use."""
    # kept in sys.modules: a gateway that execnet itself opened runs this text anew for each call
    loaded = sys.modules.get("remoto_far_" + module)
    if loaded is None:
        loaded = type(sys)(str("remoto_far_" + module))
        loaded.MAIN_THREAD = MAIN_THREAD
        code = compile(SOURCES.get(module), "remoto/remote/" + module + ".py", "exec")
        exec(code, loaded.__dict__)
        # another thread may have loaded it meanwhile: use that one
        loaded = sys.modules.setdefault("remoto_far_" + module, loaded)
    getattr(loaded, function)(channel, **request)


# None in a gateway that execnet itself opened: execnet uses the main thread there
MAIN_THREAD = None


class MainThread(object):
    """Runs one task at a time in the main thread, the only one in which Python sets and runs signal handlers.

    It waits for tasks by reading a pipe: Python 2 runs no handlers while the main thread waits for a lock.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.task = None
        self.is_new = False
        self.ended = False
        self.reader, self.writer = os.pipe()

    def offer(self, task):
        """Have ``task.run()`` called, and ``task.fail(error)`` if it raises. Return False, and do neither, if another task runs."""
        with self.lock:
            if self.task is not None or self.ended:
                return False
            self.task = task
            self.is_new = True
        os.write(self.writer, b".")
        return True

    def release(self, task):
        """Accept the next task. A task calls this when its work is done, before it sends the result."""
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
                    # bytes only wake the thread: if a handler raised, one may have been lost
                    os.read(self.reader, 1024)
            except Exception:
                self.report(sys.exc_info()[1])

    def run(self):
        task = self.task
        try:
            self.is_new = False
            task.run()
        except Exception:
            # raised by a handler that the task had set, after the task had ended
            task.fail(sys.exc_info()[1])
        finally:
            self.release(task)

    def report(self, error):
        """Print what a handler raised between two tasks; it ends neither."""
        os.fstat(self.reader)  # fails if a function has closed all descriptors
        if getattr(error, "errno", None) != errno.EINTR:
            sys.excepthook(*sys.exc_info())


def serve_gateway(io, worker, execnet):
    """Serve a gateway as execnet's ``serve`` does, except that execnet runs whatever comes first in the main thread.

    :param execnet: the namespace of its gateway_base.
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
    """Make SIGTERM and SIGHUP end the commands that are to end with this process, as the end of the connection does.

    A plain handler is enough: the main thread reads a pipe, where Python 2 runs handlers, too. ``signal.set_wakeup_fd`` would
    be faster while a function runs, but a child of fork() writes to the same descriptor.
    """
    process = os.getpid()

    def end(number, frame):
        # a second signal ends the process at once
        signal.signal(number, signal.SIG_DFL)
        for name in ("command", "relay"):
            loaded = sys.modules.get("remoto_far_" + name)
            if loaded is not None and os.getpid() == process:
                loaded.end_all()
        os.kill(os.getpid(), number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def boot(execnet_version, variables, marker, worker):
    # a daemon may have ignored it, and then the exit status of a command would be lost (wait(2))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Ctrl-C at the controller's terminal is not for this process. Not SIG_IGN, which commands would inherit (execve(2))
    signal.signal(signal.SIGINT, lambda *_: None)
    end_commands_first()
    # compiling leaves little garbage; collecting it takes a fifth of the time
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
