"""RUNS ON THE REMOTE SIDE, and here as well: the end of a transfer that sends."""

import errno
import hashlib
import os
import stat
import struct

# on the remote side the files of a module are one text
if __package__:
    from .records import *
    from .sources import *


class Sender(object):
    """Sends a file, a folder with all that is in it, or what can be read from a stream.

    :param source: a path as bytes, or an object with ``read``.
    :param accept: called with the path of each thing in a folder; False leaves it out.
    :param report: called with the path, below the source, of each file that is about to be sent.
    :param progress: called with the number of bytes sent, and of those to be sent: None where that is not known.
    :param size: of a stream, for ``progress``; None where it is not known.
    :ivar copied: the number of files sent.
    :ivar unchanged: the number of files that are the same on the other end already.
    """

    def __init__(self, records, source, accept=None, report=None, progress=None, size=None):
        self.records = records
        self.source = source
        self.accept = accept
        self.report = report
        self.progress = progress
        self.size = size
        self.paths = []  # of each entry; None where there is nothing to read
        self.sizes = []
        self.root_length = 0
        self.wanted = []
        self.listed = False
        self.compared = False
        self.finished = False
        self.done = False
        self.failures = []
        self.copied = 0
        self.unchanged = 0
        self.sent = 0
        self.total = 0
        self.has_total = True

    def run(self):
        """Send it all; a Failure for what ends the transfer, while ``failures`` has what was left out."""
        try:
            self.send()
        except Gone:
            while True:
                self.hear()  # it may have said why

    def send(self):
        if hasattr(self.source, "read"):
            self.entry(NO_PARENT, STREAM, NO_MODE, 0, NO_SIZE, b"", b"", None)
        else:
            self.scan()
        self.records.write(LISTED)
        self.records.flush()
        self.listed = True
        while not self.compared:
            self.hear()
        self.total = sum(self.sizes[index] for index in self.wanted if self.sizes[index] != NO_SIZE)
        self.tell()
        for index in self.wanted:
            self.send_file(index)
        self.records.write(FINISH, b"" if self.failures else b"complete")
        self.records.flush()
        self.finished = True
        while not self.done:
            self.hear()
        self.total = self.sent
        self.tell()

    # listing

    def scan(self):
        scan = Scan(self.source, self.accept)
        for found in scan.entries():
            if isinstance(found, Failure):
                self.leave_out(found)
            else:
                self.entry(*found)
        self.root_length = scan.root_length

    def entry(self, parent, kind, mode, mtime, size, name, target, path):
        self.records.write(ENTRY, ENTRY_HEAD.pack(parent, kind, mode, mtime, size, len(name)) + name + target)
        self.paths.append(path)
        self.sizes.append(size)
        self.flow()

    def leave_out(self, failure):
        """Go on without something: the receiver and the caller are told, and nothing is deleted for its absence."""
        self.failures.append(failure)
        self.records.write(SKIP, failure.pack())
        self.flow()

    # sending

    def send_file(self, index):
        path = self.paths[index]
        try:
            if path is None:
                self.send_stream(index)
            else:
                opened = reading(path, open_to_read, path)
                try:
                    self.send_open_file(index, opened.fileno(), path)
                finally:
                    opened.close()
        except Unreadable as failure:
            self.leave_out(failure)

    def send_open_file(self, index, fd, path):
        before = reading(path, os.fstat, fd)
        if not stat.S_ISREG(before.st_mode):
            raise Unreadable(path, errno.EINVAL, "is no longer a file")
        block = first_block(path, fd)
        size = true_size(path, fd, before, len(block))
        self.total -= self.sizes[index]
        if self.report is not None:
            self.report(path[self.root_length :])
        self.begin(index, stat.S_IMODE(before.st_mode), times(before), size)
        digest = hashlib.sha256()
        if size == NO_SIZE:
            self.send_rest(digest, block, lambda: reading(path, os.read, fd, BLOCK), None)
            return
        self.total += size
        unread = size
        while block:
            unread -= len(block)
            self.send_block(block, digest)
            block = reading(path, os.read, fd, min(unread, BLOCK))
        require_unchanged(path, fd, before)
        if unread:
            raise Unreadable(path, errno.EBUSY, CHANGED)
        self.end(digest)

    def send_stream(self, index):
        self.begin(index, NO_MODE, 0, NO_SIZE)
        self.send_rest(hashlib.sha256(), next_block(self.source), lambda: next_block(self.source), self.size)

    def send_rest(self, digest, block, read, size):
        """Send all that is read. ``size`` is how much that should be, None where it is not known."""
        start, others = self.sent, self.total
        self.has_total = size is not None
        self.total += size or 0
        while block:
            self.send_block(block, digest)
            block = read()
        self.total = others + self.sent - start
        self.has_total = True
        self.end(digest)

    def end(self, digest):
        self.records.write(END, digest.digest())
        self.copied += 1

    def begin(self, index, mode, mtime, size):
        self.has_total = True
        self.records.write(BEGIN, FILE_HEAD.pack(index, mode, mtime, size))

    def send_block(self, block, digest):
        digest.update(block)
        self.records.write(DATA, block)
        self.sent += len(block)
        self.flow()

    def flow(self):
        """Send what is enough for a message, once the receiver has dealt with what went before."""
        if self.records.size < BLOCK:
            return
        while self.records.unacknowledged > WINDOW:
            self.hear()
        self.records.flush()
        if self.compared:
            self.tell()

    def tell(self):
        total = max(self.total, self.sent)
        # of nothing there is no percentage
        if self.progress is not None and total:
            self.progress(self.sent, total if self.has_total else None)

    def hear(self):
        kind, data = self.records.read()
        try:
            if kind == ACKNOWLEDGED:
                self.acknowledged(*COUNT.unpack(data))
            elif kind == WANTED and not self.compared:
                self.want(struct.unpack("!%dI" % (len(data) // 4), data))
            elif kind == COMPARED and self.listed and not self.compared:
                self.compare(*COUNT.unpack(data))
            elif kind == DONE and self.finished:
                self.done = True
            elif kind == FAILED:
                raise TheirFailure.unpack(data)
            else:
                raise ValueError("an unexpected record of kind %d" % kind)
        except MALFORMED as error:
            raise malformed(error)

    def compare(self, unchanged):
        if unchanged > max(0, sum(path is not None for path in self.paths) - len(self.wanted)):
            raise ValueError("more files are unchanged than were offered")
        self.unchanged = unchanged
        self.compared = True

    def acknowledged(self, count):
        if count > self.records.unacknowledged:
            raise ValueError("more was acknowledged than was sent")
        self.records.unacknowledged -= count

    def want(self, indexes):
        last = self.wanted[-1] if self.wanted else -1
        for index in indexes:
            # in the order in which they were listed: so none is asked for twice
            if index <= last or (self.paths[index] is None and isinstance(self.source, bytes)):
                raise ValueError("a file was asked for that was not offered, or twice")
            last = index
        self.wanted.extend(indexes)
