"""RUNS ON BOTH SIDES: list and read the source of a transfer."""

from __future__ import absolute_import, unicode_literals

import errno
import io
import os
import stat

from .records import (
    BLOCK,
    CHANGED,
    DIRECTORY,
    ENTRY,
    ENTRY_HEAD,
    FILE,
    LINK,
    NO_PARENT,
    NO_SIZE,
    NOT_COPIED,
    SKIP,
    Failure,
    Unreadable,
    packed,
    times,
)

# minimum bytes of records in each page of a listing except the last one
PAGE = 64 * 1024


class Page(object):
    """A part of a listing.

    :ivar records: the packed records.
    :ivar paths: the path to read each entry from; None if it has no contents.
    :ivar sizes: the sizes of the entries.
    :ivar failures: a Failure for each skipped entry.
    """

    def __init__(self):
        self.records = b""
        self.paths = []
        self.sizes = []
        self.failures = []


class Scan(object):
    """List a file, or a directory and everything in it.

    :param source: a path as bytes.
    :param accept: called with the path of each entry of a directory; return False to skip it.
    :ivar root_length: the length of the source's path, to remove it from the paths below.
    """

    def __init__(self, source, accept=None):
        self.source = source
        self.accept = accept
        self.root_length = 0

    def pages(self):
        page, parts, size = Page(), [], 0
        for found in self.entries():
            if isinstance(found, Failure):
                page.failures.append(found)
                parts.append(packed(SKIP, found.pack()))
            else:
                parent, kind, mode, time, length, name, target, content = found
                head = ENTRY_HEAD.pack(parent, kind, mode, time, length, len(name))
                parts.append(packed(ENTRY, head + name + target))
                page.paths.append(content)
                page.sizes.append(length)
            size += len(parts[-1])
            if size >= PAGE:
                page.records = b"".join(parts)
                yield page
                page, parts, size = Page(), [], 0
        page.records = b"".join(parts)
        yield page

    def entries(self):
        """Yield the fields of each ENTRY and the path to read from, and a Failure for each skipped entry."""
        root, status = self.root()
        stack = [(NO_PARENT, root, b"", status)]
        count = 0
        while stack:
            parent, path, name, status = stack.pop()
            try:
                kind, size, target, names = describe(path, status)
            except Failure as failure:
                if parent == NO_PARENT:
                    raise
                yield failure
                continue
            time = 0 if kind == LINK else times(status)
            content = path if kind == FILE else None
            yield parent, kind, stat.S_IMODE(status.st_mode), time, size, name, target, content
            index, count = count, count + 1
            for name in names:
                below = os.path.join(path, name)
                if self.accept is not None and not self.accept(below):
                    continue
                try:
                    stack.append((index, below, name, os.lstat(below)))
                except OSError as error:
                    yield Failure.of(below, error)

    def root(self):
        """Return the real path of the source and its status."""
        try:
            if not self.source:
                # realpath turns an empty path into the current directory
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            root = os.path.realpath(self.source)
            status = os.stat(root)
            if self.source.endswith(b"/") and not stat.S_ISDIR(status.st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except OSError as error:
            raise Failure.of(self.source, error)
        above = root if stat.S_ISDIR(status.st_mode) else os.path.dirname(root)
        self.root_length = len(above.rstrip(b"/")) + 1
        return root, status


def describe(path, status):
    """Return the kind of an entry, its size, the target of a link, and the names in a directory, in reverse order.

    :raises Failure: it can't be read, or is of another kind.
    """
    try:
        if stat.S_ISREG(status.st_mode):
            return FILE, status.st_size, b"", []
        if stat.S_ISLNK(status.st_mode):
            return LINK, 0, os.readlink(path), []
        if stat.S_ISDIR(status.st_mode):
            return DIRECTORY, 0, b"", sorted(os.listdir(path), reverse=True)
    except OSError as error:
        raise Failure.of(path, error)
    raise Failure(path, errno.EINVAL, NOT_COPIED)


def open_to_read(path):
    """Open a file, in one step: it is closed even if Ctrl-C comes before the caller gets it."""
    descriptors = map(os.open, (path,), (os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK,))
    return list(map(io.FileIO, descriptors))[0]


def reading(path, call, *args):
    try:
        return call(*args)
    except (IOError, OSError) as error:
        raise Unreadable.of(path, error)


def first_block(path, fd):
    """Return a whole block, or a shorter one at the end of the file."""
    block = b""
    while len(block) < BLOCK:
        more = reading(path, os.read, fd, BLOCK - len(block))
        if not more:
            break
        block += more
    return block


def true_size(path, fd, status, found):
    """Return the size, or NO_SIZE if stat is wrong: it reports 0 for files in /proc, and 4096 for those in /sys."""
    if found == min(status.st_size, BLOCK):
        return status.st_size
    require_unchanged(path, fd, status)
    return NO_SIZE


def require_unchanged(path, fd, before):
    after = reading(path, os.fstat, fd)
    if (after.st_size, times(after)) != (before.st_size, times(before)):
        raise Unreadable(path, errno.EBUSY, CHANGED)


def next_block(stream):
    block = reading(b"", stream.read, BLOCK)
    if block and not isinstance(block, bytes):
        raise TypeError("expected a file opened in binary mode: read() returned %s" % type(block).__name__)
    return block
