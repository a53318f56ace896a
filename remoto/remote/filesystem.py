"""RUNS ON BOTH SIDES: create, replace and remove files and directories."""

from __future__ import absolute_import, unicode_literals

import binascii
import errno
import os
import stat

from .digest import Digest
from .records import ALL_BITS, NO_MODE, NO_SIZE, PERMISSIONS, SAME_TIME, TEMPORARY, Failure, set_times, times


class NewFile(object):
    """A file received into a temporary sibling and renamed when complete."""

    def __init__(self, path, mode, mtime, size):
        self.path = path
        self.mode = mode
        self.mtime = mtime
        self.size = size
        self.digest = Digest()
        self.temporary = temporary_sibling(path)
        self.fd = -1

    def open(self):
        try:
            self.fd = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except (IOError, OSError) as error:
            raise Failure.of(self.path, error)

    def write(self, data):
        if self.digest.size + len(data) > self.size:
            raise Failure(self.path, errno.EIO, "damaged: more data than its size")
        self.digest.update(data)
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except (IOError, OSError) as error:
            raise Failure.of(self.path, error)

    def finish(self):
        mode = self.mode
        try:
            old = os.lstat(self.path)
        except OSError:
            old = None
        if old is not None and stat.S_ISREG(old.st_mode):
            if mode == NO_MODE:
                mode = stat.S_IMODE(old.st_mode)
            own = os.fstat(self.fd)
            if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
                try:
                    os.fchown(self.fd, old.st_uid, old.st_gid)
                except OSError:
                    pass  # only root may change the owner
        if mode == NO_MODE:
            mode = 0o666 & ~umask()
        os.fchmod(self.fd, mode)
        fd, self.fd = self.fd, -1
        # close() reports the error of a delayed write, such as an exceeded quota on NFS
        os.close(fd)
        if self.size != NO_SIZE:
            set_times(self.temporary, self.mtime)

    def put_in_place(self):
        os.rename(self.temporary, self.path)

    def drop(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        try:
            os.unlink(self.temporary)
        except OSError:
            pass  # it was never created, or was removed with its directory


def replaceable(status):
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)


def status_of(path):
    """Return ``os.lstat(path)``, or None if there is no such file.

    :raises Failure: it is a file of a kind that is never replaced.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise Failure.of(path, error)
        return None
    if not replaceable(status):
        raise Failure(path, errno.EINVAL, "is a device, FIFO or socket: not replaced")
    return status


def is_same(status, mtime, size):
    """Return True for a regular file with this size and time."""
    if status is None or not stat.S_ISREG(status.st_mode):
        return False
    return status.st_size == size and abs(times(status) - mtime) < SAME_TIME


def mode_to_set(mode, confine):
    """Return the mode, without set-id and sticky bits if the sender is not trusted."""
    if mode == NO_MODE and not confine:
        return mode
    if mode > ALL_BITS:
        raise ValueError("the mode 0%o" % mode)
    return mode & PERMISSIONS if confine else mode


def missing_directories(path):
    """Return the missing directories above ``path``, the highest first."""
    missing = []  # type: list
    while path and not os.path.lexists(path):
        missing.insert(0, path)
        path = os.path.dirname(path)
    return missing


def new_directory(path, with_parents):
    try:
        os.makedirs(path) if with_parents else os.mkdir(path)
    except OSError as error:
        # hosts that share a file system may create it at the same time
        if error.errno != errno.EEXIST or not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
    return os.lstat(path)


def temporary_sibling(path):
    """Return a temporary name in the same directory. It is short, since the name itself may have the maximum length."""
    return os.path.join(os.path.dirname(path), TEMPORARY + binascii.hexlify(os.urandom(8)))


def umask():
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def remove(path):
    """Remove a file, a link, or a directory and everything in it. Follow no links; ignore missing files."""
    pending = [path]
    while pending:
        path = pending[-1]
        try:
            mode = os.lstat(path).st_mode
            if not stat.S_ISDIR(mode):
                os.unlink(path)
            else:
                if mode & stat.S_IRWXU != stat.S_IRWXU:
                    os.chmod(path, 0o700)
                inner = [os.path.join(path, name) for name in os.listdir(path)]
                if inner:
                    pending += inner
                    continue
                os.rmdir(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        pending.pop()
