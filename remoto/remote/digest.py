"""RUNS ON BOTH SIDES: check a file by its digest, which the sender sends after the data."""

from __future__ import absolute_import, unicode_literals

import errno
import hashlib

from .records import NO_SIZE, Failure


class Digest(object):
    """The SHA-256 of data in blocks.

    :ivar size: the number of bytes so far.
    """

    def __init__(self):
        self.size = 0
        self.sha256 = hashlib.sha256()

    def update(self, block):
        self.size += len(block)
        self.sha256.update(block)

    def value(self):
        return self.sha256.digest()

    def check(self, path, size, value):
        """Raise Failure if the size or the digest of the received file is wrong."""
        if size not in (NO_SIZE, self.size) or self.value() != value:
            raise Failure(path, errno.EIO, "damaged: its size or digest differs from what was sent")
