"""Split blocks of output into lines."""

from __future__ import annotations


class Lines:
    r"""Join blocks of bytes and split them into lines.

    :param errors: how to decode bytes that are not UTF-8: ``surrogateescape`` keeps them, ``backslashreplace`` escapes
        them.
    :param lone_cr: also end a line at a CR that no LF follows.

    >>> lines = Lines('backslashreplace')
    >>> lines.feed(b'one\ntw')
    ['one']
    >>> lines.feed(b'o\r\nthree')
    ['two']
    >>> lines.end()
    ['three']
    """

    def __init__(self, errors: str, lone_cr: bool = False) -> None:
        self._errors = errors
        self._lone_cr = lone_cr
        self._held_cr = b""  # a CR at the end of a block: the next one may begin with LF
        self._rest: list[bytes] = []

    def feed(self, block: bytes) -> list[str]:
        """Return the lines that this block completes, without newlines."""
        if self._lone_cr:
            block = self._with_newlines_only(block)
        head, newline, tail = block.rpartition(b"\n")
        if not newline:
            self._rest.append(block)
            return []
        self._rest.append(head)
        whole = b"".join(self._rest)
        self._rest = [tail]
        return self._split(whole)

    def end(self) -> list[str]:
        """Return the last line, if no newline ended it."""
        whole = b"".join(self._rest)
        ended = bool(self._held_cr)
        self._rest, self._held_cr = [], b""
        return self._split(whole) if whole or ended else []

    def _with_newlines_only(self, block: bytes) -> bytes:
        block = self._held_cr + block
        if b"\r" not in block:
            return block
        self._held_cr = block[-1:] if block.endswith(b"\r") else b""
        return block[: len(block) - len(self._held_cr)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _split(self, whole: bytes) -> list[str]:
        lines = whole.decode("utf-8", self._errors).split("\n")
        return [line.rstrip("\r") for line in lines] if b"\r" in whole else lines


class Blocks:
    """Return blocks unchanged. Used instead of :class:`Lines` with ``text=False``."""

    def feed(self, block: bytes) -> list[bytes]:
        return [block]

    def end(self) -> list[bytes]:
        return []


def split_lines(data: bytes) -> list[str]:
    r"""Split complete output into lines, at LF, CR LF and lone CR. Bytes that are not UTF-8 become surrogate escapes.

    >>> split_lines(b'10%\r20%\nend')
    ['10%', '20%', 'end']
    """
    lines = Lines("surrogateescape", lone_cr=True)
    return [*lines.feed(data), *lines.end()]
