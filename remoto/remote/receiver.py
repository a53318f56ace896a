"""RUNS ON THE REMOTE SIDE, and here as well: the end of a transfer that receives."""

import errno
import os
import stat
import struct

# on the remote side the files of a module are one text
if __package__:
    from .records import *
    from .places import *


class Receiver(object):
    """Receives what a Sender sends.

    :param destination: a path as bytes.
    :param name: what it is called below ``destination`` where that is a folder; empty: the folder becomes its copy.
    :param delete: remove what is in a folder and was not in the folder sent.
    :param confine: the sender is not trusted.
    :param progress: as the Sender's.
    :param make: make the directory for a file whose destination ends with a slash, where it is missing.
    :ivar copied: the number of files received.
    :ivar unchanged: the number of files that were the same already.
    """

    def __init__(self, records, destination, name, delete=False, confine=False, progress=None, make=False):
        self.records = records
        self.destination = destination
        self.name = name
        self.delete = delete
        self.confine = confine
        self.progress = progress
        self.make = make
        self.folders = {}  # index of an entry: its path
        self.names = {}  # path of a folder: the names in it that have been sent
        self.attributes = []  # path, mode and time of folders, for the end
        self.links = []
        self.made = []  # folders that were not there
        self.instead = {}  # path of a folder beside its place: the path of the file or link that is there
        self.wanted = {}  # index of an entry: its path and size
        self.news = []
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
        """Receive it all; Failure where that can't be done."""
        try:
            complete = self.receive()
            for path, target in self.links:
                self.make_link(path, target)
            if complete and self.delete:
                self.delete_others()
            self.set_attributes()
        except BaseException:
            self.undo()
            raise
        self.total = self.received
        self.tell()
        self.records.write(DONE)
        self.records.flush()

    def receive(self):
        """Apply records up to the last. Return True if the sender has left out nothing."""
        while True:
            kind, data = self.records.read()
            # these call ``progress``, whose own ValueError is not the sender's
            if kind == DATA:
                self.write(data)
            elif kind == LISTED and not self.listed:
                self.compare()
            elif kind == FINISH:
                self.check_all_is_there(complete=bool(data))
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
            raise TheirFailure.unpack(data)
        elif kind != ACKNOWLEDGED:
            raise ValueError("an unexpected record of kind %d" % kind)

    def compare(self):
        self.listed = True
        self.tell_wanted()
        self.records.write(COMPARED, COUNT.pack(self.unchanged))
        self.records.flush()
        self.tell()

    def skip(self, data):
        if self.file is not None:
            self.drop()
        elif self.listed:
            self.skipped += 1
            if self.skipped > len(self.wanted):
                raise ValueError("more files were left out than were asked for")
        self.skipped_bytes += len(data)
        if self.skipped_bytes > MOST_SKIPPED:
            raise Failure(self.destination, 0, "too many files can't be read: their names alone are %d bytes" % MOST_SKIPPED)
        self.failures.append(TheirFailure.unpack(data))

    def check_all_is_there(self, complete):
        """Nothing is taken for done that has neither arrived nor been left out with a reason."""
        missing = len(self.wanted) - (0 if complete else self.skipped)
        if self.file is not None or not self.listed or not self.count or missing > 0:
            raise Failure(self.destination, errno.EIO, "the transfer ended before everything had arrived")

    def undo(self):
        """Leave nothing behind of what has not come to its end."""
        self.drop()
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

    # comparing

    def entry(self, data):
        parent, kind, mode, mtime, size, length = ENTRY_HEAD.unpack_from(data)
        name, target = split_at(data[ENTRY_HEAD.size :], length)
        index = self.count
        self.count += 1
        # a stream has no list
        if kind not in (FILE, FOLDER, LINK) and (kind != STREAM or index or self.confine):
            raise ValueError("an entry of kind %d" % kind)
        mode = self.mode_to_set(mode)
        if index == 0:
            path = self.place(kind)
        else:
            path = os.path.join(self.folder(parent), self.checked(parent, name))
        try:
            status = os.lstat(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise Failure.of(path, error)
            status = None
        if status is not None and not replaceable(status):
            raise Failure(path, errno.EINVAL, "a device, FIFO or socket is there: it is not replaced")
        try:
            if kind == FOLDER:
                path = self.make_folder(path, status, mode, mtime, index == 0)
                self.folders[index] = path
                self.names[path] = set()
            elif kind == LINK:
                if self.stays_inside(path, target):
                    self.links.append((path, target))
            elif kind == STREAM or not self.same(path, status, mode, mtime, size):
                self.wanted[index] = path, size
                self.news.append(index)
                self.total += known(size)
                if len(self.news) >= 1024:
                    self.tell_wanted()
        except OSError as error:
            raise Failure.of(path, error)

    def mode_to_set(self, mode):
        """Return the mode, without set-id and sticky bits if the sender is not trusted."""
        if mode == NO_MODE and not self.confine:
            return mode
        if mode > ALL_BITS:
            raise ValueError("the mode 0%o" % mode)
        return mode & PERMISSIONS if self.confine else mode

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

    def stays_inside(self, path, target):
        """A link that leads out of the folder is left out; of others the steps up can be counted, whatever else is linked."""
        if not self.confine:
            return True
        below = path[len(self.folders[0].rstrip(b"/")) + 1 :]
        steps = [step for step in target.split(b"/") if step not in (b"", b".")]
        up = 0
        while up < len(steps) and steps[up] == b"..":
            up += 1
        if target.startswith(b"/") or up > below.count(b"/") or b".." in steps[up:] or not target or b"\0" in target:
            reason = "refused: a link that points out of the folder, to %s" % shown(target)
            self.failures.append(Failure(path, errno.EPERM, reason))
            return False
        return True

    def refused(self, what):
        return Failure(self.destination, errno.EPERM, "refused: the other side sent %s" % what)

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

    def same(self, path, status, mode, mtime, size):
        if status is None or not stat.S_ISREG(status.st_mode):
            return False
        if status.st_size != size or abs(times(status) - mtime) >= SAME_TIME:
            return False
        if stat.S_IMODE(status.st_mode) != mode:
            os.chmod(path, mode)
        else:
            self.unchanged += 1
        return True

    def tell_wanted(self):
        self.records.write(WANTED, struct.pack("!%dI" % len(self.news), *self.news))
        self.records.flush()
        self.news = []

    # receiving

    def begin(self, data):
        index, mode, mtime, size = FILE_HEAD.unpack(data)
        if index not in self.wanted or self.file is not None:
            raise self.refused("a file that was not asked for")
        path, listed_size = self.wanted.pop(index)
        self.total += known(size) - known(listed_size)
        self.file = NewFile(path, self.mode_to_set(mode), mtime, size)
        try:
            self.file.open()
        except (IOError, OSError) as error:
            raise Failure.of(path, error)

    def write(self, data):
        if self.file is None:
            raise self.refused("data of no file")
        if self.file.written + len(data) > self.file.size:
            raise Failure(self.file.path, errno.EIO, "arrived damaged: more was sent than its size")
        try:
            self.file.write(data)
        except (IOError, OSError) as error:
            raise Failure.of(self.file.path, error)
        self.received += len(data)
        self.tell()

    def end(self, digest):
        if self.file is None:
            raise self.refused("the end of no file")
        path = self.file.path
        try:
            if self.file.size not in (NO_SIZE, self.file.written) or self.file.digest.digest() != digest:
                raise Failure(path, errno.EIO, "arrived damaged: its size or digest is not what was sent")
            self.file.finish()
            self.make_way(path)
            self.file.put_in_place()
            if self.file.size == NO_SIZE:
                self.total += self.file.written
            self.file = None
            self.copied += 1
        except (IOError, OSError) as error:
            raise Failure.of(path, error)

    def drop(self):
        if self.file is not None:
            self.file.drop()
            self.file = None

    def tell(self):
        total = max(self.total, self.received)
        if self.progress is not None and total:
            self.progress(self.received, total if self.has_total() else None)

    def has_total(self):
        if self.file is not None and self.file.size == NO_SIZE:
            return False
        # a tar has no list before the files
        return self.listed or not self.folders

    # afterwards

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
