"""Whatever the remote side sends, ``get`` writes nothing outside of its destination."""

import errno
import itertools
import os
import stat
import struct
import tempfile
from pathlib import Path

import pytest

from remoto.remote import files


class Script:
    """Records that a hostile sender might send."""

    size = unacknowledged = 0

    def __init__(self, *records):
        self.records = [*records]

    def read(self):
        return self.records.pop(0)

    def write(self, kind, data=b""):
        pass

    def flush(self):
        pass


def entry(parent, kind, name, target=b"", mode=0o755, size=0):
    return files.ENTRY, files.ENTRY_HEAD.pack(parent, kind, mode, 0, size, len(name)) + name + target


ROOT = entry(files.NO_PARENT, files.DIRECTORY, b"")


def contents(index, data, mode=0o644):
    import hashlib

    return [
        (files.BEGIN, files.FILE_HEAD.pack(index, mode, 0, len(data))),
        (files.DATA, data),
        (files.END, hashlib.sha256(data).digest()),
    ]


END = [(files.LISTED, b""), (files.FINISH, b"complete")]


def receive(folder, *records, end=END):
    receiver = files.Receiver(Script(*records, *end), os.fsencode(folder / "here"), b"", confine=True)
    receiver.run()
    return receiver


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outside").mkdir()
    yield tmp_path
    assert os.listdir(tmp_path / "outside") == []
    assert set(os.listdir(tmp_path)) <= {"outside", "here"}


@pytest.mark.parametrize("name", [b"..", b".", b"", b"../outside/x", b"a/b", b"/etc/x", b"a\0b", b"../x"])
@pytest.mark.parametrize("kind", [files.FILE, files.DIRECTORY, files.LINK])
def test_names(folder, name, kind):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, entry(0, kind, name, b"x"), *contents(1, b"bad"))


@pytest.mark.parametrize(
    "target", [b"/etc/passwd", b"../outside", b"..", b"a/../../outside", b"./../outside", b"", b"a\0b", b"/"]
)
def test_links_that_point_out(folder, target):
    """They are left out, and told of; the rest is received."""
    file = entry(0, files.FILE, b"file", size=4)
    receiver = receive(folder, ROOT, entry(0, files.LINK, b"link", target), file, *contents(2, b"data"))
    (failure,) = receiver.failures
    assert failure.path == os.fsencode(folder / "here/link") and failure.text.startswith(
        "refused: a link that points out"
    )
    assert failure.text.endswith(f", to {target.decode()}")
    assert not os.path.lexists(folder / "here/link") and (folder / "here/file").read_bytes() == b"data"


def test_links_that_stay(folder):
    inner = entry(0, files.DIRECTORY, b"inner")
    receive(folder, ROOT, inner, entry(1, files.LINK, b"up", b"../file"), entry(0, files.LINK, b"down", b"inner/x"))
    assert os.readlink(folder / "here/inner/up") == "../file"
    assert os.readlink(folder / "here/down") == "inner/x"


def test_a_file_through_a_link_that_it_sent_before(folder):
    link = entry(0, files.LINK, b"link", b"inner")
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, link, entry(1, files.FILE, b"x", size=3), *contents(2, b"bad"))


def test_a_name_twice(folder):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, entry(0, files.DIRECTORY, b"a"), entry(0, files.LINK, b"a", b"x"))


def test_a_link_that_is_there_already_is_not_followed(folder):
    (folder / "here").mkdir()
    (folder / "here/inner").symlink_to(folder / "outside")
    file = entry(1, files.FILE, b"x", size=4)
    receive(folder, ROOT, entry(0, files.DIRECTORY, b"inner"), file, *contents(2, b"data"))
    assert not (folder / "here/inner").is_symlink() and (folder / "here/inner/x").read_bytes() == b"data"


@pytest.mark.root
def test_the_owner_of_what_a_link_stands_for_is_not_taken_over(folder):
    (folder / "here").mkdir()
    (folder / "here/other").touch()
    (folder / "here/x").symlink_to("other")
    os.chown(folder / "here/other", 12, 34)
    receive(folder, ROOT, entry(0, files.FILE, b"x", size=4), *contents(1, b"data"))
    assert (folder / "here/x").lstat().st_uid == os.getuid() and (folder / "here/other").stat().st_size == 0


