"""RUNS ON THE REMOTE SIDE: keep modules loaded."""

from __future__ import absolute_import, unicode_literals

import threading

from .answers import CLOSED
from .capture import Printed, capture, guarded
from .exceptions import describe
from .including import include
from .loading import load

LOCK = threading.Lock()


class Held(object):
    """A module, or the reason why it could not be loaded. The first call loads it, and may arrive before its source."""

    def __init__(self):
        self.has_text = threading.Event()
        self.is_loaded = threading.Event()
        self.load = None
        self.holders = []  # an event for each hold() that waits until the module is loaded
        self.loading = False
        self.module = None
        self.problem = None

    def claim(self):
        """Return True to the first call, which must load the module."""
        with LOCK:
            claimed, self.loading = self.loading, True
        return not claimed


HELD = {}  # type: dict


def held(number):
    with LOCK:
        return HELD.setdefault(number, Held())


def hold(channel, number, module, included, parents, dropped=()):
    """Keep the source of a module for its first call, which loads it; send the module's output.

    :param dropped: numbers of modules that will not be called again.
    """
    for other in dropped:
        HELD.pop(other, None)
    mine = held(number)

    def loading():
        if included or parents:
            include(included, parents, module[0])
        mine.module = load(module)

    def load_it():
        try:
            capture()
            _, mine.problem = guarded(Printed(channel), loading)
        except:  # noqa: E722  a signal handler's, for instance
            mine.problem = describe()
            raise
        finally:
            mine.is_loaded.set()
            for waiting in mine.holders:
                waiting.set()

    mine.load = load_it
    mine.has_text.set()
    ended = threading.Event()
    mine.holders.append(ended)
    channel.setcallback(lambda item: ended.set(), endmarker=CLOSED)
    if not mine.is_loaded.is_set():
        ended.wait()
