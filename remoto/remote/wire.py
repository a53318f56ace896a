"""RUNS ON BOTH SIDES: tags and numbers of messages, and the directories of programs."""

from __future__ import absolute_import, unicode_literals

# the messages of a command's ``run``: the exit status, blocks of output, the number of bytes written to stdin
STATUS, STDOUT, STDERR, WRITTEN = range(4)
# kills a command
KILL = "kill"
# the states of a command; ENDED even if it exited by itself; LEFT if it could not be killed
RUNNING, TERMINATING, ENDED, LEFT = "running", "terminating", "ended", "left"
# the exit status of the container's shell if it has not received the whole script: nothing was run
NO_SCRIPT = 98
# bytes of output or of files that may be unacknowledged: more needs more memory, less is slow over a link with a long
# delay
WINDOW = 8 * 1024 * 1024
# bytes to count for a block of ``run`` besides its data
MESSAGE = 64
# added to PATH: a command over ssh has no login shell, which would add them
EXTRA_PATH = ("/usr/local/bin", "/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
