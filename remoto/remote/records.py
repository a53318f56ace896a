"""RUNS ON BOTH SIDES: the records of a file transfer."""

from __future__ import absolute_import, unicode_literals

import errno
import os
import struct
import sys

PY2 = sys.version_info[0] == 2
BLOCK = 256 * 1024
ACKNOWLEDGE = 1024 * 1024
# nanoseconds: Python 2 sets times to the microsecond
SAME_TIME = 2000

HEAD = struct.Struct("!BI")
ENTRY_HEAD = struct.Struct("!IBHqQH")
FILE_HEAD = struct.Struct("!IHqQ")
FAILURE_HEAD = struct.Struct("!iI")
COUNT = struct.Struct("!I")

ENTRY, LISTED, BEGIN, DATA, END, SKIP, FINISH = range(1, 8)
WANTED, COMPARED, ACKNOWLEDGED, DONE, FAILED = range(11, 16)
FILE, DIRECTORY, LINK, STREAM = range(1, 5)
NO_PARENT = 0xFFFFFFFF
# the mode and size of a stream, where they are unknown
NO_MODE = 0xFFFF
NO_SIZE = 0xFFFFFFFFFFFFFFFF
ALL_BITS = 0o7777
# all bits except set-id and sticky bits
PERMISSIONS = 0o777
# limit for the bytes of SKIP records, which the receiver keeps until the end
MOST_SKIPPED = 16 * 1024 * 1024
# prefix of temporary names; delete=True does not remove them, since another transfer may be using them
TEMPORARY = b".remoto-"
# largest timestamp that a signed 64-bit nanosecond field holds (year 2262)
LAST_TIME = 2**63 - 1
CHANGED = "changed while it was sent"
NOT_COPIED = "not a regular file, directory or symbolic link"
# errors raised by malformed records
MALFORMED = (ValueError, OverflowError, struct.error, AttributeError, IndexError)


class Failure(Exception):
    """A path could not be sent or received."""

    def __init__(self, path, code, text):
        Exception.__init__(self, path, code, text)
        self.path = path
        self.code = code
        self.text = text

    @classmethod
    def of(cls, path, error):
        return cls(path, error.errno or 0, (error.strerror or str(error)))

    def pack(self):
        return FAILURE_HEAD.pack(self.code, len(self.path)) + self.path + self.text.encode("utf-8", "replace")

    @classmethod
    def unpack(cls, data):
        code, length = FAILURE_HEAD.unpack_from(data)
        path, text = split_at(data[FAILURE_HEAD.size :], length)
        return cls(path, code, text.decode("utf-8", "replace"))


class PeerFailure(Failure):
    """A failure reported by the peer."""


class Unreadable(Failure):
    """A file in the source can't be read, and is skipped."""


class ChannelClosed(Exception):
    """The peer has closed the channel."""


def malformed(error):
    return Failure(b"", 0, "malformed answer: %s" % (error,))


def split_at(data, length):
    """Return the first ``length`` bytes and the rest.

    :raises ValueError: there are fewer bytes.
    """
    if length > len(data):
        raise ValueError("truncated record")
    return data[:length], data[length:]


def shown(path):
    # Python 2 can't decode with backslashreplace
    return path.decode("utf-8", "replace" if PY2 else "backslashreplace")


def packed(kind, data):
    return HEAD.pack(kind, len(data)) + data


class Records(object):
    """Records over execnet's channel. A sender waits while more than ``wire.WINDOW`` bytes are unacknowledged.

    :cvar block_size: the bytes of a large file, or of small records, in a message.
    """

    block_size = BLOCK

    def __init__(self, channel, timeout=None):
        self.channel = channel
        self.timeout = timeout
        self.parts = []
        self.size = 0
        self.unacknowledged = 0
        self.handled = 0
        self.message = b""
        self.offset = 0
        self.memory = None

    def write(self, kind, data=b""):
        self.parts.append(HEAD.pack(kind, len(data)))
        self.parts.append(data)
        self.size += HEAD.size + len(data)

    def append(self, records):
        """Write packed records."""
        self.parts.append(records)
        self.size += len(records)

    def flush(self):
        if not self.parts:
            return
        parts, self.parts = self.parts, []
        self.unacknowledged += self.size
        self.size = 0
        try:
            self.send(parts)
        except (IOError, OSError):
            raise ChannelClosed

    def send(self, parts):
        self.channel.send(b"".join(parts))

    def block(self, file, size):
        """Return up to ``size`` bytes of an open file, perhaps in memory that is reused after the next flush."""
        # new memory costs as much as copying, so a whole block, which is sent at once, is read into the same memory
        if PY2 or size < self.block_size:
            found = data = file.read(size)
        else:
            if self.memory is None:
                self.memory = memoryview(bytearray(size))
            found = file.readinto(self.memory)
            data = self.memory if found == size else bytes(self.memory[:found])
        if found is None:  # the file is not ready: it was opened with O_NONBLOCK
            raise IOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return data

    def read(self):
        """Return the kind and the data of the next record."""
        while self.offset >= len(self.message):
            self.acknowledge()
            try:
                message = self.channel.receive(self.timeout)
            except EOFError:
                raise ChannelClosed
            try:
                # Python 3 receives bytes from Python 2 as text, a character for each byte
                self.message = message if isinstance(message, bytes) else message.encode("latin-1")
            except MALFORMED as error:
                raise malformed(error)
            self.offset = 0
        try:
            kind, length = HEAD.unpack_from(self.message, self.offset)
        except struct.error as error:
            raise malformed(error)
        start = self.offset + HEAD.size
        self.offset = start + length
        if self.offset > len(self.message):
            raise malformed("truncated record")
        # a block of a file is not copied
        message = memoryview(self.message) if kind == DATA else self.message
        return kind, message[start : self.offset]

    def acknowledge(self):
        self.handled += len(self.message)
        self.message = b""
        if self.handled >= ACKNOWLEDGE:
            self.write(ACKNOWLEDGED, COUNT.pack(self.handled))
            self.handled = 0
            self.flush()


def known(size):
    return 0 if size == NO_SIZE else size


def times(status):
    """Return a file's modification time in nanoseconds, within the range of a record."""
    time = int(round(status.st_mtime * 1e6)) * 1000 if PY2 else status.st_mtime_ns
    return max(-LAST_TIME, min(time, LAST_TIME))


def set_times(path, nanoseconds):
    if PY2:
        os.utime(path, (nanoseconds / 1e9, nanoseconds / 1e9))
    else:
        os.utime(path, ns=(nanoseconds, nanoseconds))