def test_a_link_in_the_place_of_all(folder):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, entry(files.NO_PARENT, files.LINK, b"", b"outside"))


def test_a_file_that_was_not_asked_for(folder):
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, *contents(7, b"data"))
    with pytest.raises(files.Failure, match="refused"):
        receive(folder, ROOT, (files.DATA, b"data"))


@pytest.mark.parametrize("already_there", [False, True])
def test_set_id_and_sticky_bits_never_arrive(folder, already_there):
    """Nor where the file is the same already, and only its mode is adjusted."""
    tree = [
        entry(files.NO_PARENT, files.DIRECTORY, b"", mode=0o7755),
        entry(0, files.DIRECTORY, b"directory", mode=0o7750),
        entry(0, files.FILE, b"file", mode=0o7640, size=4),
    ]
    if already_there:
        (folder / "here").mkdir(0o755)
        (folder / "here/file").write_bytes(b"data")
        os.utime(folder / "here/file", (0, 0))
        receive(folder, *tree)
    else:
        receive(folder, *tree, *contents(2, b"data", mode=0o7640))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("here/**")}
    modes.update((path.name, stat.S_IMODE(path.stat().st_mode)) for path in folder.glob("here/*"))
    assert modes == {"here": 0o755, "directory": 0o750, "file": 0o640}


def test_damage_is_noticed(folder):
    begin, data, _ = contents(1, b"data")
    with pytest.raises(files.Failure, match="damaged"):
        receive(folder, ROOT, entry(0, files.FILE, b"x", size=4), begin, data, (files.END, b"\0" * 32))
    with pytest.raises(files.Failure, match="damaged"):
        receive(folder, ROOT, entry(0, files.FILE, b"x", size=9), *contents(1, b"data")[:1], *contents(1, b"dat")[1:])
    assert not (folder / "here").exists()


ABCD = entry(0, files.FILE, b"x", size=4)
BROKEN_OFF = {
    "not sent": [ROOT, ABCD, *END],
    "the end not sent": [ROOT, ABCD, *contents(1, b"data")[:2], *END],
    "nothing": END,
    "no list": [ROOT, (files.FINISH, b"complete")],
    "more missing than left out": [ROOT, ABCD, END[0], (files.FINISH, b"")],
}


