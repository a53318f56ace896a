"""The errors of transfers."""

from __future__ import annotations

from collections.abc import Sequence

from ..exc import FileTransferError
from ..remote.records import Failure, PeerFailure

#: characters of a path to show in an error; no system accepts longer paths
LONGEST_PATH = 4096


def transfer_error(what: str, host: str, failures: Sequence[Failure]) -> FileTransferError:
    """Return the error for failures of this machine or the remote side."""
    pairs = [(shown(failure.path), failure.text) for failure in failures]
    side = "remote" if isinstance(failures[0], PeerFailure) else "local"
    return FileTransferError(what, host, pairs, failures[0].code, side=side)


def shown(path: bytes) -> str:
    shown = path.decode("utf-8", "backslashreplace")
    return shown if len(shown) <= LONGEST_PATH else f"{shown[:LONGEST_PATH]}..."
