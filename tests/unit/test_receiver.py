"""``get`` writes nothing outside its destination, whatever the remote side sends."""

import errno
import itertools
import os
import stat
import struct
import tempfile
from pathlib import Path

import pytest

from remoto.remote.filesystem import new_directory, remove
from remoto.remote.receiver import Receiver
from remoto.remote.records import (
    ACKNOWLEDGED,
    BEGIN,
    BLOCK,
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
    HEAD,
    LAST_TIME,
    LINK,
    LISTED,
    NO_PARENT,
    NO_SIZE,
    SKIP,
    STREAM,
    WANTED,
    ChannelClosed,
    Failure,
    Records,
    times,
)
from remoto.remote.sender import Sender


class Script:
    """Return records that a hostile sender might send."""

    block_size = BLOCK
    size = unacknowledged = 0

    def __init__(self, *records):
        self.records = [*records]

    def read(self):
        return self.records.pop(0)

    def write(self, kind, data=b""):
        pass

    def append(self, records):
        pass

    def flush(self):
        pass


def entry(parent, kind, name, target=b"", mode=0o755, size=0):
    return ENTRY, ENTRY_HEAD.pack(parent, kind, mode, 0, size, len(name)) + name + target


ROOT = entry(NO_PARENT, DIRECTORY, b"")


def contents(index, data, mode=0o644):
    import hashlib

    return [
        (BEGIN, FILE_HEAD.pack(index, mode, 0, len(data))),
        (DATA, data),
        (END, hashlib.sha256(data).digest()),
    ]


LAST = [(LISTED, b""), (FINISH, b"complete")]


def receive(directory, *records, end=LAST):
    receiver = Receiver(Script(*records, *end), os.fsencode(directory / "here"), b"", confine=True)
    receiver.run()
    return receiver


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "outside").mkdir()
    yield tmp_path
    assert os.listdir(tmp_path / "outside") == []
    assert set(os.listdir(tmp_path)) <= {"outside", "here"}


@pytest.mark.parametrize("name", [b"..", b".", b"", b"../outside/x", b"a/b", b"/etc/x", b"a\0b", b"../x"])
@pytest.mark.parametrize("kind", [FILE, DIRECTORY, LINK])
def test_unsafe_names_are_refused(directory, name, kind):
    with pytest.raises(Failure, match="refused"):
        receive(directory, ROOT, entry(0, kind, name, b"x"), *contents(1, b"bad"))


@pytest.mark.parametrize(
    "target", [b"/etc/passwd", b"../outside", b"..", b"a/../../outside", b"./../outside", b"", b"a\0b", b"/"]
)
def test_links_that_point_outside_are_skipped(directory, target):
    """They are skipped and reported; the rest is received."""
    file = entry(0, FILE, b"file", size=4)
    receiver = receive(directory, ROOT, entry(0, LINK, b"link", target), file, *contents(2, b"data"))
    (failure,) = receiver.failures
    assert failure.path == os.fsencode(directory / "here/link") and failure.text.startswith(
        "refused: a link that points out"
    )
    assert failure.text.endswith(f", to {target.decode()}")
    assert not os.path.lexists(directory / "here/link") and (directory / "here/file").read_bytes() == b"data"


def test_links_that_point_inside_are_created(directory):
    inner = entry(0, DIRECTORY, b"inner")
    receive(directory, ROOT, inner, entry(1, LINK, b"up", b"../file"), entry(0, LINK, b"down", b"inner/x"))
    assert os.readlink(directory / "here/inner/up") == "../file"
    assert os.readlink(directory / "here/down") == "inner/x"


def test_file_below_a_sent_link_is_refused(directory):
    link = entry(0, LINK, b"link", b"inner")
    with pytest.raises(Failure, match="refused"):
        receive(directory, ROOT, link, entry(1, FILE, b"x", size=3), *contents(2, b"bad"))


def test_name_sent_twice_is_refused(directory):
    with pytest.raises(Failure, match="refused"):
        receive(directory, ROOT, entry(0, DIRECTORY, b"a"), entry(0, LINK, b"a", b"x"))


