"""RUNS ON THE REMOTE SIDE, and here as well: tags and numbers of messages."""

from __future__ import absolute_import, unicode_literals

# what ``run`` of a command sends: its exit status, blocks of output, how many bytes of stdin were written
STATUS, STDOUT, STDERR, TAKEN = range(4)
# ends a command
KILL = "kill"
# the states of a command; ENDED also where another signal or the command itself was quicker; LEFT: it could not be
# killed
RUNNING, TERMINATING, ENDED, LEFT = "running", "terminating", "ended", "left"
# the exit status of the shell in a container that has not received the whole script: nothing was run
NO_SCRIPT = 98
# bytes of output or of files, sent and not acknowledged: more takes more memory, less is slow over a link with a long
# delay
WINDOW = 8 * 1024 * 1024
# bytes that a block of ``run`` counts for besides its data
MESSAGE = 64
