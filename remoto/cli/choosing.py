"""Choose the hosts: names, patterns, files, and the containers and pods that have a label."""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Callable, NamedTuple

from .. import connection
from ..backends import BaseConnection
from ..exc import ConnectError
from ..util import escape_controls
from .options import BY_SSH, CLUSTERS, ENGINES, HOST_PARAMETER, Parser, connection_keywords

NO_CONNECTION = 255


class Host(NamedTuple):
    """A host: its name in the output, and the keywords that name it for its connection class."""

    name: str
    keywords: Mapping[str, object]


def add_hosts(parser: Parser) -> None:
    """Add the arguments and options that choose the hosts."""
    add = parser.add_argument_group("hosts").add_argument
    add("--exclude", action="append", default=[], metavar="HOST", help="leave out a host or pattern; may be repeated")
    add(
        "--groups",
        action="store_true",
        help="@GROUP is one of ClusterShell's groups, whose configuration may run programs",
    )
    add(
        "--selector",
        metavar="LABELS",
        help="in the place of HOST: the running pods with these labels [kubernetes, openshift]",
    )
    add("--all-containers", action="store_true", help="with --selector: each container of each pod")
    add(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="in the place of HOST: the running containers with this label; may be repeated [docker, podman]",
    )
    add(
        "--via",
        action="append",
        default=[],
        metavar="HOST",
        help="run ssh on this relay; with several, the hosts are dealt to them in turn [ssh, docker, podman]",
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
    _require_fitting(parser, options)
    if not (options.hosts or options.selector or options.label):
        parser.error("the following arguments are required: HOST")
    try:
        hosts = _found(options) if options.selector or options.label else _named(options)
    except (ValueError, OSError) as error:
        if isinstance(error, ConnectError):
            parser.exit(NO_CONNECTION, escape_controls(f"remoto: {error}".replace("\n", "; ")) + "\n")
        parser.error(str(error))
    if not hosts:
        parser.error("no host is left")
    elsewhere = [host.name for host in hosts if options.backend == "local" and connection.needs_ssh(host.name)]
    members = [host.name for host in hosts if host.name in options.via]
    if members:
        parser.error(f"--via: the relay {members[0]} is also one of the hosts")
    if elsewhere:
        parser.error(f"{elsewhere[0]}: not this machine; backend local takes localhost")
    return hosts


def connect(host: Host, options: argparse.Namespace) -> BaseConnection:
    """Return a connection that opens on first use."""
    kill = getattr(options, "kill_on_timeout", False)
    backend: Callable[..., BaseConnection] = connection.get(options.backend)
    return backend(**{**connection_keywords(options), **host.keywords}, kill_on_timeout=kill, eager=False)


def _require_fitting(parser: Parser, options: argparse.Namespace) -> None:
    for flag, given, backends in (
        ("--selector", options.selector, CLUSTERS),
        ("--all-containers", options.all_containers, CLUSTERS),
        ("--label", options.label, ENGINES),
        ("--via", options.via, BY_SSH),
    ):
        if given and options.backend not in backends:
            parser.error(f"{flag}: not used by backend {options.backend}, only by {', '.join(backends)}")
        if given and options.hosts and flag != "--via":
            parser.error(f"{flag}: in the place of HOST, not together with it")
    if options.all_containers and not options.selector:
        parser.error("--all-containers: only with --selector")
    if "-" in options.hosts and getattr(options, "stdin", False):
        parser.error("-: stdin has the names of hosts, so --stdin can't send it to the command")


@contextlib.contextmanager
def relays(options: argparse.Namespace) -> Iterator[None]:
    """Give each chosen host its relay, if there are any; close the relays at the end."""
    opened = [connection.Connection(name, eager=False) for name in options.via]
    if opened:
        dealt = zip(options.chosen, itertools.cycle(opened))
        options.chosen = [Host(host.name, {**host.keywords, "via": relay}) for host, relay in dealt]
    try:
        yield
    finally:
        for relay in opened:
            relay.exit()


def _named(options: argparse.Namespace) -> list[Host]:
    from ..fleets.hosts import expand

    names = expand(options.hosts, groups=options.groups, exclude=options.exclude)
    return [Host(name, {HOST_PARAMETER[options.backend]: name}) for name in names]


def _found(options: argparse.Namespace) -> list[Host]:
    from ..fleets import found
    from ..fleets.hosts import expand

    given = connection_keywords(options)
    if options.selector:
        of_pods = {name: given[name] for name in ("namespace", "context", "container") if name in given}
        executable = "oc" if options.backend == "openshift" else "kubectl"
        hosts = found.pods(options.selector, all_containers=options.all_containers, executable=executable, **of_pods)
    else:
        host = given.pop("hostname", None)
        to_host = {name: value for name, value in given.items() if name not in ("user", "persistent")}
        hosts = found.containers(host=host, labels=options.label, executable=options.backend, connection=to_host)
    left_out = set(expand(options.exclude))
    return [Host(one.name, one.keywords) for one in hosts if one.name not in left_out]


def _host(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the hostname is empty")
    return text
