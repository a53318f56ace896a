"""RUNS ON BOTH SIDES: the receiver of a transfer."""

from __future__ import absolute_import, unicode_literals

import errno
import os
import stat
import struct

from .filesystem import NewFile, is_same, mode_to_set, status_of
from .records import (
    ACKNOWLEDGED,
    BEGIN,
    COMPARED,
    COUNT,
    DATA,
    DIRECTORY,
    DONE,
    END,
    ENTRY,
    ENTRY_HEAD,
    FAILED,
    FILE,
    FILE_HEAD,
    FINISH,
    LINK,
    LISTED,
    MALFORMED,
    MOST_SKIPPED,
    NO_SIZE,
    SKIP,
    STREAM,
    WANTED,
    Failure,
    PeerFailure,
    known,
    malformed,
    split_at,
)
from .tree import Tree


class Receiver(object):
    """Receive from a Sender.

    :param destination: a path as bytes.
    :param name: the name of the copy if ``destination`` is a directory; if empty, ``destination`` itself is the copy.
    :param delete: remove entries of directories that the sender does not have.
    :param confine: True if the sender is not trusted.
    :param progress: as for Sender.
    :param make: create a missing directory for a file whose destination ends with a slash.
    :ivar copied: the number of files received.
    :ivar unchanged: the number of files that were not received, since they are the same.
    """

    def __init__(self, records, destination, name, delete=False, confine=False, progress=None, make=False):
        self.records = records
        self.destination = destination
        self.confine = confine
        self.progress = progress
        self.tree = Tree(destination, name, delete, confine, make)
        self.wanted = {}  # index of an entry: its path and size
        self.unrequested = []
        self.count = 0
        self.listed = False
        self.skipped = 0
        self.skipped_bytes = 0
        self.file = None
        self.failures = []
        self.copied = 0
        self.unchanged = 0
        self.received = 0
        self.total = 0

    def run(self):
        """Receive everything.

        :raises Failure: the transfer failed; incomplete files were removed.
        """
        try:
            complete = self.receive()
            self.tree.finish(complete)
        except BaseException:
            self.drop()
            self.tree.undo()
            raise
        self.total = self.received
        self.report_progress()
        self.records.write(DONE)
        self.records.flush()

    def receive(self):
        """Apply all records. Return True if the sender has skipped nothing."""
        while True:
            kind, data = self.records.read()
            # these call ``progress``, which may itself raise a ValueError
            if kind == DATA:
                self.write(data)
            elif kind == LISTED and not self.listed:
                self.compare()
            elif kind == FINISH:
                self.require_complete(complete=bool(data))
                return bool(data)
            else:
                try:
                    self.handle(kind, data)
                except MALFORMED as error:
                    raise malformed(error)

    def handle(self, kind, data):
        if kind == BEGIN:
            self.begin(data)
        elif kind == END:
            self.end(data)
        elif kind == ENTRY and not self.listed:
            self.entry(data)
        elif kind == SKIP:
            self.skip(data)
        elif kind == FAILED:
            raise PeerFailure.unpack(data)
        elif kind != ACKNOWLEDGED:
            raise ValueError("an unexpected record of kind %d" % kind)

    def compare(self):
        self.listed = True
        self.send_wanted()
        self.records.write(COMPARED, COUNT.pack(self.unchanged))
        self.records.flush()
        self.report_progress()

    def skip(self, data):
        if self.file is not None:
            self.drop()
        elif self.listed:
            self.skipped += 1
            if self.skipped > len(self.wanted):
                raise ValueError("more files were skipped than were requested")
        self.skipped_bytes += len(data)
        if self.skipped_bytes > MOST_SKIPPED:
            reason = "too many files can't be read: their names alone are %d bytes" % MOST_SKIPPED
            raise Failure(self.destination, 0, reason)
        self.failures.append(PeerFailure.unpack(data))

    def require_complete(self, complete):
        """Require that each requested file was received, or skipped with a reason."""
        missing = len(self.wanted) - (0 if complete else self.skipped)
        if self.file is not None or not self.listed or not self.count or missing > 0:
            raise Failure(self.destination, errno.EIO, "the transfer ended before all files were received")

    # comparing

    def entry(self, data):
        parent, kind, mode, mtime, size, length = ENTRY_HEAD.unpack_from(data)
        name, target = split_at(data[ENTRY_HEAD.size :], length)
        index = self.count
        self.count += 1
        # a stream has no list
        if kind not in (FILE, DIRECTORY, LINK) and (kind != STREAM or index or self.confine):
            raise ValueError("an entry of kind %d" % kind)
        mode = mode_to_set(mode, self.confine)
        path = self.tree.path_of(parent, name) if index else self.tree.root_path(kind)
        status = status_of(path)
        try:
            if kind == DIRECTORY:
                self.tree.add_directory(index, path, status, mode, mtime)
            elif kind == LINK:
                self.link(path, target)
            elif kind == STREAM or not self.same(path, status, mode, mtime, size):
                self.want(index, path, size)
        except OSError as error:
            raise Failure.of(path, error)

    def link(self, path, target):
        try:
            self.tree.add_link(path, target)
        except Failure as failure:
            self.failures.append(failure)

    def want(self, index, path, size):
        self.wanted[index] = path, size
        self.unrequested.append(index)
        self.total += known(size)
        if len(self.unrequested) >= 1024:
            self.send_wanted()

    def same(self, path, status, mode, mtime, size):
        if not is_same(status, mtime, size):
            return False
        if stat.S_IMODE(status.st_mode) != mode:
            os.chmod(path, mode)
        else:
            self.unchanged += 1
        return True

    def send_wanted(self):
        self.records.write(WANTED, struct.pack("!%dI" % len(self.unrequested), *self.unrequested))
        self.records.flush()
        self.unrequested = []

    # receiving

    def begin(self, data):
        index, mode, mtime, size = FILE_HEAD.unpack(data)
        if index not in self.wanted or self.file is not None:
            raise self.tree.refused("a file that was not requested")
        path, listed_size = self.wanted.pop(index)
        self.total += known(size) - known(listed_size)
        self.file = NewFile(path, mode_to_set(mode, self.confine), mtime, size)
        self.file.open()

    def write(self, data):
        if self.file is None:
            raise self.tree.refused("data before a file")
        self.file.write(data)
        self.received += len(data)
        self.report_progress()

    def end(self, digest):
        if self.file is None:
            raise self.tree.refused("the end of a file that did not begin")
        path = self.file.path
        self.file.digest.check(path, self.file.size, digest)
        try:
            self.file.finish()
            self.tree.remove_replaced_directory(path)
            self.file.put_in_place()
            if self.file.size == NO_SIZE:
                self.total += self.file.digest.size
            self.file = None
            self.copied += 1
        except (IOError, OSError) as error:
            raise Failure.of(path, error)

    def drop(self):
        if self.file is not None:
            self.file.drop()
            self.file = None

    def report_progress(self):
        total = max(self.total, self.received)
        if self.progress is not None and total:
            self.progress(self.received, total if self.has_total() else None)

    def has_total(self):
        if self.file is not None and self.file.size == NO_SIZE:
            return False
        # a tar archive has no list of its members at its start
        return self.listed or not self.tree.directories
