"""RUNS ON THE REMOTE SIDE: lets Pythons before 3.7 print any text in any locale."""

from __future__ import absolute_import, unicode_literals

import io
import sys


class Utf8(object):
    """A replacement for Python 2's stdout or stderr, which accept only ASCII text."""

    encoding = "utf-8"

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, data):
        self.stream.write(data if isinstance(data, bytes) else data.encode("utf-8"))

    def writelines(self, lines):
        for line in lines:
            self.write(line)


def replace(stream):
    if sys.version_info[0] == 2:
        return Utf8(stream)
    return io.TextIOWrapper(stream.detach(), "utf-8", "backslashreplace", "\n", stream.line_buffering)


def accept_any_text():
    sys.stdout, sys.stderr = replace(sys.stdout), replace(sys.stderr)
