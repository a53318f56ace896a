"""RUNS ON THE REMOTE SIDE: start a process, or leave it running."""

from __future__ import absolute_import, unicode_literals

import os
import sys
import threading

from .pipes import WakePipe, make_blocking
from .signals import signal
from .spawn import spawn
from .wire import EXTRA_PATH

PY2 = sys.version_info[0] == 2


def native(data):
    """Decode bytes from the controller for this Python's subprocess, in any locale."""
    return data if PY2 else os.fsdecode(data)


def encoded(text):
    return text if PY2 else os.fsencode(text)


def environment(given, extra):
    """Return a command's environment.

    It is ``env``, or this process's environment with the usual program directories added to PATH.
    """
    if given is not None:
        result = dict(given)
    else:
        result = dict(os.environ if PY2 else os.environb)
        path = [directory for directory in result.get(b"PATH", b"").split(b":") if directory]
        extension = [directory.encode("ascii") for directory in EXTRA_PATH]
        result[b"PATH"] = b":".join(path + [directory for directory in extension if directory not in path])
    result.update(extra or {})
    return result


def new_session():
    os.setsid()
    # Python 2 ignores SIGPIPE, and children inherit that: `yes | head` would never end
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


# signals to this process group must not reach the command, and the command must not read from a terminal
OWN_SESSION = {"preexec_fn": new_session} if PY2 else {"start_new_session": True}  # type: dict


def needs_sudo(sudo):
    return sudo and os.getuid() != 0


def start(args, sudo=False, stdin=None, env=None, extend_env=None, popen=()):
    """Start a command in its own session, with pipes.

    :param stdin: None for /dev/null; anything else for a pipe.
    """
    args = [native(argument) for argument in args] if isinstance(args, (list, tuple)) else native(args)
    options = dict((name, native(value) if isinstance(value, bytes) else value) for name, value in dict(popen).items())
    if needs_sudo(sudo):
        if options.pop("shell", False):
            args = ["/bin/sh", "-c", args] if not isinstance(args, list) else ["/bin/sh", "-c"] + args
        args = ["sudo"] + (args if isinstance(args, list) else [args])
    env = environment(env, extend_env)
    process = None if options else spawn(args if isinstance(args, list) else [args], env, stdin is not None)
    return process or start_by_subprocess(args, stdin, env, options)


def start_by_subprocess(args, stdin, env, options):
    import subprocess

    options.setdefault("close_fds", True)
    for name in OWN_SESSION:
        options.setdefault(name, OWN_SESSION[name])
    devnull = None
    if stdin is None:
        devnull = open(os.devnull, "rb")
    try:
        return subprocess.Popen(
            args,
            stdin=devnull or subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            bufsize=0,
            **options
        )
    finally:
        if devnull is not None:
            devnull.close()


def exit_watch(process):
    """Return a file to poll, which is readable once the process has exited."""
    try:
        return os.fdopen(os.pidfd_open(process.pid), "rb", 0)
    except (AttributeError, OSError):
        # before Python 3.9 or Linux 5.3
        pipe = WakePipe()
        try:
            in_background(lambda: (process.wait(), pipe.wake()))
        except Exception:
            pipe.close()
            raise
        return pipe


def in_background(function):
    thread = threading.Thread(target=function)
    thread.daemon = True
    thread.start()


def copy_by_cat(source, target):
    """Start cat to copy, since this Python may exit before the command. Without target, discard the data."""
    with open(os.devnull, "wb") as devnull:
        start_detached(["cat"], source, target or devnull, devnull)


def start_detached(argv, stdin, stdout, stderr):
    """Start a process that uses the pipes of a command and outlives this Python."""
    import subprocess

    for pipe in (stdin, stdout):
        make_blocking(pipe)
    try:
        process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, close_fds=True, **OWN_SESSION)
    except OSError:
        return  # without cat, the command gets SIGPIPE at its next write
    in_background(process.wait)
