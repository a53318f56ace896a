"""Root file systems for the tests' containers, built on this machine, since no registry may be in reach.

``python`` is a small Debian with Python 3; ``shell`` is busybox and nothing else. Each is built once and kept as a tar
in REMOTO_TEST_CACHE (by default ~/.cache/remoto-tests), for any number of test runs at the same time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .lock import alone

#: part of the tars' names: raise it when a change here must reach machines that hold the tars of before
EDITION = 1

#: seconds for one command of a build
BUILD_TIMEOUT = 900

UNFINISHED = "unfinished-"

#: half of what debootstrap leaves, and every container of the vfs driver is a copy of all of it
UNNEEDED = ["dev/*", "proc/*", "sys/*", "var/cache/apt/*", "var/lib/apt/lists/*"] + [
    f"usr/share/{name}/*" for name in ("doc", "locale", "man")
]


def named(image: str) -> str | None:
    """Return the image that REMOTO_TEST_IMAGE_PYTHON or REMOTO_TEST_IMAGE_SHELL names in place of one built here."""
    return os.environ.get(f"REMOTO_TEST_IMAGE_{image.upper()}") or None


def _path(image: str) -> Path:
    cache = Path(os.environ.get("REMOTO_TEST_CACHE") or Path.home() / ".cache" / "remoto-tests")
    return cache / f"{image}-{EDITION}.tar"


def is_built(image: str) -> bool:
    return _path(image).exists()


def tarball(image: str) -> Path:
    """Return the tar of the root file system ``image``; build it if it does not exist yet."""
    path = _path(image)
    cache = path.parent
    cache.mkdir(parents=True, exist_ok=True)
    with alone(cache / "lock"):
        # left by a build that was killed: whoever has the lock is the only one who builds
        for unfinished in cache.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished)
        if not path.exists():
            # beside its place, so that the rename is atomic and a build that was interrupted leaves no half of a tar
            with tempfile.TemporaryDirectory(dir=cache, prefix=UNFINISHED) as work:
                root = Path(work, "root")
                root.mkdir()
                BUILDERS[image](root)
                unpacked = [f"--exclude=./{pattern}" for pattern in UNNEEDED]
                _run(["tar", "-C", root, *unpacked, "-cf", Path(work, "tar"), "."])
                Path(work, "tar").rename(path)
    return path


def _debian(root: Path) -> None:
    mirror, release = _mirror()
    packages = "python3-minimal,libpython3-stdlib"
    # in a mount namespace of its own: whatever debootstrap mounts below `root` goes with it, also when it fails
    _run(["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={packages}", release, root, mirror])


def _busybox(root: Path) -> None:
    with tempfile.TemporaryDirectory() as download:
        # downloaded, not installed: busybox-static and busybox conflict. apt's own user may not write here, so it is
        # root
        _run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "busybox-static"], cwd=download)
        (package,) = Path(download).glob("*.deb")
        _run(["dpkg-deb", "--extract", package, download])
        (busybox,) = Path(download).glob("**/bin/busybox")
        for folder in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
            (root / folder).mkdir()
        (root / "tmp").chmod(0o1777)
        busybox.rename(root / "bin/busybox")
    for applet in _run([root / "bin/busybox", "--list"]).split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")


BUILDERS = {"python": _debian, "shell": _busybox}


def _mirror() -> tuple[str, str]:
    """Where this machine's own packages come from, and the name of its release, as apt read them from its sources."""
    release = _run(["sh", "-c", '. /etc/os-release && echo "$VERSION_CODENAME"']).strip()
    targets = _run(
        ["apt-get", "indextargets", "--format", "$(COMPONENT) $(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    )
    for component, its_release, uri in map(str.split, targets.splitlines()):
        if (component, its_release) == ("main", release):
            return uri, release
    raise RuntimeError(f"apt has no source for {release} main:\n{targets}")


def _run(command: list[str | Path], **keywords: object) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_TIMEOUT, **keywords
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    for image in BUILDERS:
        if not named(image):
            print(tarball(image))
