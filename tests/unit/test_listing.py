"""A list of a source that several transfers share; tests/integration/test_group_files.py shows that it is read once."""

import os
import pickle
import threading

import pytest

from remoto.files.listing import Listing
from remoto.remote.records import Failure


@pytest.fixture
def tree(tmp_path):
    # names of this length fill several pages
    for number in range(900):
        (tmp_path / f"{number:0200}").write_text("a" * (number % 3))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "last").mkdir()
    return tmp_path


def contents(listing):
    pages = list(listing.pages())
    listed = [path and os.path.basename(path) for page in pages for path in page.paths]
    return b"".join(page.records for page in pages), listed, [str(one) for page in pages for one in page.failures]


def test_transfers_at_the_same_time_have_the_whole_list(tree):
    expected = contents(Listing(tree))
    assert len(expected[1]) == 902 and len(expected[2]) == 1
    listing, found, start = Listing(tree), [], threading.Barrier(8)

    def read():
        start.wait(20)
        found.append(contents(listing))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [expected] * 8


def test_a_list_is_read_as_far_as_a_transfer_needs_it_and_then_kept(tree):
    listing = Listing(tree)
    first = listing.pages()
    page = next(first)
    (tree / "last" / "new").touch()
    assert next(listing.pages()) is page
    known = contents(listing)
    assert b"new" in known[1]
    (tree / "last" / "newer").touch()
    assert contents(listing) == known
    assert len(list(first)) == len(list(listing.pages())) - 1 > 1


def test_an_error_is_that_of_every_transfer(tree):
    calls = []

    def accept(path):
        calls.append(path)
        if len(calls) == 800:
            raise ValueError("a filter that fails")
        return True

    listing = Listing(tree, accept)
    for _ in range(2):
        with pytest.raises(ValueError, match="a filter that fails"):
            contents(listing)
    missing = Listing(tree / "missing")
    for _ in range(2):
        with pytest.raises(Failure, match="No such file"):
            contents(missing)


def test_another_process_lists_the_source_anew(tree):
    listing = Listing(tree)
    contents(listing)
    (tree / "new").touch()
    assert b"new" in contents(pickle.loads(pickle.dumps(listing)))[1]
