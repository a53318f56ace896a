"""RUNS ON THE REMOTE SIDE: start a process without subprocess, whose import takes longer than most commands."""

from __future__ import absolute_import, unicode_literals

import os

from .signals import signal


class Process(object):
    """A process with the members of subprocess.Popen that a command uses."""

    returncode = None

    def __init__(self, pid, stdin, stdout, stderr):
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    def wait(self):
        if self.returncode is not None:
            return
        try:
            status = os.waitpid(self.pid, 0)[1]
        except OSError:
            status = 0  # a function has waited for all children: subprocess reports 0, too
        self.returncode = os.waitstatus_to_exitcode(status)


def spawn(argv, env, has_stdin):
    """Start a process in its own session, with pipes. Return None to leave it, or the error, to subprocess.

    :param has_stdin: False for /dev/null.
    """
    fds = []  # type: list
    try:
        # first on Pythons before 3.9, which lack it
        if not hasattr(os, "waitstatus_to_exitcode") or has_inheritable():
            return None
        while len(fds) < (6 if has_stdin else 4):
            fds += os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, fds[1], 1), (os.POSIX_SPAWN_DUP2, fds[3], 2)]  # type: list
        if has_stdin:
            actions.append((os.POSIX_SPAWN_DUP2, fds[4], 0))
        else:
            actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
        # Python ignores these signals
        signals = [signal.SIGPIPE, signal.SIGXFSZ]
        path = find_program(argv[0], env)
        pid = os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigdef=signals)
    except (OSError, ValueError, NotImplementedError, StopIteration):
        for fd in fds:
            os.close(fd)
        return None
    for fd in [fds[1], fds[3]] + fds[4:5]:
        os.close(fd)
    stdin = open(fds[5], "wb", 0) if has_stdin else None
    return Process(pid, stdin, open(fds[0], "rb", 0), open(fds[2], "rb", 0))


def has_inheritable():
    """Return True if a process would inherit a descriptor, which only subprocess closes.

    Python makes no inheritable ones, but a function, or a library written in C, may (PEP 446).
    """
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if fd > 2 and os.get_inheritable(fd):
                return True
        except OSError:
            pass  # that of listdir() itself
    return False


def find_program(name, env):
    """Return the path of a program, like execvp(3) with the PATH of ``env``.

    :raises StopIteration: there is none.
    """
    if "/" in name:
        return name
    paths = [os.path.join(directory, name) for directory in os.get_exec_path(env)]
    return next(path for path in paths if os.access(path, os.X_OK))
