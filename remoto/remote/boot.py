"""RUNS ON THE REMOTE SIDE: serves an execnet gateway."""

from __future__ import absolute_import, unicode_literals

import gc
import os
import sys

from .main_thread import MAIN_THREAD
from .signals import signal
from .worker import IO, Pool, standard_io


def set_environment(variables):
    for name, value in variables:
        if sys.version_info[0] == 2:
            os.environ[name.encode("utf-8")] = value.encode("utf-8")
        else:
            # the controller decoded it with surrogateescape: restore its bytes in any locale
            os.environb[name.encode("utf-8", "surrogateescape")] = value.encode("utf-8", "surrogateescape")


def serve_gateway(io, worker, execnet):
    """Serve a gateway like execnet's ``serve``, except that execnet would run the first task in the main thread.

    :param execnet: the namespace of execnet's gateway_base.
    """
    MAIN_THREAD.start()
    gateway = execnet["WorkerGateway"](io=io, id=worker, _startcount=2)
    gateway._trace = lambda *_: None
    gateway._execpool = Pool(io.execmodel)
    gateway._executetask_complete = None  # since execnet 2.1.1

    def receive():
        try:
            gateway._thread_receiver()
        finally:
            MAIN_THREAD.end()

    io.execmodel.start(receive, ())
    MAIN_THREAD.serve()


def kill_commands_first():
    """Make SIGTERM and SIGHUP kill the commands with ``kill``, as the end of the connection does.

    The main thread, which runs handlers, reads a pipe to which Python writes at each signal (``main_thread.py``).
    """
    process = os.getpid()

    def end(number, frame):
        # a second signal kills the process at once
        signal.signal(number, signal.SIG_DFL)
        for name in ("command", "relay"):
            loaded = sys.modules.get("remoto_remote." + name)
            if loaded is not None and os.getpid() == process:
                loaded.kill_all()
        os.kill(os.getpid(), number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def boot(execnet_source, execnet_version, variables, marker, worker):
    # this process may have inherited SIG_IGN from a daemon; then the exit status of a command would be lost (wait(2))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # ignore Ctrl-C at the controller's terminal; not by SIG_IGN, which commands would inherit (execve(2))
    signal.signal(signal.SIGINT, lambda *_: None)
    kill_commands_first()
    # compiling leaves little garbage, but collecting it takes a fifth of the time
    gc.disable()
    set_environment(variables)
    main = sys.modules["__main__"].__dict__
    main["WorkerPool"] = Pool
    main["Popen2IO"] = IO
    try:
        exec(compile(execnet_source, "execnet/gateway_base.py", "exec"), main)
    except Exception:
        found = ".".join(str(number) for number in sys.version_info[:3])
        problem = sys.exc_info()[1]
        sys.stderr.write("remoto: Python %s cannot run execnet %s: %s\n" % (found, execnet_version, problem))
        sys.exit(1)
    gc.enable()
    if hasattr(gc, "freeze"):  # since Python 3.7
        gc.freeze()  # so that the collections at exit skip the objects that live until then
    io = standard_io()
    uid = os.getuid() if hasattr(os, "getuid") else -1
    io.write(("%s %d\n" % (marker, uid)).encode("ascii"))
    serve_gateway(io, worker, main)
