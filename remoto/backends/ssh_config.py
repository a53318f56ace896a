"""What ssh's configuration says of a host: its keepalive, and the jump host on the way.

``ssh -G`` answers both, but costs a process for each host. It is asked only if a configuration file has a keyword that
matters.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ..gateways.interrupts import uninterrupted

#: Match may set any of the others, and may run programs
_KEYWORDS = re.compile(rb"^\s*(match|proxyjump|proxycommand|serveraliveinterval)\b", re.IGNORECASE | re.MULTILINE)
_INCLUDE = re.compile(rb"^\s*include\s+(.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_OPTIONS = re.compile(r"proxyjump|proxycommand|serveraliveinterval|(^| )-J", re.IGNORECASE)
_FILE = re.compile(r"-[46AaCfGgKkMNnqsTtVvXxYy]*F(.*)", re.DOTALL)
SYSTEM = "/etc/ssh/ssh_config"
#: ssh follows includes to this depth (readconf.c, READCONF_MAX_DEPTH)
_DEPTH = 16


class Configuration(NamedTuple):
    """The settings that matter here.

    :ivar keepalive: ServerAliveInterval in seconds; 0 for none.
    :ivar jump: the first jump host, or the ProxyCommand; empty for a direct connection.
    """

    keepalive: int = 0
    jump: str = ""


# by ssh's arguments: a program may connect to the same host many times
_known: dict[tuple[str, ...], Configuration] = {}


def configuration(words: Sequence[str]) -> Configuration | None:
    """Return what ssh's configuration says of a host; None if ssh can't tell.

    :param words: ssh's options, then the host.
    """
    known = _known.get(tuple(words))
    if known is None:
        known = _asked(words) if _must_ask(words) else Configuration()
        if known is not None:
            _known[tuple(words)] = known
    return known


def _must_ask(words: Sequence[str]) -> bool:
    """Return True if an option or a configuration file has a keyword that matters, or can't be read here."""
    return bool(_OPTIONS.search(" ".join(words[:-1]))) or _is_script() or any(map(_matters, _files(words[:-1])))


def _is_script() -> bool:
    """Return True if ``ssh`` is a program's own script, which may name another configuration file."""
    path = shutil.which("ssh")
    try:
        with open(path or os.devnull, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def _files(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield ssh's configuration files, each with the directory of its includes."""
    own = os.path.join(_home(), ".ssh")
    for number, word in enumerate(options):
        found = _FILE.fullmatch(word)
        if found:
            yield found[1] or "".join(options[number + 1 : number + 2]), own
            return
    yield os.path.join(own, "config"), own
    yield SYSTEM, os.path.dirname(SYSTEM)


def _home() -> str:
    """Return the user's home directory as ssh finds it, which does not look at HOME."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # ssh does not run for a user without an entry
        return os.path.expanduser("~")


def _matters(file: tuple[str, str], depth: int = 0) -> bool:
    path, directory = file
    try:
        with open(path, "rb") as lines:
            text = lines.read()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    if _KEYWORDS.search(text) or depth > _DEPTH:
        return True
    for line in _INCLUDE.findall(text):
        names = os.fsdecode(line)
        if re.search(r"[%$\"'\\]|(^|\s)~[^/]", names):  # tokens and quotes, which ssh expands
            return True
        for name in names.split():
            pattern = os.path.join(directory, re.sub("^~(?=/)", lambda _: _home(), name))
            if any(_matters((included, directory), depth + 1) for included in glob.glob(pattern)):
                return True
    return False


def _asked(words: Sequence[str]) -> Configuration | None:
    import subprocess

    try:
        answer = uninterrupted(partial(_answer, words)).decode("utf-8", "surrogateescape")
    except (OSError, subprocess.TimeoutExpired):
        return None  # the ssh that connects will report why
    keepalive = re.search(r"^serveraliveinterval (\d+)$", answer, re.MULTILINE)
    jump = re.search(r"^proxyjump ([^,\n]+)", answer, re.MULTILINE)
    command = re.search(r"^proxycommand (.+)$", answer, re.MULTILINE)
    if not keepalive:
        return None
    way = next((found[1] for found in (jump, command) if found and found[1] != "none"), "")
    return Configuration(int(keepalive[1]), way)


def _answer(words: Sequence[str]) -> bytes:
    """Return what ``ssh -G`` prints, which does not connect (ssh(1))."""
    import subprocess

    return subprocess.run(
        # in batch mode, Debian's ssh reports 300, which no user has configured
        ["ssh", "-G", "-o", "BatchMode=no", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=10,
        check=False,
    ).stdout
