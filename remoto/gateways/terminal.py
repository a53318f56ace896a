"""Keep Ctrl-C at a terminal from the processes of connections, such as ssh, but let a hangup reach them."""

from __future__ import annotations

import errno
import os
import signal
import sys

from ..lazy import importing

# A shell can't reset a signal that was ignored when it started (POSIX, trap), so Python does it. Python itself ignores
# two more signals and may set LC_CTYPE, which must not be inherited
_WITH_HANGUP = """\
import os, signal, sys
for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
if sys.argv[1] == "unset":
    os.environ.pop("LC_CTYPE", None)
os.execvp(sys.argv[2], sys.argv[2:])"""


def with_signals(argv: list[str], own_session: bool) -> list[str]:
    """Return a command that starts ``argv`` with the right signals ignored.

    At a terminal, Ctrl-C is for this program, which decides what to do with its connections: start ssh with SIGINT
    ignored, which it then stays. In its own session, ssh needs SIGHUP to end its ProxyCommand, but under nohup(1), this
    program and its children ignore SIGHUP: reset it.
    """
    if not own_session:
        launcher = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    elif signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and sys.executable:
        variable = "set" if "LC_CTYPE" in os.environ else "unset"
        launcher = [sys.executable, "-I", "-S", "-c", _WITH_HANGUP, variable]
    else:
        return argv
    with importing:
        import shutil

    if not shutil.which(argv[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    return [*launcher, *argv]


def has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
