"""clush, of ClusterShell, over ssh(1)."""

import os
import subprocess
import sys
from pathlib import Path

from common import settings

DISTRIBUTION = "ClusterShell"


def fleet(kind):
    count, config = settings["fleet"]["hosts"], settings["fleet"]["config"]
    clush = Path(sys.executable).with_name("clush")
    subprocess.run(
        # -S: the exit status of the commands
        [clush, "-S", "-f", str(count), "-o", f"-F {config}", "-w", f"{kind}[0-{count - 1}]", "true"],
        env={**os.environ, "PATH": settings["fleet"]["path"]},
        check=True,
    )
