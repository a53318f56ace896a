"""Blocks of bytes of any size are split into lines."""

import pytest

from remoto.commands.lines import Lines, split_lines
from remoto.log import basic_remote_logger

DATA = "one\n\ntwo\r\nä€😀\nlast".encode() + b"\xff"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_blocks_of_any_size_give_the_same_lines(size):
    lines = Lines("surrogateescape")
    found = [line for place in range(0, len(DATA), size) for line in lines.feed(DATA[place : place + size])]
    assert [*found, *lines.end()] == ["one", "", "two", "ä€😀", "last\udcff"] == split_lines(DATA)
    assert lines.end() == []


def test_lines_end_at_lf_cr_lf_or_cr():
    assert split_lines(b"10%\r20%\r\nend\n") == ["10%", "20%", "end"]
    assert split_lines(b"") == [] and split_lines(b"\n") == [""] and split_lines(b"\n\n") == ["", ""]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("data", [b"10%\r20%\r\n\r\nend\n\r\r", b"\r", b"one\r", b"\r\n", b"\n\r\n\rlast"])
def test_lone_crs_end_lines_in_blocks_of_any_size(size, data):
    lines = Lines("surrogateescape", lone_cr=True)
    found = [line for place in range(0, len(data), size) for line in lines.feed(data[place : place + size])]
    assert [*found, *lines.end()] == data.decode().splitlines() == split_lines(data)
    assert lines.end() == []


def test_default_logger_is_at_debug_unless_its_level_was_set():
    import logging

    assert logging.getLogger().handlers  # pytest's
    logging.getLogger("quiet-host").setLevel(logging.ERROR)
    for name, level in (("some-host", logging.DEBUG), ("quiet-host", logging.ERROR)):
        logger = basic_remote_logger(name)
        assert (logger.name, logger.level, logger.handlers) == (name, level, [])


UNCONFIGURED = """
import logging
from remoto.log import basic_remote_logger

application = logging.getLogger("application")
application.addHandler(logging.StreamHandler())
logging.getLogger("careful").setLevel(logging.ERROR)
for name in ("node1", "node1", "careful"):
    basic_remote_logger(name).debug("one of %s", name)
application.warning("once")
logging.basicConfig(format="later %(message)s", level=logging.INFO)
basic_remote_logger("node1").info("two")
basic_remote_logger("node1").debug("three")
"""


def test_default_logger_stops_writing_to_stderr_once_logging_is_configured():
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", UNCONFIGURED], capture_output=True, text=True, timeout=30)
    assert done.stderr.splitlines() == ["DEBUG:node1:one of node1"] * 2 + ["once", "later two", "later three"]
