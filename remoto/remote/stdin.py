"""RUNS ON THE REMOTE SIDE: the stdin of a command."""

from __future__ import absolute_import, unicode_literals

import errno
import os

from .pipes import make_blocking, retry
from .process import copy_by_cat, in_background

STDIN_BLOCK = 256 * 1024


class Stdin(object):
    """The stdin of a command.

    :param pipe: the stdin of the process; None if that is /dev/null.
    :param script: the script for the container's shell, which reads it before the command reads the rest.
    :param data: the command's stdin; True if it follows in blocks.
    """

    def __init__(self, pipe, script, data):
        self.pipe = pipe
        self.more = data is True
        self.unsent = memoryview(script if self.more else script + (data or b""))
        self.script_left = len(script)
        self.blocks = []  # type: list

    def add(self, block):
        """Add a block of the command's stdin, an empty one for EOF. Called by another thread."""
        self.blocks.append(block)

    def is_waiting(self):
        """Return True if there is something to write, or stdin is to be closed."""
        if self.pipe is None:
            return False
        if not len(self.unsent) and self.blocks:
            self.unsent = memoryview(self.blocks.pop(0))
            self.more = len(self.unsent) > 0
        return len(self.unsent) > 0 or not self.more

    def write(self):
        """Write as much as the pipe accepts, and close it at the end.

        Return the number of bytes written of the command's stdin.
        """
        try:
            written = retry(os.write, self.pipe.fileno(), self.unsent[:STDIN_BLOCK]) or 0
        except (IOError, OSError) as error:
            if error.errno != errno.EPIPE:
                raise
            # the command has closed its stdin
            written = 0
            self.unsent = self.unsent[:0]
            self.more = False
        self.unsent = self.unsent[written:]
        of_script = min(written, self.script_left)
        self.script_left -= of_script
        if not len(self.unsent) and not self.more:
            self.close()
        return written - of_script

    def close(self):
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None

    def detach(self):
        """Leave the rest to another process, since this Python may exit with the connection."""
        try:
            rest = self.as_file()
        except (IOError, OSError):
            # no space left for a file: write as long as this Python runs
            in_background(self.write_rest)
            return
        with rest:
            copy_by_cat(rest, self.pipe)
        self.close()

    def as_file(self):
        import tempfile  # takes longer than most commands

        rest = tempfile.TemporaryFile()
        try:
            rest.write(self.unsent.tobytes())
            rest.flush()
        except BaseException:
            rest.close()
            raise
        rest.seek(0)
        return rest

    def write_rest(self):
        make_blocking(self.pipe)
        while self.pipe is not None:
            self.write()
