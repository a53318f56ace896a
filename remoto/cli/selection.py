"""Choose the hosts: names, patterns, files, and labels of containers and pods."""

from __future__ import annotations

import argparse
import contextlib
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .. import connection
from ..exc import ConnectError
from ..fleets.members import Maker, Member
from ..fleets.relays import Relays
from ..log import TerminalFormatter
from ..util import escape_controls
from .options import BY_SSH, CLUSTERS, ENGINES, HOST_PARAMETER, Parser, connection_keywords, message

NO_CONNECTION = 255
# RELAY=PATTERN; the path in "-F PATH RELAY" may contain =, too
_ASSIGNED = re.compile(r"(?P<relay>(?:-F \S+ )?[^\s=]+)=(?P<hosts>.*)")


class Host(NamedTuple):
    """A host: its name in the output, and the keywords that its connection needs."""

    name: str
    keywords: Mapping[str, object]
    relay: Member | None = None


def add_hosts(parser: Parser) -> None:
    """Add the arguments and options that choose the hosts."""
    add = parser.add_argument_group("hosts").add_argument
    add("--exclude", action="append", default=[], metavar="HOST", help="exclude a host or pattern; may be repeated")
    add(
        "--groups",
        action="store_true",
        help="look up @GROUP in ClusterShell's configuration, which may run programs",
    )
    add(
        "--selector",
        metavar="LABELS",
        help="instead of HOST: the running pods with these labels [kubernetes, openshift]",
    )
    add("--all-containers", action="store_true", help="with --selector: all containers of each pod")
    add(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="instead of HOST: the running containers with this label; may be repeated [docker, podman]",
    )
    add(
        "--via",
        action="append",
        default=[],
        metavar="RELAY[=PATTERN]",
        help="run ssh on this relay; may be repeated: hosts are assigned to relays in turn, or by PATTERN; hosts "
        "without a PATTERN are connected to directly [ssh, docker, podman]",
    )
    parser.add_argument(
        "hosts",
        nargs="*",
        type=_host,
        metavar="HOST",
        help="HOST or USER@HOST, a container or a pod; a pattern such as node[01-40]; @FILE; or - for stdin",
    )


def choose(parser: Parser, options: argparse.Namespace) -> list[Host]:
    """Return the hosts; exit with a message if there are none, or if they can't be found."""
    _require_consistent(parser, options)
    if not (options.hosts or options.selector or options.label):
        parser.error("the following arguments are required: HOST")
    try:
        hosts = _found(options) if options.selector or options.label else _named(options)
        relays = _relays(options, [host.name for host in hosts])
        if options.save_failed:
            # report an error now, not at the end; do not truncate the file, which @FILE may read
            open(options.save_failed, "a").close()
    except (ValueError, OSError) as error:
        if isinstance(error, ConnectError):
            parser.exit(NO_CONNECTION, escape_controls(f"remoto: {message(error)}".replace("\n", "; ")) + "\n")
        parser.error(_text(error))
    if not hosts:
        parser.error("no host is left")
    elsewhere = [host.name for host in hosts if options.backend == "local" and connection.needs_ssh(host.name)]
    if elsewhere:
        parser.error(f"{elsewhere[0]}: not this machine; backend local accepts only localhost")
    return [host._replace(relay=relays.get(host.name)) for host in hosts]


def member(host: Host, options: argparse.Namespace) -> Member:
    """Return a host with a connection, and one to its relay, that open on first use."""
    kill = getattr(options, "kill_on_timeout", False)
    keywords = {**connection_keywords(options), **host.keywords, "kill_on_timeout": kill}
    make = Maker(connection.get(options.backend), keywords, host.relay)
    return Member(host.name, make(), make)


