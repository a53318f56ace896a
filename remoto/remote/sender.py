"""RUNS ON BOTH SIDES: the sender of a transfer."""

from __future__ import absolute_import, unicode_literals

import errno
import os
import stat
import struct

from .digest import Digest
from .records import (
    ACKNOWLEDGED,
    BEGIN,
    BLOCK,
    CHANGED,
    COMPARED,
    COUNT,
    DATA,
    DONE,
    END,
    ENTRY,
    ENTRY_HEAD,
    FAILED,
    FILE_HEAD,
    FINISH,
    LISTED,
    MALFORMED,
    NO_MODE,
    NO_PARENT,
    NO_SIZE,
    SKIP,
    STREAM,
    WANTED,
    ChannelClosed,
    PeerFailure,
    Unreadable,
    malformed,
    times,
)
from .sources import Scan, first_block, next_block, open_to_read, reading, require_unchanged, true_size
from .wire import WINDOW


class Sender(object):
    """Send a file, a directory and everything in it, or a stream.

    :param source: a path as bytes, or an object with ``read``.
    :param report: called with the path, below the source, of each file before it is sent.
    :param progress: called with the number of bytes sent, and the total; None while the total is unknown.
    :param size: the size of the stream, for ``progress``; None if unknown.
    :param listing: a Scan of the source, or an object with its ``pages`` and ``root_length``; a new Scan by default.
    :ivar copied: the number of files sent.
    :ivar unchanged: the number of files not sent, since the receiver has the same.
    """

    def __init__(self, records, source, report=None, progress=None, size=None, listing=None):
        self.records = records
        self.source = source
        self.listing = Scan(source) if listing is None else listing
        self.report = report
        self.progress = progress
        self.size = size
        self.paths = []  # the path of each entry; None if it has no contents
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
        """Send everything. ``failures`` lists the skipped files.

        :raises Failure: the transfer failed.
        :raises ChannelClosed: the peer closed the channel without a reason.
        """
        try:
            self.send()
        except ChannelClosed:
            while True:
                self.receive()  # the reason may be among the records received

    def send(self):
        if hasattr(self.source, "read"):
            self.records.write(ENTRY, ENTRY_HEAD.pack(NO_PARENT, STREAM, NO_MODE, 0, NO_SIZE, 0))
            self.paths.append(None)
            self.sizes.append(NO_SIZE)
        else:
            self.send_listing()
        self.records.write(LISTED)
        self.records.flush()
        self.listed = True
        while not self.compared:
            self.receive()
        self.total = sum(self.sizes[index] for index in self.wanted if self.sizes[index] != NO_SIZE)
        self.report_progress()
        for index in self.wanted:
            self.send_file(index)
        self.records.write(FINISH, b"" if self.failures else b"complete")
        self.records.flush()
        self.finished = True
        while not self.done:
            self.receive()
        self.total = self.sent
        self.report_progress()

    def send_listing(self):
        for page in self.listing.pages():
            self.records.append(page.records)
            self.paths.extend(page.paths)
            self.sizes.extend(page.sizes)
            self.failures.extend(page.failures)
            self.flow()
        self.root_length = self.listing.root_length

    def skip(self, failure):
        """Report an unreadable file, and go on. The receiver then deletes nothing."""
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
                    self.send_open_file(index, opened, path)
                finally:
                    opened.close()
        except Unreadable as failure:
            self.skip(failure)

    def send_open_file(self, index, opened, path):
        fd = opened.fileno()
        before = reading(path, os.fstat, fd)
        if not stat.S_ISREG(before.st_mode):
            raise Unreadable(path, errno.EINVAL, "is no longer a regular file")
        block = first_block(path, fd)
        size = true_size(path, fd, before, len(block))
        self.total -= self.sizes[index]
        if self.report is not None:
            self.report(path[self.root_length :])
        self.begin(index, stat.S_IMODE(before.st_mode), times(before), size)
        digest = Digest()
        if size == NO_SIZE:
            self.send_rest(digest, block, lambda: reading(path, os.read, fd, BLOCK), None)
            return
        self.total += size
        unread = size
        while block:
            unread -= len(block)
            self.send_block(block, digest)
            block = reading(path, self.records.block, opened, min(unread, self.records.block_size))
        require_unchanged(path, fd, before)
        if unread:
            raise Unreadable(path, errno.EBUSY, CHANGED)
        self.end(digest)

    def send_stream(self, index):
        self.begin(index, NO_MODE, 0, NO_SIZE)
        self.send_rest(Digest(), next_block(self.source), lambda: next_block(self.source), self.size)

    def send_rest(self, digest, block, read, size):
        """Send blocks until the end of the stream. ``size`` is the expected number of bytes; None if unknown."""
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
        self.records.write(END, digest.value())
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
        """Send a message once it is large enough and the receiver has acknowledged enough of the earlier ones."""
        if self.records.size < self.records.block_size:
            return
        while self.records.unacknowledged > WINDOW:
            self.receive()
        self.records.flush()
        if self.compared:
            self.report_progress()

    def report_progress(self):
        total = max(self.total, self.sent)
        # an empty transfer has no percentage
        if self.progress is not None and total:
            self.progress(self.sent, total if self.has_total else None)

    def receive(self):
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
                raise PeerFailure.unpack(data)
            else:
                raise ValueError("an unexpected record of kind %d" % kind)
        except MALFORMED as error:
            raise malformed(error)

    def compare(self, unchanged):
        if unchanged > max(0, sum(path is not None for path in self.paths) - len(self.wanted)):
            raise ValueError("more files are unchanged than were listed")
        self.unchanged = unchanged
        self.compared = True

    def acknowledged(self, count):
        if count > self.records.unacknowledged:
            raise ValueError("more was acknowledged than was sent")
        self.records.unacknowledged -= count

    def want(self, indexes):
        last = self.wanted[-1] if self.wanted else -1
        for index in indexes:
            # requests come in the listed order, so none comes twice
            if index <= last or (self.paths[index] is None and isinstance(self.source, bytes)):
                raise ValueError("a file was requested that was not listed, or twice")
            last = index
        self.wanted.extend(indexes)
