"""The list of a source, shared by several transfers at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Callable

from ..remote.sources import Page, Scan
from .arguments import Path, local_path


class Listing:
    """List a source once for several transfers, for instance to many hosts.

    The first transfer that needs a page of the list reads it; the others get it from memory. So all transfers send the
    files that were listed: a file removed later is an error, and a new file is not sent.

    It needs about 200 bytes for each file, and 16 more for each transfer. After unpickling, as by an executor,
    the source is listed again.

    :param source: a path.
    :param accept: called with the path of each entry of a directory; returns False to skip it.
    """

    def __init__(self, source: Path, accept: Callable[[bytes], bool] | None = None) -> None:
        self._source = source
        self._scan = Scan(local_path("source", source), accept)  # type: ignore[no-untyped-call]
        self._unread: Iterator[Page] = self._scan.pages()  # type: ignore[no-untyped-call]
        self._pages: list[Page] = []
        self._ended = False
        self._error: BaseException | None = None
        self._reading = threading.Lock()

    @property
    def root_length(self) -> int:
        return int(self._scan.root_length)

    def pages(self) -> Iterator[Page]:
        number = 0
        while self._has(number):
            yield self._pages[number]
            number += 1

    def _has(self, number: int) -> bool:
        """Return True if the page of that number exists; read it if it is the next one."""
        with self._reading:
            if number == len(self._pages) and not self._ended:
                self._read()
            return number < len(self._pages)

    def _read(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        try:
            self._pages.append(next(self._unread))
        except StopIteration:
            self._ended = True
        except BaseException as error:
            # keep it for the other transfers, since a failed generator ends as if the list were complete
            self._error = error
            raise

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._source,)
