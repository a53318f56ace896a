"""Root file systems for the tests' containers, built on this machine, since there may be no access to a registry.

``python`` is a small Debian with Python 3; ``shell`` is busybox and nothing else. Each is built once and kept as a tar
in REMOTO_TEST_CACHE (by default ~/.cache/remoto-tests), for any number of test runs at the same time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from .lock import alone

#: part of the file names: raise it when machines that have cached files must rebuild them
EDITION = 1

#: seconds for one command of a build
BUILD_TIMEOUT = 900

UNFINISHED = "unfinished-"

#: half of the image, and the vfs driver copies the image for each container
UNNEEDED = ["dev/*", "proc/*", "sys/*", "var/cache/apt/*", "var/lib/apt/lists/*"] + [
    f"usr/share/{name}/*" for name in ("doc", "locale", "man")
]


def named(image: str) -> str | None:
    """Return the image that REMOTO_TEST_IMAGE_PYTHON or REMOTO_TEST_IMAGE_SHELL names; None to build one."""
    return os.environ.get(f"REMOTO_TEST_IMAGE_{image.upper()}") or None


def cache() -> Path:
    """Return the directory of what is built once for all test runs."""
    return Path(os.environ.get("REMOTO_TEST_CACHE") or Path.home() / ".cache" / "remoto-tests")


def _path(image: str) -> Path:
    return cache() / f"{image}-{EDITION}.tar"


def is_built(image: str) -> bool:
    return _path(image).exists()


def tarball(image: str) -> Path:
    """Return the tar of the root file system ``image``; build it if it does not exist yet."""

    def build(work: Path) -> Path:
        root = work / "root"
        root.mkdir()
        BUILDERS[image](root)
        unpacked = [f"--exclude=./{pattern}" for pattern in UNNEEDED]
        run(["tar", "-C", root, *unpacked, "-cf", work / "tar", "."])
        return work / "tar"

    return built_once(_path(image), build)


def built_once(path: Path, build: Callable[[Path], Path]) -> Path:
    """Return a path of the cache; build it if it does not exist yet.

    :param build: is called with a directory to work in; returns what becomes ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.parent / "lock"):
        # left by a build that was killed: no other build runs while this process holds the lock
        for unfinished in path.parent.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished)
        if not path.exists():
            # in the same directory, so that the rename is atomic; an interrupted build leaves nothing incomplete
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=UNFINISHED) as work:
                build(Path(work)).rename(path)
    return path


def _debian(root: Path) -> None:
    uri, release = mirror()
    packages = "python3-minimal,libpython3-stdlib"
    # in its own mount namespace, which takes the mounts of debootstrap with it, even after a failure
    run(["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={packages}", release, root, uri])


def _busybox(root: Path) -> None:
    with tempfile.TemporaryDirectory() as download:
        # download it, since busybox-static conflicts with an installed busybox; as root, since apt's own user may not
        # write here
        run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "busybox-static"], cwd=download)
        (package,) = Path(download).glob("*.deb")
        run(["dpkg-deb", "--extract", package, download])
        (busybox,) = Path(download).glob("**/bin/busybox")
        for directory in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
            (root / directory).mkdir()
        (root / "tmp").chmod(0o1777)
        busybox.rename(root / "bin/busybox")
    for applet in run([root / "bin/busybox", "--list"]).split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")


BUILDERS = {"python": _debian, "shell": _busybox}


def mirror() -> tuple[str, str]:
    """Return the URL of this machine's package archive and the name of its release, from apt's sources."""
    release = run(["sh", "-c", '. /etc/os-release && echo "$VERSION_CODENAME"']).strip()
    targets = run(
        ["apt-get", "indextargets", "--format", "$(COMPONENT) $(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    )
    for component, its_release, uri in map(str.split, targets.splitlines()):
        if (component, its_release) == ("main", release):
            return uri, release
    raise RuntimeError(f"apt has no source for {release} main:\n{targets}")


def run(command: list[str | Path], **keywords: object) -> str:
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
