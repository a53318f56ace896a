"""Control characters in the output of hosts do not reach the terminal."""

import io
import logging
import sys

import pytest

from remoto.log import TerminalFormatter
from remoto.util import escape_controls

HOSTILE = "\x1b]0;title\x07\r\x9b2J\x7f\u202e"
ESCAPED = "\\x1b]0;title\\x07\\r\\x9b2J\\x7f\\u202e"


def test_every_control_character_but_the_tab_is_escaped():
    kept = [chr(number) for number in range(0xA0) if escape_controls(chr(number)) == chr(number)]
    assert kept == ["\t", *map(chr, range(0x20, 0x7F))]
    assert escape_controls(HOSTILE + "\n\0\x85") == ESCAPED + "\\n\\x00\\x85"


def test_characters_that_reorder_or_separate_lines_are_escaped():
    for number in (*range(0x2028, 0x202F), *range(0x2066, 0x206A)):
        assert escape_controls(f"a{chr(number)}b") == f"a\\u{number:04x}b"


@pytest.mark.parametrize("text", ["", "a\tb", "ä€😀", "👩\u200d👩", "می\u200cخواهم", "\xa0\xad", "שלום\u200f", "\\x1b"])
def test_printable_text_is_unchanged(text):
    assert escape_controls(text) == text


def test_surrogates_are_escaped():
    assert escape_controls("\udcff\udc80\ud800\udfff") == "\\xff\\x80\\ud800\\udfff"


@pytest.fixture
def written():
    """Return a logger that has a handler with the formatter, and the stream that the handler writes to."""
    logger = logging.Logger("no\x1bde1")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TerminalFormatter("\x1b[1m%(name)s\x1b[0m %(message)s"))
    logger.addHandler(handler)
    return logger, stream


def test_formatter_escapes_message_and_name_and_keeps_its_format(written):
    logger, stream = written
    logger.info("%s and %s", HOSTILE, "a\nb\tc")
    assert stream.getvalue() == f"\x1b[1mno\\x1bde1\x1b[0m {ESCAPED} and a\nb\tc\n"


def test_formatter_escapes_tracebacks_and_stacks_and_leaves_the_record_unchanged(written):
    logger, stream = written
    records = []
    logger.handlers[0].addFilter(lambda record: records.append(record) or True)
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError:
        logger.exception("failed", stack_info=True)
    text = stream.getvalue()
    assert f"\nRuntimeError: {ESCAPED}\n" in text and "\nTraceback (most recent call last):\n" in text
    assert "\nStack (most recent call last):\n" in text
    # a handler for a file still writes the unescaped text
    (record,) = records
    plain = logging.Formatter().format(record)
    assert HOSTILE in plain and ESCAPED not in plain
    # the same if the other handler came first
    assert TerminalFormatter().format(record).count(ESCAPED) == 1
    assert HOSTILE in logging.Formatter().format(record)


def test_formatter_accepts_a_message_that_is_not_a_string(written):
    logger, stream = written
    logger.info(ValueError("\x1b"))
    logger.info("%(a)s", {"a": "\x1b"})
    assert [line.split(" ")[1] for line in stream.getvalue().splitlines()] == ["\\x1b", "\\x1b"]


def test_formatter_has_the_parameters_of_the_standard_one():
    style = {"validate": True} if sys.version_info < (3, 10) else {"defaults": {"host": "node1"}}
    formatter = TerminalFormatter("{host} {message}" if "defaults" in style else "{message}", None, "{", **style)
    assert formatter.format(logging.makeLogRecord({"msg": "x"})).endswith("x")
