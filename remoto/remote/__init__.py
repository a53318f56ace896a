"""Source that is sent to the remote side: it imports nothing of remoto, and it is read as text.

Nothing here imports it, save ``files``, whose two ends are the same on both sides, and what ``module`` packs.

It runs on Python 2.7 and 3.5 to 3.14 with the standard library alone.
"""

from __future__ import annotations

import os
import re

_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_DOCSTRING = re.compile(r'(\A|:\n)([ \t]*)r?"""(?:[^"\\]|\\.|"(?!""))*"""$', re.MULTILINE | re.DOTALL)


def source(name: str) -> str:
    """Return the code of the file ``NAME.py`` of this directory, also out of a zip."""
    return without_comments(text(name + ".py"))


def without_comments(code: str) -> str:
    """Return Python code without its docstrings and comments of a line, which need not travel. Each line keeps its number.

    >>> without_comments('# why\\nx = 1\\n')
    '\\nx = 1\\n'
    """
    code = _DOCSTRING.sub(lambda found: f'{found[1]}{found[2]}""' + "\n" * found[0][len(found[1]) :].count("\n"), code)
    return _COMMENT.sub("", code)


def text(filename: str) -> str:
    """Return the text of a file of this directory."""
    assert __spec__ is not None
    # the loader may be zipimport's; pkgutil does the same and takes as long to import as all of remoto
    data: bytes = __spec__.loader.get_data(os.path.join(os.path.dirname(__file__), filename))  # type: ignore[union-attr]
    return data.decode("utf-8")
