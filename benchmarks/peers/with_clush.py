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
    # each ssh in its own session, like remoto's: on a busy machine, Linux gives each its share (sched(7), autogroup)
    own_sessions = ["-O", "ssh_path=setsid ssh"]
    subprocess.run(
        # -S: the exit status of the commands
        [clush, "-S", *own_sessions, "-f", str(count), "-o", f"-F {config}", "-w", f"{kind}[0-{count - 1}]", "true"],
        env={**os.environ, "PATH": settings["fleet"]["path"]},
        check=True,
    )
