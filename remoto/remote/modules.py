"""RUNS ON THE REMOTE SIDE: keep modules loaded."""

from __future__ import absolute_import, unicode_literals

import threading

from .answers import CLOSED
from .capture import Printed, capture, guarded
from .exceptions import describe
from .including import include
from .loading import load

LOCK = threading.Lock()


class KeptModule(object):
    """A module, or why it could not be loaded. The first call loads it, and may arrive before the source."""

    def __init__(self):
        self.has_source = threading.Event()
        self.is_loaded = threading.Event()
        self.load = None
        self.waiting = []  # an event for each keep() that waits until the module is loaded
        self.loading = False
        self.module = None
        self.problem = None

    def claim(self):
        """Return True to the first call, which must load the module."""
        with LOCK:
            claimed, self.loading = self.loading, True
        return not claimed


MODULES = {}  # type: dict


def kept_module(number):
    with LOCK:
        return MODULES.setdefault(number, KeptModule())


def keep(channel, number, module, included, parents, dropped=()):
    """Keep the source of a module for its first call, which loads it; send the module's output.

    :param dropped: numbers of modules that will not be called again.
    """
    for other in dropped:
        MODULES.pop(other, None)
    kept = kept_module(number)

    def loading():
        if included or parents:
            include(included, parents, module[0])
        kept.module = load(module)

    def load_and_report():
        try:
            capture()
            _, kept.problem = guarded(Printed(channel), loading)
        except:  # noqa: E722  a signal handler's, for instance
            kept.problem = describe()
            raise
        finally:
            kept.is_loaded.set()
            for event in kept.waiting:
                event.set()

    kept.load = load_and_report
    kept.has_source.set()
    ended = threading.Event()
    kept.waiting.append(ended)
    channel.setcallback(lambda item: ended.set(), endmarker=CLOSED)
    if not kept.is_loaded.is_set():
        ended.wait()
