"""Whatever the other side sends, ``get`` writes nothing outside of its destination."""

import errno
import os
import stat

import pytest

from remoto.remote import files


class Script:
    """Records that a hostile sender might send."""

    def __init__(self, *records):
        self.records = [*records, (files.LISTED, b""), (files.FINISH, b"complete")]

    def read(self):
        return self.records.pop(0)

    def write(self, kind, data=b""):
        pass

    def flush(self):
        pass


def entry(parent, kind, name, target=b"", mode=0o755, size=0):
    return files.ENTRY, files.ENTRY_HEAD.pack(parent, kind, mode, 0, size, len(name)) + name + target


ROOT = entry(files.NO_PARENT, files.FOLDER, b"")


def contents(index, data, mode=0o644):
    import hashlib

    return [
        (files.BEGIN, files.FILE_HEAD.pack(index, mode, 0, len(data))),
        (files.DATA, data),
        (files.END, hashlib.sha256(data).digest()),
    ]


def receive(folder, *records):
    receiver = files.Receiver(Script(*records), os.fsencode(folder / "here"), b"", confine=True)
    receiver.run()
    return receiver


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside").mkdir()
    yield tmp_path
    assert os.listdir(tmp_path / "outside") == []
    assert set(os.listdir(tmp_path)) <= {"outside", "here"}


@pytest.mark.parametrize("name", [b"..", b".", b"", b"../outside/x", b"a/b", b"/etc/x", b"a\0b", b"../x"])
@pytest.mark.parametrize("kind", [files.FILE, files.FOLDER, files.LINK])
def test_names(folder, name, kind):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, entry(0, kind, name, b"x"), *contents(1, b"bad"))


@pytest.mark.parametrize(
    "target", [b"/etc/passwd", b"../outside", b"..", b"a/../../outside", b"./../outside", b"", b"a\0b", b"/"]
)
def test_links_that_point_out(folder, target):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, entry(0, files.LINK, b"link", target))
    assert not os.path.lexists(folder / "here/link")


def test_links_that_stay(folder):
    inner = entry(0, files.FOLDER, b"inner")
    receive(folder, ROOT, inner, entry(1, files.LINK, b"up", b"../file"), entry(0, files.LINK, b"down", b"inner/x"))
    assert os.readlink(folder / "here/inner/up") == "../file"
    assert os.readlink(folder / "here/down") == "inner/x"


def test_a_file_through_a_link_that_it_sent_before(folder):
    link = entry(0, files.LINK, b"link", b"inner")
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, link, entry(1, files.FILE, b"x", size=3), *contents(2, b"bad"))


def test_a_name_twice(folder):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, entry(0, files.FOLDER, b"a"), entry(0, files.LINK, b"a", b"x"))


def test_a_link_that_is_there_already_is_not_followed(folder):
    (folder / "here").mkdir()
    (folder / "here/inner").symlink_to(folder / "outside")
    file = entry(1, files.FILE, b"x", size=4)
    receive(folder, ROOT, entry(0, files.FOLDER, b"inner"), file, *contents(2, b"data"))
    assert not (folder / "here/inner").is_symlink() and (folder / "here/inner/x").read_bytes() == b"data"


def test_a_link_in_the_place_of_all(folder):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, entry(files.NO_PARENT, files.LINK, b"", b"outside"))


def test_a_file_that_was_not_asked_for(folder):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, *contents(7, b"data"))
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, (files.DATA, b"data"))


def test_setuid_is_not_taken_over(folder):
    receive(folder, ROOT, entry(0, files.FILE, b"x", mode=0o6755, size=4), *contents(1, b"data", mode=0o6755))
    assert stat.S_IMODE((folder / "here/x").stat().st_mode) == 0o755


def test_damage_is_noticed(folder):
    begin, data, _ = contents(1, b"data")
    with pytest.raises(files.Failure, match="damaged"):
        receive(folder, ROOT, entry(0, files.FILE, b"x", size=4), begin, data, (files.END, b"\0" * 32))
    with pytest.raises(files.Failure, match="damaged"):
        receive(folder, ROOT, entry(0, files.FILE, b"x", size=9), *contents(1, b"data")[:1], *contents(1, b"dat")[1:])
    assert os.listdir(folder / "here") == []


@pytest.mark.parametrize("with_parents", [False, True])
def test_hosts_that_share_a_disk_make_the_same_folder(folder, with_parents):
    made_by_the_other = folder / "here"
    made_by_the_other.mkdir()
    status = files.new_folder(os.fsencode(made_by_the_other), with_parents)
    assert stat.S_ISDIR(status.st_mode)


@pytest.mark.parametrize("with_parents", [False, True])
def test_what_the_other_made_is_no_folder(folder, with_parents):
    (folder / "here").symlink_to(folder / "outside")
    with pytest.raises(OSError) as caught:
        files.new_folder(os.fsencode(folder / "here"), with_parents)
    assert caught.value.errno == errno.EEXIST
