"""What a server leaves when its test run is killed: ended and removed by a process that outlives the run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# The end of stdin is the end of whoever started this. What ends in a moment may still write to the directory.
_WAIT_AND_REMOVE = """\
read -r line
[ -e "$0" ] || exit 0
eval "$1"
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  rm -rf -- "$0" && exit 0
  sleep 0.5
done
"""


@contextmanager
def guarded(directory: Path, script: str = "", environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Remove a directory when this process ends in the middle of the block, even by SIGKILL.

    At the end of the block it should have been removed already.

    :param script: lines for /bin/sh that end what uses the directory, which is ``$0`` there.
    :param environment: further variables for them.
    """
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _WAIT_AND_REMOVE, str(directory), script],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
        cwd="/",
        start_new_session=True,
    )
    assert guard.stdin is not None
    try:
        yield
    finally:
        guard.stdin.close()
        guard.wait()
