"""Run commands and Python functions on other machines and in containers, over execnet.

>>> import remoto
>>> from remoto.process import check
>>> with remoto.Connection('localhost') as conn:
...     check(conn, ['echo', 'hello'])
(['hello'], [], 0)
"""

from . import backends, connection, exc, file_sync, process, util
from .connection import Connection
from .file_sync import rsync

__all__ = ["Connection", "backends", "connection", "exc", "file_sync", "process", "rsync", "util"]

__version__ = "2.0.0"
