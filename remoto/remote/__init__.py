"""Source that is sent to the remote side, read as text. It imports nothing of remoto.

This side imports only ``files``, since a transfer has the same code on both sides, and ``module``, for ``pack`` and ``unpack``.

It runs on Python 2.7 and 3.5 to 3.14, with only the standard library.
"""

from __future__ import annotations

import os
import re

_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_DOCSTRING = re.compile(r'(\A|:\n)([ \t]*)r?"""(?:[^"\\]|\\.|"(?!""))*"""$', re.MULTILINE | re.DOTALL)


def source(name: str) -> str:
    """Return the code of ``NAME.py`` in this directory, also from a zip file."""
    return without_comments(text(name + ".py"))


def without_comments(code: str) -> str:
    """Return Python code without docstrings and whole-line comments, so that less is sent. Lines keep their numbers.

    >>> without_comments('# why\\nx = 1\\n')
    '\\nx = 1\\n'
    """
    code = _DOCSTRING.sub(lambda found: f'{found[1]}{found[2]}""' + "\n" * found[0][len(found[1]) :].count("\n"), code)
    return _COMMENT.sub("", code)


def text(filename: str) -> str:
    """Return the text of a file in this directory."""
    assert __spec__ is not None
    # as pkgutil.get_data() does, also from a zip file; importing pkgutil takes as long as importing remoto
    data: bytes = __spec__.loader.get_data(os.path.join(os.path.dirname(__file__), filename))  # type: ignore[union-attr]
    return data.decode("utf-8")
