"""RUNS ON THE REMOTE SIDE, and here as well: where a receiver puts the entries of a transfer."""

import errno
import os
import stat

# on the remote side the files of a module are one text
if __package__:
    from .records import *
    from .places import *


class Tree(object):
    """The destination of a transfer. Nothing of it leads out of it where the sender is not trusted.

    The parameters are those of Receiver.
    """

    def __init__(self, destination, name, delete, confine, make):
        self.destination = destination
        self.name = name
        self.delete = delete
        self.confine = confine
        self.make = make
        self.folders = {}  # index of an entry: its path
        self.names = {}  # path of a folder: the names in it that have been sent
        self.attributes = []  # path, mode and time of folders, for the end
        self.links = []
        self.made = []  # folders that were not there
        self.instead = {}  # path of a folder beside its place: the path of the file or link that is there

    def path_of(self, parent, name):
        """Return the path of an entry in a folder."""
        return os.path.join(self.folder(parent), self.checked(parent, name))

    def place(self, kind):
        """Where the thing itself goes."""
        path = self.destination.rstrip(b"/") or self.destination[:1]
        if not path:
            raise Failure(path, errno.ENOENT, os.strerror(errno.ENOENT))
        if kind == LINK:
            raise self.refused("a link where a file or folder was asked for")
        if os.path.isdir(path):
            # a link to a folder stands for the folder
            path = os.path.realpath(path)
            if not self.name and kind != FOLDER:
                raise Failure(self.destination, errno.EISDIR, os.strerror(errno.EISDIR))
            return os.path.join(path, self.name) if self.name else path
        if kind != FOLDER:
            if path != self.destination:
                return os.path.join(self.make_place(path), self.name)
            # the file that a link stands for is replaced, not the link
            return os.path.realpath(path) if os.path.islink(path) else path
        return path

    def make_place(self, path):
        if not self.make or not self.name or os.path.lexists(path):
            code = errno.ENOTDIR if os.path.lexists(path) else errno.ENOENT
            raise Failure(self.destination, code, os.strerror(code))
        self.made += missing_folders(path)
        try:
            new_folder(path, with_parents=True)
        except OSError as error:
            raise Failure.of(path, error)
        return path

    def folder(self, index):
        try:
            return self.folders[index]
        except KeyError:
            raise self.refused("a name in a folder that was not sent")

    def checked(self, parent, name):
        known = self.names[self.folders[parent]]
        if not name or name in (b".", b"..") or b"/" in name or b"\0" in name or name in known:
            raise self.refused("the name %s" % shown(name))
        known.add(name)
        return name

    def add_folder(self, index, path, status, mode, mtime):
        path = self.make_folder(path, status, mode, mtime, index == 0)
        self.folders[index] = path
        self.names[path] = set()

    def make_folder(self, path, status, mode, mtime, is_root):
        """Its path; another one where a file is in its place, which it takes at the end."""
        if status is not None and not stat.S_ISDIR(status.st_mode):
            if is_root:
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            place, path = path, beside(path)
            self.instead[path] = place
            status = None
        if status is None:
            self.made += missing_folders(path)
            status = new_folder(path, is_root)
        elif is_root:
            # a folder that is there, such as /tmp, is given contents; it keeps its own mode and time
            mode, mtime = stat.S_IMODE(status.st_mode), None
        # until the end, it must take files
        if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(path, stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
        self.attributes.append((path, mode, mtime))
        return path

    def add_link(self, path, target):
        """Make a link at the end.

        :raises Failure: it leads out of the folder.
        """
        if not self.stays_inside(path, target):
            reason = "refused: a link that points out of the folder, to %s" % shown(target)
            raise Failure(path, errno.EPERM, reason)
        self.links.append((path, target))

    def stays_inside(self, path, target):
        """A link that leads out of the folder is left out; of others the steps up can be counted, whatever else is linked."""
        if not self.confine:
            return True
        below = path[len(self.folders[0].rstrip(b"/")) + 1 :]
        steps = [step for step in target.split(b"/") if step not in (b"", b".")]
        up = 0
        while up < len(steps) and steps[up] == b"..":
            up += 1
        is_path = target and b"\0" not in target and not target.startswith(b"/")
        return bool(is_path and up <= below.count(b"/") and b".." not in steps[up:])

    def refused(self, what):
        return Failure(self.destination, errno.EPERM, "refused: the other side sent %s" % what)

    # afterwards

    def finish(self, complete):
        """Make what has to wait for the end of the transfer; remove what is in the way."""
        for path, target in self.links:
            self.make_link(path, target)
        if complete and self.delete:
            self.delete_others()
        self.set_attributes()

    def make_way(self, path):
        """What a rename can't replace."""
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
        temporary = beside(path)
        try:
            if os.path.islink(path) and os.readlink(path) == target:
                return
            self.make_way(path)
            os.symlink(target, temporary)
            try:
                os.rename(temporary, path)
            except OSError:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise Failure.of(path, error)

    def delete_others(self):
        for folder, names in self.names.items():
            try:
                for name in os.listdir(folder):
                    if name not in names and not name.startswith(TEMPORARY):
                        remove(os.path.join(folder, name))
            except OSError as error:
                raise Failure.of(error.filename or folder, error)

    def set_attributes(self, quiet=False):
        """Modes and times of folders, the lowest first: what is made in a folder changes its time."""
        for path, mode, mtime in reversed(self.attributes):
            try:
                status = os.lstat(path)
                if mtime is not None and abs(times(status) - mtime) >= SAME_TIME:
                    set_times(path, mtime)
                if stat.S_IMODE(status.st_mode) != mode:
                    os.chmod(path, mode)
                if path in self.instead and not quiet:
                    place = self.instead[path]
                    os.unlink(place)
                    os.rename(path, place)
                    del self.instead[path]
            except OSError as error:
                if not quiet:
                    raise Failure.of(path, error)

    def undo(self):
        """Leave nothing behind of what has not come to its end."""
        for path in self.instead:
            try:
                remove(path)
            except OSError:
                pass  # the reason that matters is on its way already
        self.set_attributes(quiet=True)
        for path in reversed(self.made):
            try:
                os.rmdir(path)
            except OSError:
                pass  # what has arrived in it stays
