"""A separate environment for each contestant, created once and kept."""

import os
import subprocess
import sys
import venv
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "remoto-benchmarks"

#: by module in peers/: the requirement to install; None for the Python that runs this
CONTESTANTS = {
    "with_remoto": None,
    "without": None,
    "with_old_remoto": "remoto==1.2.1",
    "with_fabric": "fabric==3.2.3",
    "with_parallel_ssh": "parallel-ssh==2.16.0.post1",
    "with_asyncssh": "asyncssh==2.24.1",
    "with_mitogen": "mitogen==0.3.54",
    "with_clush": "ClusterShell==1.10.1",
}
#: contestants for a single host, and for many hosts
SINGLE = [contestant for contestant in CONTESTANTS if contestant != "with_clush"]
FLEET = ["with_remoto", "without", "with_clush", "with_parallel_ssh", "with_fabric", "with_asyncssh"]


def python_for(contestant):
    """Return the Python with the contestant's requirement, which is installed on first use."""
    requirement = CONTESTANTS[contestant]
    if requirement is None:
        return sys.executable
    directory = CACHE / f"{sys.version_info.major}.{sys.version_info.minor}-{requirement}"
    python = directory / "bin" / "python"
    ready = directory / "ready"
    if not ready.exists():
        venv.create(directory, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement], check=True)
        # compile all modules, so that no timed import has to
        subprocess.run([python, "-m", "compileall", "-q", directory / "lib"], stdout=subprocess.DEVNULL)
        ready.touch()
    return str(python)