@pytest.mark.parametrize("records", BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_what_has_not_arrived_is_no_success(folder, records):
    with pytest.raises(files.Failure, match="ended before all files were received"):
        receive(folder, *records, end=[])
    assert not (folder / "here").exists()


def test_what_is_left_out_with_a_reason_is_not_missing(folder):
    skip = (files.SKIP, files.Failure(b"/there/x", 13, "Permission denied").pack())
    receiver = receive(folder, ROOT, ABCD, END[0], skip, (files.FINISH, b""), end=[])
    assert [failure.text for failure in receiver.failures] == ["Permission denied"]


def skip(path=b"/there/x", text="Permission denied"):
    return files.SKIP, files.Failure(path, errno.EACCES, text).pack()


def test_more_left_out_than_asked_for_is_refused(folder):
    with pytest.raises(files.Failure, match="more files were left out than were requested"):
        receive(folder, ROOT, ABCD, END[0], skip(), skip(), (files.FINISH, b""), end=[])


def test_endless_records_of_files_left_out_are_refused(folder):
    flood = itertools.repeat(skip(text="x" * 1_000_000))
    with pytest.raises(files.Failure, match="too many files can't be read"):
        receive(folder, ROOT, *itertools.islice(flood, 18))


def test_more_data_than_announced_is_refused_at_once(folder):
    begin, data, _ = contents(1, b"data")
    script = Script(ROOT, ABCD, END[0], begin, data, *[(files.DATA, b"x" * 1000)] * 1000)
    with pytest.raises(files.Failure, match="more was sent than its size"):
        files.Receiver(script, os.fsencode(folder / "here"), b"", confine=True).run()
    assert len(script.records) == 999


MALFORMED = {
    "a short entry": [(files.ENTRY, b"x")],
    "a short file": [ROOT, ABCD, (files.BEGIN, b"x")],
    "a short failure": [(files.SKIP, b"x")],
    "an unknown kind": [(99, b"x")],
    "an entry of unknown kind": [ROOT, entry(0, 9, b"x")],
    "a stream in a directory": [ROOT, entry(0, files.STREAM, b"x")],
    "a stream in place of all": [entry(files.NO_PARENT, files.STREAM, b"")],
    "a directory of mode 0xFFFF": [ROOT, entry(0, files.DIRECTORY, b"x", mode=0xFFFF)],
    "a listed file of mode 0xFFFF": [ROOT, entry(0, files.FILE, b"x", mode=0xFFFF)],
    "a sent file of mode 0xFFFF": [ROOT, ABCD, *contents(1, b"data", mode=0xFFFF)],
    "a name that is cut short": [ROOT, (files.ENTRY, entry(0, files.FILE, b"name")[1][:-1])],
    "a failure that is cut short": [(files.SKIP, files.Failure(b"path", 0, "").pack()[:-1])],
    "an entry behind the list": [ROOT, END[0], entry(0, files.FILE, b"x")],
    "the list ends twice": [ROOT, END[0], END[0]],
    "an answer in place of a record": [ROOT, (files.WANTED, b"")],
}


@pytest.mark.parametrize("records", MALFORMED.values(), ids=MALFORMED)
def test_records_that_no_transfer_sends(folder, records):
    with pytest.raises(files.Failure, match="malformed answer"):
        receive(folder, *records)


@pytest.mark.parametrize(
    "answer", [7, None, {}, [], 1.5, "€", b"x", files.HEAD.pack(files.ENTRY, 1000) + b"x"], ids=repr
)
def test_messages_that_no_transfer_sends(answer):
    class Channel:
        def receive(self, timeout):
            return answer

    with pytest.raises(files.Failure, match="malformed answer"):
        files.Records(Channel()).read()


def numbers(*values):
    return struct.pack(f"!{len(values)}I", *values)


@pytest.mark.parametrize(
    "record",
    [
        (files.WANTED, b"x"),
        (files.WANTED, numbers(0)),
        (files.WANTED, numbers(9)),
        (files.WANTED, numbers(1, 1)),
        (files.WANTED, numbers(2, 1)),
        (files.ACKNOWLEDGED, b""),
        (files.ACKNOWLEDGED, numbers(1)),
        (files.DONE, b""),
        (files.DATA, b""),
        (files.FAILED, b""),
    ],
    ids=repr,
)
def test_answers_to_a_sender_that_no_receiver_gives(tmp_path, record):
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    with pytest.raises(files.Failure, match="malformed answer"):
        files.Sender(Script(record), os.fsencode(tmp_path)).run()


@pytest.mark.parametrize("kind", [files.FILE, files.DIRECTORY, files.LINK])
def test_a_fifo_is_not_replaced(folder, kind):
    (folder / "here").mkdir()
    os.mkfifo(folder / "here/x")
    with pytest.raises(files.Failure, match="a device, FIFO or socket is there") as caught:
        receive(folder, ROOT, entry(0, kind, b"x", b"target", size=4))
    assert caught.value.code == errno.EINVAL and stat.S_ISFIFO((folder / "here/x").lstat().st_mode)


def test_a_folder_takes_the_place_of_a_file_at_the_end(folder):
    (folder / "here").mkdir()
    (folder / "here/x").write_bytes(b"old")
    tree = [ROOT, entry(0, files.DIRECTORY, b"x", mode=0o750), entry(1, files.FILE, b"y", size=4)]
    with pytest.raises(files.Failure):
        receive(folder, *tree, *contents(2, b"evil")[:2], (files.END, b"\0" * 32))
    assert os.listdir(folder / "here") == ["x"] and (folder / "here/x").read_bytes() == b"old"
    receive(folder, *tree, *contents(2, b"data"))
    assert os.listdir(folder / "here") == ["x"] and (folder / "here/x/y").read_bytes() == b"data"
    assert stat.S_IMODE((folder / "here/x").stat().st_mode) == 0o750


def test_deep_folders_are_removed(tmp_path):
    (tmp_path / "deep").mkdir()
    here = os.getcwd()
    try:
        os.chdir(tmp_path / "deep")
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    files.remove(os.fsencode(tmp_path / "deep"))
    assert os.listdir(tmp_path) == []


def test_what_somebody_else_removes_is_fine(tmp_path):
    files.remove(os.fsencode(tmp_path / "gone"))


def test_times_at_the_end_of_time(tmp_path):
    (tmp_path / "x").touch()
    for seconds in (20_000_000_000, -20_000_000_000):
        try:
            os.utime(tmp_path / "x", (seconds, seconds))
        except OverflowError:
            continue
        files.ENTRY_HEAD.pack(0, 1, 0, files.times(os.stat(tmp_path / "x")), 0, 0)


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


# whatever is sent

hypothesis = pytest.importorskip("hypothesis")
some = hypothesis.strategies

NAMES = some.sampled_from([b"a", b"b", b"c", b"", b".", b"..", b"a/b", b"/x", b"a\0b", b"../outside/x", b"x" * 300])
INDEXES = some.sampled_from([0, 1, 2, 3, 4, files.NO_PARENT])
MODES = some.sampled_from([0o644, 0o755, 0o4755, 0o7777, 0o000, 0x7FFF, 0xFFFF])
SIZES = some.sampled_from([0, 4, 5, 2**40, files.NO_SIZE])
TIMES = some.sampled_from([0, -1, 10**18, files.LAST_TIME, -files.LAST_TIME - 1])
TARGETS = some.sampled_from([b"", b"a", b"b/c", b"../outside", b"/outside", b".."])
ENTRIES = some.builds(
    lambda parent, kind, mode, mtime, size, name, target: (
        files.ENTRY,
        files.ENTRY_HEAD.pack(parent, kind, mode, mtime, size, len(name)) + name + target,
    ),
    *(INDEXES, some.integers(0, 5), MODES, TIMES, SIZES, NAMES, TARGETS),
)
BEGINS = some.builds(lambda *numbers: (files.BEGIN, files.FILE_HEAD.pack(*numbers)), INDEXES, MODES, TIMES, SIZES)
WHOLE = some.builds(lambda index, data, mode: contents(index, data, mode), INDEXES, some.binary(max_size=5), MODES)
SINGLE = some.one_of(
    ENTRIES,
    ENTRIES,
    BEGINS,
    some.sampled_from([ROOT, ABCD, *END, skip(), (files.DATA, b"data"), (files.FAILED, b"x"), (files.FINISH, b"")]),
    some.tuples(some.integers(0, 255), some.binary(max_size=40)),
)
RECORDS = some.lists(some.one_of(SINGLE.map(lambda record: [record]), WHOLE), max_size=12)
FLOODS = RECORDS.map(lambda records: [ROOT, *itertools.chain.from_iterable(records)])


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(records=FLOODS | FLOODS.map(lambda records: records[1:]), is_there=some.booleans())
def test_any_records_end_in_success_or_failure_and_stay_inside(records, is_there):
    with tempfile.TemporaryDirectory() as work:
        top = Path(work)
        (top / "outside").mkdir()
        if is_there:
            (top / "here").mkdir()
            (top / "here/a").write_bytes(b"data")
            (top / "here/b").symlink_to(top / "outside")
        try:
            receive(top, *records)
        except files.Failure:
            pass
        assert os.listdir(top / "outside") == [] and set(os.listdir(top)) <= {"outside", "here"}
        found = [top / "here", *(top / "here").rglob("*")]
        assert not [path for path in found if path.name.startswith(".remoto-")]
        assert not [path for path in found if os.path.lexists(path) and path.lstat().st_mode & 0o7000]


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(records=some.lists(SINGLE | some.tuples(some.integers(11, 15), some.binary(max_size=12)), max_size=8))
def test_any_answers_to_a_sender_end_in_success_or_failure(records):
    class Answers(Script):
        def read(self):
            if not self.records:
                raise files.Failure(b"", 0, "the end of the script")
            return super().read()

    with tempfile.TemporaryDirectory() as work:
        Path(work, "a").touch()
        try:
            files.Sender(Answers(*records), os.fsencode(work)).run()
        except files.Failure:
            pass


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(message=some.binary(max_size=60))
def test_any_message_is_records_or_a_failure(message):
    class Channel:
        def __init__(self):
            self.messages = [message]

        def receive(self, timeout):
            if not self.messages:
                raise EOFError
            return self.messages.pop()

    records = files.Records(Channel())
    total = 0
    with pytest.raises((files.Failure, files.Gone)):
        while True:
            total += files.HEAD.size + len(records.read()[1])
    assert total <= len(message)
