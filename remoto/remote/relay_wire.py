"""RUNS ON BOTH SIDES: the messages between the controller and a relay.

Each message is a pair. The controller sends (STDIN, data), empty for EOF; (STDOUT or STDERR, size), to acknowledge so
many bytes; and (KILL, 0). It receives (STDOUT or STDERR, data), empty for EOF; (STDIN, size), when so many bytes were
written; and then (EXITED, status); or only (FAILED, errno) if the process could not be started.
"""

from __future__ import absolute_import, unicode_literals

STDIN, STDOUT, STDERR, KILL, EXITED, FAILED = range(6)
# bytes that may be unacknowledged; each message counts its data and MESSAGE bytes
WINDOWS = {STDOUT: 1024 * 1024, STDERR: 64 * 1024}
MESSAGE = 64
