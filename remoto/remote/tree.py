"""RUNS ON BOTH SIDES: the directories and links that a receiver creates."""

from __future__ import absolute_import, unicode_literals

import errno
import os
import stat

from .filesystem import missing_directories, new_directory, remove, temporary_sibling
from .records import DIRECTORY, LINK, SAME_TIME, TEMPORARY, Failure, set_times, shown, times


class Tree(object):
    """The destination of a transfer. With ``confine``, no path in it leads outside.

    The parameters are those of Receiver.
    """

    def __init__(self, destination, name, delete, confine, make):
        self.destination = destination
        self.name = name
        self.delete = delete
        self.confine = confine
        self.make = make
        self.directories = {}  # index of an entry: its path
        self.names = {}  # path of a directory: the names that were sent for it
        self.attributes = []  # path, mode and time of directories, set at the end
        self.links = []
        self.made = []  # directories that did not exist
        self.replaced = {}  # temporary path of a directory: the path of the file or link that it replaces

    def path_of(self, parent, name):
        """Return the path of an entry in a directory."""
        return os.path.join(self.directory(parent), self.checked(parent, name))

    def root_path(self, kind):
        """Return the path of the first entry."""
        path = self.destination.rstrip(b"/") or self.destination[:1]
        if not path:
            raise Failure(path, errno.ENOENT, os.strerror(errno.ENOENT))
        if kind == LINK:
            raise self.refused("a link instead of a file or directory")
        if os.path.isdir(path):
            # follow a link to a directory
            path = os.path.realpath(path)
            if not self.name and kind != DIRECTORY:
                raise Failure(self.destination, errno.EISDIR, os.strerror(errno.EISDIR))
            return os.path.join(path, self.name) if self.name else path
        if kind != DIRECTORY:
            if path != self.destination:
                return os.path.join(self.make_destination(path), self.name)
            # replace the target of a link, not the link
            return os.path.realpath(path) if os.path.islink(path) else path
        return path

    def make_destination(self, path):
        if not self.make or not self.name or os.path.lexists(path):
            code = errno.ENOTDIR if os.path.lexists(path) else errno.ENOENT
            raise Failure(self.destination, code, os.strerror(code))
        self.made += missing_directories(path)
        try:
            new_directory(path, with_parents=True)
        except OSError as error:
            raise Failure.of(path, error)
        return path

    def directory(self, index):
        try:
            return self.directories[index]
        except KeyError:
            raise self.refused("an entry of an unknown directory")

    def checked(self, parent, name):
        known = self.names[self.directories[parent]]
        if not name or name in (b".", b"..") or b"/" in name or b"\0" in name or name in known:
            raise self.refused("the name %s" % shown(name))
        known.add(name)
        return name

    def add_directory(self, index, path, status, mode, mtime):
        path = self.make_directory(path, status, mode, mtime, index == 0)
        self.directories[index] = path
        self.names[path] = set()

    def make_directory(self, path, status, mode, mtime, is_root):
        """Return the path of the directory: a temporary one if it replaces a file, which happens at the end."""
        if status is not None and not stat.S_ISDIR(status.st_mode):
            if is_root:
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            place, path = path, temporary_sibling(path)
            self.replaced[path] = place
            status = None
        if status is None:
            self.made += missing_directories(path)
            status = new_directory(path, is_root)
        elif is_root:
            # an existing directory, such as /tmp, keeps its mode and time
            mode, mtime = stat.S_IMODE(status.st_mode), None
        # keep it writable until its contents are there
        if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(path, stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
        self.attributes.append((path, mode, mtime))
        return path

    def add_link(self, path, target):
        """Create a link at the end.

        :raises Failure: it leads outside the directory.
        """
        if not self.stays_inside(path, target):
            reason = "refused: a link that points out of the directory, to %s" % shown(target)
            raise Failure(path, errno.EPERM, reason)
        self.links.append((path, target))

    def stays_inside(self, path, target):
        """Return True if a link stays in the directory. Allow ``..`` only at the start, where no link changes it."""
        if not self.confine:
            return True
        below = path[len(self.directories[0].rstrip(b"/")) + 1 :]
        steps = [step for step in target.split(b"/") if step not in (b"", b".")]
        up = 0
        while up < len(steps) and steps[up] == b"..":
            up += 1
        is_path = target and b"\0" not in target and not target.startswith(b"/")
        return bool(is_path and up <= below.count(b"/") and b".." not in steps[up:])

    def refused(self, what):
        return Failure(self.destination, errno.EPERM, "refused: the sender sent %s" % what)

    def finish(self, complete):
        """Create links, delete other files with ``delete``, and set modes and times."""
        for path, target in self.links:
            self.make_link(path, target)
        if complete and self.delete:
            self.delete_others()
        self.set_attributes()

    def remove_replaced_directory(self, path):
        """Remove a directory that a file replaces, since a rename can't replace it."""
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                if self.delete:
                    remove(path)
                else:
                    os.rmdir(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def make_link(self, path, target):
        temporary = temporary_sibling(path)
        try:
            if os.path.islink(path) and os.readlink(path) == target:
                return
            self.remove_replaced_directory(path)
            os.symlink(target, temporary)
            try:
                os.rename(temporary, path)
            except OSError:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise Failure.of(path, error)

    def delete_others(self):
        for directory, names in self.names.items():
            try:
                for name in os.listdir(directory):
                    if name not in names and not name.startswith(TEMPORARY):
                        remove(os.path.join(directory, name))
            except OSError as error:
                raise Failure.of(error.filename or directory, error)

    def set_attributes(self, quiet=False):
        """Set modes and times of directories, the lowest first, since a new entry changes its directory's time."""
        for path, mode, mtime in reversed(self.attributes):
            try:
                status = os.lstat(path)
                if mtime is not None and abs(times(status) - mtime) >= SAME_TIME:
                    set_times(path, mtime)
                if stat.S_IMODE(status.st_mode) != mode:
                    os.chmod(path, mode)
                if path in self.replaced and not quiet:
                    place = self.replaced[path]
                    os.unlink(place)
                    os.rename(path, place)
                    del self.replaced[path]
            except OSError as error:
                if not quiet:
                    raise Failure.of(path, error)

    def undo(self):
        """Remove incomplete files and directories."""
        for path in self.replaced:
            try:
                remove(path)
            except OSError:
                pass  # only the first error is reported
        self.set_attributes(quiet=True)
        for path in reversed(self.made):
            try:
                os.rmdir(path)
            except OSError:
                pass  # it has complete files, which are kept
