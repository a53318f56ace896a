"""Run commands and Python functions on other machines and in containers, over execnet.

>>> import remoto
>>> from remoto.process import check
>>> with remoto.Connection('localhost') as conn:
...     check(conn, ['echo', 'hello'])
(['hello'], [], 0)
"""

from . import backends, connection, exc, process, util
from .connection import Connection

__all__ = ["Connection", "backends", "connection", "exc", "process", "util"]

__version__ = "2.0.0"