def test_existing_link_is_not_followed(directory):
    (directory / "here").mkdir()
    (directory / "here/inner").symlink_to(directory / "outside")
    file = entry(1, FILE, b"x", size=4)
    receive(directory, ROOT, entry(0, DIRECTORY, b"inner"), file, *contents(2, b"data"))
    assert not (directory / "here/inner").is_symlink() and (directory / "here/inner/x").read_bytes() == b"data"


@pytest.mark.root
def test_owner_of_the_target_of_a_link_is_not_copied(directory):
    (directory / "here").mkdir()
    (directory / "here/other").touch()
    (directory / "here/x").symlink_to("other")
    os.chown(directory / "here/other", 12, 34)
    receive(directory, ROOT, entry(0, FILE, b"x", size=4), *contents(1, b"data"))
    assert (directory / "here/x").lstat().st_uid == os.getuid() and (directory / "here/other").stat().st_size == 0


def test_link_as_the_first_entry_is_refused(directory):
    with pytest.raises(Failure, match="refused"):
        receive(directory, entry(NO_PARENT, LINK, b"", b"outside"))


def test_file_that_was_not_requested_is_refused(directory):
    with pytest.raises(Failure, match="refused"):
        receive(directory, ROOT, *contents(7, b"data"))
    with pytest.raises(Failure, match="refused"):
        receive(directory, ROOT, (DATA, b"data"))


@pytest.mark.parametrize("already_there", [False, True])
def test_set_id_and_sticky_bits_are_dropped(directory, already_there):
    """Not even if the file is unchanged, and only its mode is set."""
    tree = [
        entry(NO_PARENT, DIRECTORY, b"", mode=0o7755),
        entry(0, DIRECTORY, b"directory", mode=0o7750),
        entry(0, FILE, b"file", mode=0o7640, size=4),
    ]
    if already_there:
        (directory / "here").mkdir(0o755)
        (directory / "here/file").write_bytes(b"data")
        os.utime(directory / "here/file", (0, 0))
        receive(directory, *tree)
    else:
        receive(directory, *tree, *contents(2, b"data", mode=0o7640))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.glob("here/**")}
    modes.update((path.name, stat.S_IMODE(path.stat().st_mode)) for path in directory.glob("here/*"))
    assert modes == {"here": 0o755, "directory": 0o750, "file": 0o640}


def test_damaged_contents_are_refused(directory):
    begin, data, _ = contents(1, b"data")
    with pytest.raises(Failure, match="damaged"):
        receive(directory, ROOT, entry(0, FILE, b"x", size=4), begin, data, (END, b"\0" * 32))
    with pytest.raises(Failure, match="damaged"):
        receive(directory, ROOT, entry(0, FILE, b"x", size=9), *contents(1, b"data")[:1], *contents(1, b"dat")[1:])
    assert not (directory / "here").exists()


ABCD = entry(0, FILE, b"x", size=4)
BROKEN_OFF = {
    "not sent": [ROOT, ABCD, *LAST],
    "the end not sent": [ROOT, ABCD, *contents(1, b"data")[:2], *LAST],
    "nothing": LAST,
    "no list": [ROOT, (FINISH, b"complete")],
    "more missing than skipped": [ROOT, ABCD, LAST[0], (FINISH, b"")],
}


