"""Source that is sent to the far side: it imports nothing of remoto, and it is read as text.

Nothing here imports it, save ``files``, whose two ends are the same on both sides, and what ``module`` packs.

It runs on Python 2.7 and 3.5 to 3.14 with the standard library alone.
"""

from __future__ import annotations

import os


def source(name: str) -> str:
    """The text of the file ``NAME.py`` of this folder, also out of a zip."""
    return text(name + ".py")


def text(filename: str) -> str:
    """The text of any file of this folder."""
    assert __spec__ is not None
    # the loader may be zipimport's; pkgutil does the same and takes as long to import as all of remoto
    data: bytes = __spec__.loader.get_data(os.path.join(os.path.dirname(__file__), filename))  # type: ignore[union-attr]
    return data.decode("utf-8")
