"""RUNS ON THE REMOTE SIDE: signal, without its enums, which take as long as compiling a fifth of execnet's source."""

from __future__ import absolute_import, unicode_literals

__all__ = ["signal"]

try:
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:
    import signal  # Python 2