def _require_consistent(parser: Parser, options: argparse.Namespace) -> None:
    for flag, given, backends in (
        ("--selector", options.selector, CLUSTERS),
        ("--all-containers", options.all_containers, CLUSTERS),
        ("--label", options.label, ENGINES),
        ("--via", options.via, BY_SSH),
    ):
        if given and options.backend not in backends:
            parser.error(f"{flag}: not used by backend {options.backend}, only by {', '.join(backends)}")
        if given and options.hosts and flag != "--via":
            parser.error(f"{flag}: cannot be combined with HOST")
    if options.all_containers and not options.selector:
        parser.error("--all-containers: only with --selector")
    if options.via and options.label:
        parser.error("--via: cannot be combined with --label")
    if options.all_containers and options.save_failed:
        parser.error("--save-failed: not with --all-containers, since a file of hosts names no container of a pod")
    relays = [text.rpartition("=")[2] for text in options.via]
    if "-" in (*options.hosts, *options.exclude, *relays) and getattr(options, "stdin", False):
        parser.error("-: stdin has the names of hosts, so --stdin can't send it to the command")


def _named(options: argparse.Namespace) -> list[Host]:
    from ..fleets.hosts import expand, names

    excluded = set(expand(options.exclude, groups=options.groups))
    named = Counter(names(options.hosts, options.groups))
    twice = [name for name, count in named.items() if count > 1]
    if twice:
        print(escape_controls(f"remoto: named more than once, used once: {', '.join(twice)}"), file=sys.stderr)
    return [Host(name, {HOST_PARAMETER[options.backend]: name}) for name in named if name not in excluded]


def _text(error: Exception) -> str:
    """Return the text of an error, with options instead of keyword arguments."""
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    return re.sub("^via: ", "--via: ", text.replace("groups=True", "--groups"))


def _relays(options: argparse.Namespace, names: Sequence[str]) -> Mapping[str, Member]:
    """Return a mapping of hosts to their relays."""
    from ..fleets.hosts import expand

    given = connection_keywords(options)
    assigned = [found for found in map(_ASSIGNED.fullmatch, options.via) if found]
    if not assigned:
        return Relays(options.via or None, options.groups, given).of(names)
    if len(assigned) < len(options.via):
        raise ValueError("via: expected RELAY or RELAY=PATTERN, not both")
    via: dict[str, list[str]] = {}
    for found in assigned:
        hosts = set(expand(found["hosts"], groups=options.groups)).intersection(names)
        if not hosts:
            raise ValueError(f"via: {found[0]}: matches none of the hosts")
        via.setdefault(found["relay"], []).extend(hosts)
    return Relays(via, keywords=given).of(names)


def _found(options: argparse.Namespace) -> list[Host]:
    from ..backends.docker import DockerConnection
    from ..backends.kubernetes import KubernetesConnection
    from ..backends.openshift import OpenshiftConnection
    from ..backends.podman import PodmanConnection
    from ..fleets import discovery
    from ..fleets.hosts import expand

    given = connection_keywords(options)
    excluded = set(expand(options.exclude, groups=options.groups))
    with _warnings_shown(options):
        if options.selector:
            of_pods = {name: given[name] for name in ("namespace", "context", "container") if name in given}
            cluster = OpenshiftConnection if options.backend == "openshift" else KubernetesConnection
            hosts = discovery.pods(options.selector, all_containers=options.all_containers, kind=cluster, **of_pods)
        else:
            of_others = ("hostname", "user", "persistent")
            to_host = {name: value for name, value in given.items() if name not in of_others}
            engine = PodmanConnection if options.backend == "podman" else DockerConnection
            hosts = discovery.containers(
                host=given.get("hostname"), labels=options.label, kind=engine, connection=to_host
            )
    return [Host(host.name, host.keywords) for host in hosts if host.name not in excluded]


@contextlib.contextmanager
def _warnings_shown(options: argparse.Namespace) -> Iterator[None]:
    """Write to stderr which pods or containers are skipped, since they are not running."""
    if options.verbose:  # all records are shown
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(TerminalFormatter("remoto: %(message)s"))
    logger = logging.getLogger("remoto")
    before = logger.level
    # otherwise the root logger's level hides them
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def saved_name(host: Host, options: argparse.Namespace) -> str:
    """Return the name to pass as HOST; for a pod, without its namespace."""
    return str(host.keywords[HOST_PARAMETER[options.backend]])


def _host(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the hostname is empty")
    return text
