"""The options that commands and copies share."""

from __future__ import annotations

import argparse
import logging
import re
from typing import TYPE_CHECKING, Callable, NoReturn, TypedDict

from .. import connection
from ..backends.ssh import KEEPALIVE
from ..exc import ConnectError
from ..fleets.schedule import batches
from ..gateways.bootstrap import CONNECT_TIMEOUT
from ..log import TerminalFormatter
from ..util import checked_seconds, escape_controls

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..untyped import AnyFunction, AnyKeywords

    class _More(TypedDict, total=False):
        action: str
        type: Callable[[str], object]
        metavar: str


ENGINES = ("docker", "podman")
CLUSTERS = ("kubernetes", "openshift")
BY_SSH = ("ssh", *ENGINES)
ALL = ("ssh", "local", *ENGINES, *CLUSTERS)
#: the options of connections, and the backends that use each
USED_BY = {
    "--ssh-options": BY_SSH,
    "--use-ssh": BY_SSH,
    "--sudo": ALL,
    "--detect-sudo": tuple(name for name in ALL if name != "local"),
    "--interpreter": ALL,
    "--connect-timeout": ALL,
    "--keepalive": BY_SSH,
    "--user": ENGINES,
    "--engine-host": ENGINES,
    "--namespace": CLUSTERS,
    "--context": CLUSTERS,
    "--container": CLUSTERS,
    "--persistent": (*ENGINES, *CLUSTERS),
}
#: by backend: the keyword of its connection class for HOST
HOST_PARAMETER = {
    **dict.fromkeys(ALL, "hostname"),
    **dict.fromkeys(ENGINES, "container_name"),
    **dict.fromkeys(CLUSTERS, "pod_name"),
}


# keyword arguments in the library's advice, and the options to name instead
_KEYWORD = re.compile(r"\b(connect_timeout|interpreter|ssh_options)\b=?")


class Parser(argparse.ArgumentParser):
    """A parser that keeps the line breaks of its help, and escapes control characters in errors."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, usage, description, epilog, formatter_class=formatter)

    def error(self, message: str) -> NoReturn:
        super().error(escape_controls(message))


def split(arguments: list[str]) -> tuple[list[str], bool, list[str]]:
    """Split arguments at the first ``--``: return those before it, True if there is one, and those after it."""
    if "--" not in arguments:
        return arguments, False, []
    place = arguments.index("--")
    return arguments[:place], True, arguments[place + 1 :]


def parse(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    """Parse arguments; exit with a usage message if the backend does not use one of them."""
    options = parser.parse_intermixed_args(arguments)  # hosts may also stand between options and after them
    for flag in USED_BY:
        if _keyword(flag) in options and options.backend not in USED_BY[flag]:
            parser.error(f"{flag}: not used by backend {options.backend}, only by {', '.join(USED_BY[flag])}")
    return options


def connection_keywords(options: argparse.Namespace) -> AnyKeywords:
    """Return the keywords of the connection from the options."""
    keywords = set(map(_keyword, USED_BY))
    given = {name: value for name, value in vars(options).items() if name in keywords}
    if "engine_host" in given:
        given["hostname"] = given.pop("engine_host")
    return given


def _keyword(flag: str) -> str:
    return flag[2:].replace("-", "_")


def message(error: Exception) -> str:
    """Return the text of an error, with options instead of keyword arguments."""
    if isinstance(error, ConnectError):
        error.reason = re.sub("^ssh_options: ", "--ssh-options: ", error.reason)
        error.advice = _KEYWORD.sub(lambda found: "--" + found[1].replace("_", "-"), error.advice)
    return str(error)


def add_connection(parser: Parser) -> None:
    group = parser.add_argument_group("connection", "Brackets name the backends that use an option; others refuse it.")
    group.add_argument(
        "--backend",
        default="ssh",
        type=_backend,
        metavar="NAME",
        help="ssh (default), local, docker, podman, kubernetes or openshift; "
        "with the last four, HOST is a container or a pod",
    )
    switch: _More = {"action": "store_true"}
    number: _More = {"type": seconds, "metavar": "SECONDS"}
    _add(group, "--ssh-options", "further options for ssh, as one argument: '-p 2222 -J jump'", metavar="OPTIONS")
    _add(group, "--use-ssh", "use ssh even if the host is this machine", **switch)
    _add(group, "--sudo", "run everything as root, with sudo", **switch)
    _add(group, "--detect-sudo", "use sudo unless the remote user is root", **switch)
    _add(group, "--interpreter", "the remote Python (default: python3)", metavar="PYTHON")
    _add(group, "--connect-timeout", f"time limit for connecting (default: {CONNECT_TIMEOUT:g})", **number)
    _add(group, "--keepalive", f"interval of ssh's keepalive messages, 0 for none (default: {KEEPALIVE:g})", **number)
    group = parser.add_argument_group("container")
    _add(group, "--user", "the user in the container", metavar="NAME")
    _add(group, "--engine-host", "the host of the engine, by ssh (default: this machine)", metavar="HOST")
    _add(group, "--namespace", "the namespace of the pod", metavar="NAME")
    _add(group, "--context", "the context in the client's configuration", metavar="NAME")
    _add(group, "--container", "the container in the pod", metavar="NAME")
    _add(group, "--persistent", "keep a Python running in the container, and work through it", **switch)


def _add(group: argparse._ArgumentGroup, flag: str, text: str, **more: Unpack[_More]) -> None:
    """Add an option of the connection, without a default."""
    backends = USED_BY[flag]
    used_by = "" if backends == ALL else f" [{', '.join(backends)}]"
    group.add_argument(flag, default=argparse.SUPPRESS, help=text + used_by, **more)


def add_program(parser: Parser) -> AnyFunction[argparse.Action]:
    add = parser.add_argument_group("program").add_argument
    add("--parallel", type=_number, default=32, metavar="N", help="work on N hosts at a time (default: %(default)s)")
    add("--logins", type=_number, default=8, metavar="N", help="log in to N hosts at a time (default: %(default)s)")
    add(
        "--batch",
        type=_batch,
        metavar="N",
        help="work on N hosts, or N%% of all, before the next N; several sizes, such as 1,10,25%%, apply in turn",
    )
    add("--stop-after", type=_number, metavar="N", help="start no further host once N have failed or were unreachable")
    add("--save-failed", metavar="FILE", help="write the names of hosts that did not succeed, to pass as @FILE")
    add("-v", "--verbose", action="store_true", help="log connections and commands to stderr")
    return add


def start_logging(options: argparse.Namespace) -> None:
    level = logging.DEBUG if options.verbose else logging.CRITICAL
    handler = logging.StreamHandler()
    # a connection's logger has its own level, so that the root logger's does not apply to its records
    handler.setLevel(level)
    handler.setFormatter(TerminalFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


def _backend(name: str) -> str:
    """Return the main name of a backend."""
    found = connection._BACKENDS.get(name.lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"no such backend: {name}; choose from {', '.join(ALL)}")
    return next(first for first in ALL if connection._BACKENDS[first] == found)


def seconds(text: str) -> float | None:
    try:
        return checked_seconds("it", float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, not {text}") from None


def _number(text: str) -> int:
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, not {text}")
    return int(text)


def _batch(text: str) -> list[int | str]:
    sizes: list[int | str] = [int(size) if size.isdigit() else size for size in text.split(",")]
    try:
        batches(["a host"], sizes)
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("batch: ")) from None
    return sizes


def variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text}")
    return name, value
