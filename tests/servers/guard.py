"""Clean up after a server whose test run was killed, by a process that outlives the run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# At EOF on stdin, the test run has ended. Processes that are ending may still write to the directory.
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
    """Remove a directory if this process ends during the block, even by SIGKILL.

    The block itself must remove the directory before it ends.

    :param script: lines for /bin/sh that kill the processes that use the directory; ``$0`` is the directory.
    :param environment: additional variables for these lines.
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
