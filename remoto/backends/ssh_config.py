"""Read a host's keepalive and jump host from ssh's configuration.

``ssh -G`` reports both, but costs a process for each host. So it is run only if a configuration file has a keyword that
matters.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import partial

from ..gateways.interrupts import uninterrupted
from ..lazy import importing

#: Match may set any of the other keywords, and may run programs
_KEYWORDS = rb"(?im)^\s*(match|proxyjump|proxycommand|serveraliveinterval)\b"
_INCLUDE = rb"(?im)^\s*include\s+(.*?)\s*$"
_OPTIONS = r"(?i)proxyjump|proxycommand|serveraliveinterval|(^| )-J"
_FILE = r"(?s)-[46AaCfGgKkMNnqsTtVvXxYy]*F(.*)"
# a ProxyCommand that is what ProxyJump runs; -q would hide the errors
_BY_SSH = r"(?i)(exec )?(\S*/)?ssh(?!.*( -\w*q|quiet))(?= ).* -W "
SYSTEM = "/etc/ssh/ssh_config"
#: ssh follows includes to this depth (readconf.c, READCONF_MAX_DEPTH)
_DEPTH = 16


class Configuration:
    """The settings that remoto needs.

    :ivar keepalive: ServerAliveInterval in seconds; 0 if it is not set.
    :ivar jump: the first jump host, or the ProxyCommand; empty for a direct connection.
    :ivar by_ssh: another ssh connects to the jump host, and reports on stderr why it failed.
    """

    def __init__(self, keepalive: int = 0, jump: str = "", by_ssh: bool = False) -> None:
        self.keepalive, self.jump, self.by_ssh = keepalive, jump, by_ssh


# by ssh's arguments, since a program may connect to the same host many times
_known: dict[tuple[str, ...], Configuration] = {}


def configuration(arguments: Sequence[str]) -> Configuration | None:
    """Return the settings for a host; None if ssh reports an error.

    :param arguments: ssh's options, and then the host.
    """
    known = _known.get(tuple(arguments))
    if known is None:
        known = _reported(arguments) if _must_run_ssh(arguments) else Configuration()
        if known is not None:
            _known[tuple(arguments)] = known
    return known


def _must_run_ssh(arguments: Sequence[str]) -> bool:
    """Return True if an option or a configuration file has a keyword that matters, or a file can't be read."""
    *options, _ = arguments
    return bool(re.search(_OPTIONS, " ".join(options))) or _is_script() or any(map(_matters, _files(options)))


def _is_script() -> bool:
    """Return True if ``ssh`` is a script, which may use another configuration file."""
    with importing:
        import shutil  # importing it takes as long as importing a third of this package

    path = shutil.which("ssh")
    try:
        with open(path or os.devnull, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def _files(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield ssh's configuration files, each with the directory for relative includes."""
    own = os.path.join(_home(), ".ssh")
    for number, option in enumerate(options):
        found = re.fullmatch(_FILE, option)
        if found:
            yield found[1] or "".join(options[number + 1 : number + 2]), own
            return
    yield os.path.join(own, "config"), own
    yield SYSTEM, os.path.dirname(SYSTEM)


def _home() -> str:
    """Return the user's home directory as ssh does, which ignores HOME."""
    with importing:
        import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # ssh itself refuses to run for a user without an entry
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
    if re.search(_KEYWORDS, text) or depth > _DEPTH:
        return True
    for line in re.findall(_INCLUDE, text):
        with importing:
            import glob  # few have an Include

        names = os.fsdecode(line)
        if re.search(r"[%$\"'\\]|(^|\s)~[^/]", names):  # tokens and quotes, which ssh expands
            return True
        for name in names.split():
            pattern = os.path.join(directory, re.sub("^~(?=/)", lambda _: _home(), name))
            if any(_matters((included, directory), depth + 1) for included in glob.glob(pattern)):
                return True
    return False


def _reported(arguments: Sequence[str]) -> Configuration | None:
    with importing:
        import subprocess

    try:
        answer = uninterrupted(partial(_answer, arguments)).decode("utf-8", "surrogateescape")
    except (OSError, subprocess.TimeoutExpired):
        return None  # ssh will report the reason when it connects
    keepalive = re.search(r"^serveraliveinterval (\d+)$", answer, re.MULTILINE)
    jump = re.search(r"^proxyjump ([^,\n]+)", answer, re.MULTILINE)
    command = re.search(r"^proxycommand (.+)$", answer, re.MULTILINE)
    if not keepalive:
        return None
    if jump and jump[1] != "none":
        return Configuration(int(keepalive[1]), jump[1], by_ssh=True)
    way = command[1] if command and command[1] != "none" else ""
    return Configuration(int(keepalive[1]), way, by_ssh=bool(re.match(_BY_SSH, way)))


def _answer(arguments: Sequence[str]) -> bytes:
    """Return the output of ``ssh -G``, which does not connect (ssh(1))."""
    with importing:
        import subprocess

    return subprocess.run(
        # in batch mode, Debian's ssh has a ServerAliveInterval of 300 that no user has configured
        ["ssh", "-G", "-o", "BatchMode=no", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=10,
        check=False,
    ).stdout