@pytest.mark.parametrize("records", BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_missing_files_raise_an_error(directory, records):
    with pytest.raises(Failure, match="ended before all files were received"):
        receive(directory, *records, end=[])
    assert not (directory / "here").exists()


def test_file_skipped_with_a_reason_does_not_count_as_missing(directory):
    skip = (SKIP, Failure(b"/there/x", 13, "Permission denied").pack())
    receiver = receive(directory, ROOT, ABCD, LAST[0], skip, (FINISH, b""), end=[])
    assert [failure.text for failure in receiver.failures] == ["Permission denied"]


def skip(path=b"/there/x", text="Permission denied"):
    return SKIP, Failure(path, errno.EACCES, text).pack()


def test_more_skipped_files_than_requested_are_refused(directory):
    with pytest.raises(Failure, match="more files were skipped than were requested"):
        receive(directory, ROOT, ABCD, LAST[0], skip(), skip(), (FINISH, b""), end=[])


def test_endless_records_of_skipped_files_are_refused(directory):
    flood = itertools.repeat(skip(text="x" * 1_000_000))
    with pytest.raises(Failure, match="too many files can't be read"):
        receive(directory, ROOT, *itertools.islice(flood, 18))


def test_more_data_than_announced_is_refused_at_once(directory):
    begin, data, _ = contents(1, b"data")
    script = Script(ROOT, ABCD, LAST[0], begin, data, *[(DATA, b"x" * 1000)] * 1000)
    with pytest.raises(Failure, match="more data than its size"):
        Receiver(script, os.fsencode(directory / "here"), b"", confine=True).run()
    assert len(script.records) == 999


MALFORMED = {
    "a short entry": [(ENTRY, b"x")],
    "a short file": [ROOT, ABCD, (BEGIN, b"x")],
    "a short failure": [(SKIP, b"x")],
    "an unknown kind": [(99, b"x")],
    "an entry of unknown kind": [ROOT, entry(0, 9, b"x")],
    "a stream in a directory": [ROOT, entry(0, STREAM, b"x")],
    "a stream in place of all": [entry(NO_PARENT, STREAM, b"")],
    "a directory of mode 0xFFFF": [ROOT, entry(0, DIRECTORY, b"x", mode=0xFFFF)],
    "a listed file of mode 0xFFFF": [ROOT, entry(0, FILE, b"x", mode=0xFFFF)],
    "a sent file of mode 0xFFFF": [ROOT, ABCD, *contents(1, b"data", mode=0xFFFF)],
    "a name that is cut short": [ROOT, (ENTRY, entry(0, FILE, b"name")[1][:-1])],
    "a failure that is cut short": [(SKIP, Failure(b"path", 0, "").pack()[:-1])],
    "an entry behind the list": [ROOT, LAST[0], entry(0, FILE, b"x")],
    "the list ends twice": [ROOT, LAST[0], LAST[0]],
    "an answer in place of a record": [ROOT, (WANTED, b"")],
}


@pytest.mark.parametrize("records", MALFORMED.values(), ids=MALFORMED)
def test_malformed_records_are_reported(directory, records):
    with pytest.raises(Failure, match="malformed answer"):
        receive(directory, *records)


@pytest.mark.parametrize("answer", [7, None, {}, [], 1.5, "€", b"x", HEAD.pack(ENTRY, 1000) + b"x"], ids=repr)
def test_malformed_messages_are_reported(answer):
    class Channel:
        def receive(self, timeout):
            return answer

    with pytest.raises(Failure, match="malformed answer"):
        Records(Channel()).read()


def numbers(*values):
    return struct.pack(f"!{len(values)}I", *values)


@pytest.mark.parametrize(
    "record",
    [
        (WANTED, b"x"),
        (WANTED, numbers(0)),
        (WANTED, numbers(9)),
        (WANTED, numbers(1, 1)),
        (WANTED, numbers(2, 1)),
        (ACKNOWLEDGED, b""),
        (ACKNOWLEDGED, numbers(1)),
        (DONE, b""),
        (DATA, b""),
        (FAILED, b""),
    ],
    ids=repr,
)
def test_malformed_answers_to_a_sender_are_reported(tmp_path, record):
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    with pytest.raises(Failure, match="malformed answer"):
        Sender(Script(record), os.fsencode(tmp_path)).run()


@pytest.mark.parametrize("kind", [FILE, DIRECTORY, LINK])
def test_fifo_is_not_replaced(directory, kind):
    (directory / "here").mkdir()
    os.mkfifo(directory / "here/x")
    with pytest.raises(Failure, match="is a device, FIFO or socket") as caught:
        receive(directory, ROOT, entry(0, kind, b"x", b"target", size=4))
    assert caught.value.code == errno.EINVAL and stat.S_ISFIFO((directory / "here/x").lstat().st_mode)


def test_directory_replaces_a_file_at_the_end(directory):
    (directory / "here").mkdir()
    (directory / "here/x").write_bytes(b"old")
    tree = [ROOT, entry(0, DIRECTORY, b"x", mode=0o750), entry(1, FILE, b"y", size=4)]
    with pytest.raises(Failure):
        receive(directory, *tree, *contents(2, b"evil")[:2], (END, b"\0" * 32))
    assert os.listdir(directory / "here") == ["x"] and (directory / "here/x").read_bytes() == b"old"
    receive(directory, *tree, *contents(2, b"data"))
    assert os.listdir(directory / "here") == ["x"] and (directory / "here/x/y").read_bytes() == b"data"
    assert stat.S_IMODE((directory / "here/x").stat().st_mode) == 0o750


def test_deep_directories_are_removed(tmp_path):
    (tmp_path / "deep").mkdir()
    here = os.getcwd()
    try:
        os.chdir(tmp_path / "deep")
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    remove(os.fsencode(tmp_path / "deep"))
    assert os.listdir(tmp_path) == []


def test_removing_a_missing_file_succeeds(tmp_path):
    remove(os.fsencode(tmp_path / "gone"))


def test_times_beyond_the_largest_fit_a_record(tmp_path):
    (tmp_path / "x").touch()
    for seconds in (20_000_000_000, -20_000_000_000):
        try:
            os.utime(tmp_path / "x", (seconds, seconds))
        except OverflowError:
            continue
        ENTRY_HEAD.pack(0, 1, 0, times(os.stat(tmp_path / "x")), 0, 0)


@pytest.mark.parametrize("with_parents", [False, True])
def test_new_directory_accepts_one_that_another_host_made(directory, with_parents):
    made_by_the_other = directory / "here"
    made_by_the_other.mkdir()
    status = new_directory(os.fsencode(made_by_the_other), with_parents)
    assert stat.S_ISDIR(status.st_mode)


@pytest.mark.parametrize("with_parents", [False, True])
def test_new_directory_fails_for_a_link_that_another_host_made(directory, with_parents):
    (directory / "here").symlink_to(directory / "outside")
    with pytest.raises(OSError, match="File exists") as caught:
        new_directory(os.fsencode(directory / "here"), with_parents)
    assert caught.value.errno == errno.EEXIST


# arbitrary input

hypothesis = pytest.importorskip("hypothesis")
some = hypothesis.strategies

NAMES = some.sampled_from([b"a", b"b", b"c", b"", b".", b"..", b"a/b", b"/x", b"a\0b", b"../outside/x", b"x" * 300])
INDEXES = some.sampled_from([0, 1, 2, 3, 4, NO_PARENT])
MODES = some.sampled_from([0o644, 0o755, 0o4755, 0o7777, 0o000, 0x7FFF, 0xFFFF])
SIZES = some.sampled_from([0, 4, 5, 2**40, NO_SIZE])
TIMES = some.sampled_from([0, -1, 10**18, LAST_TIME, -LAST_TIME - 1])
TARGETS = some.sampled_from([b"", b"a", b"b/c", b"../outside", b"/outside", b".."])
ENTRIES = some.builds(
    lambda parent, kind, mode, mtime, size, name, target: (
        ENTRY,
        ENTRY_HEAD.pack(parent, kind, mode, mtime, size, len(name)) + name + target,
    ),
    *(INDEXES, some.integers(0, 5), MODES, TIMES, SIZES, NAMES, TARGETS),
)
BEGINS = some.builds(lambda *numbers: (BEGIN, FILE_HEAD.pack(*numbers)), INDEXES, MODES, TIMES, SIZES)
WHOLE = some.builds(lambda index, data, mode: contents(index, data, mode), INDEXES, some.binary(max_size=5), MODES)
SINGLE = some.one_of(
    ENTRIES,
    ENTRIES,
    BEGINS,
    some.sampled_from([ROOT, ABCD, *LAST, skip(), (DATA, b"data"), (FAILED, b"x"), (FINISH, b"")]),
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
        except Failure:
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
                raise Failure(b"", 0, "the end of the script")
            return super().read()

    with tempfile.TemporaryDirectory() as work:
        Path(work, "a").touch()
        try:
            Sender(Answers(*records), os.fsencode(work)).run()
        except Failure:
            pass


@pytest.mark.parametrize("size", [BLOCK, BLOCK - 1])
def test_file_that_is_not_ready_is_an_error_and_not_old_data(size):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb", 0) as file, open(writer, "wb", 0), pytest.raises(BlockingIOError):
        Records(None).block(file, size)


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

    records = Records(Channel())
    total = 0
    with pytest.raises((Failure, ChannelClosed)):  # noqa: PT012  # some read of several raises it
        while True:
            total += HEAD.size + len(records.read()[1])
    assert total <= len(message)
