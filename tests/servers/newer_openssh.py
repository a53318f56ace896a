"""The OpenSSH of a newer Debian, unpacked into a directory: sshd(8) has PerSourcePenalties from 9.8 on.

Its programs use the loader and the libraries of that Debian; all else is this machine's. The directory is made once, by
``python3 -m tests.servers.newer_openssh``, and kept in REMOTO_TEST_CACHE, as the images are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .images import built_once, cache, mirror, run

#: the release of Debian that has OpenSSH 10.0
RELEASE = "trixie"
#: part of the directory's name: raise it to replace directories that an earlier version created
EDITION = 1

PROGRAMS = {
    "ssh": "usr/bin/ssh",
    "sshd": "usr/sbin/sshd",
    "sshd-session": "usr/lib/openssh/sshd-session",
    "sshd-auth": "usr/lib/openssh/sshd-auth",
}


def programs() -> Path:
    """Return the directory of ``ssh`` and ``sshd``, for PATH; it exists if it was prepared."""
    return _path() / "programs"


def prepare() -> Path:
    """Return the directory of ``ssh`` and ``sshd``; make it if it does not exist yet."""
    built_once(_path(), _build)
    return programs()


def _path() -> Path:
    return cache() / f"openssh-{RELEASE}-{EDITION}"


def _build(work: Path) -> Path:
    root = work / "root"
    for package in _downloaded(work):
        run(["dpkg-deb", "--extract", package, root])
    shutil.rmtree(root / "usr/share")
    (loader,) = root.glob("usr/lib/*/ld-linux*.so.*")
    libraries = _path() / loader.parent.relative_to(root)
    for directory in ("programs", "loaders"):
        (root / directory).mkdir()
    for name, path in PROGRAMS.items():
        # the loader's name becomes that of the process
        (root / "loaders" / name).symlink_to(libraries / loader.name)
        script = root / "programs" / name
        script.write_text(
            f"#!/bin/sh\nexec {_path()}/loaders/{name} --library-path {libraries} --argv0 {programs()}/{name} "
            f'{_path()}/{path}{_options(name)} "$@"\n'
        )
        script.chmod(0o755)
    return root


def _options(name: str) -> str:
    """Return the options that tell sshd where its other programs are, which its manual page does not mention."""
    parts = {"Session": "session", "Auth": "auth"} if name == "sshd" else {}
    return "".join(f" -o Sshd{part}Path={programs()}/sshd-{program}" for part, program in parts.items())


def _downloaded(work: Path) -> list[Path]:
    """Download the packages with apt. Its lists of this machine's packages stay as they are."""
    uri, _ = mirror()
    (work / "sources").write_text(f"deb {uri} {RELEASE} main\n")
    (work / "status").touch()
    for directory in ("lists/partial", "packages"):
        (work / directory).mkdir(parents=True)
    settings = {
        # apt's own user may not write here
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Etc::sourcelist": work / "sources",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    run(["apt-get", *options, "update"])
    excluded = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    found = run(["apt-cache", *options, "depends", "--recurse", *excluded, "openssh-server", "openssh-client"])
    names = {name for name in found.splitlines() if name.startswith(("lib", "openssh-", "zlib"))}
    run(["apt-get", *options, "download", *sorted(names)], cwd=work / "packages")
    return list((work / "packages").glob("*.deb"))


if __name__ == "__main__":
    print(prepare())
