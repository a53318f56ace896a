"""The options that commands and copies share, and the connection that they describe."""

from __future__ import annotations

import argparse
import logging
from typing import Any, Callable, NoReturn

from .. import connection
from ..gateway import CONNECT_TIMEOUT, KEEPALIVE
from ..log import TerminalFormatter
from ..util import bound, escape_controls


class Parser(argparse.ArgumentParser):
    """A parser whose help keeps its lines, and whose errors hold no control characters."""

    def __init__(self, **kw: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kw)

    def error(self, message: str) -> NoReturn:
        super().error(escape_controls(message))


def split(words: list[str]) -> tuple[list[str], bool, list[str]]:
    """What stands before the first ``--``, whether there is one, and what stands behind it."""
    if "--" not in words:
        return words, False, []
    place = words.index("--")
    return words[:place], True, words[place + 1 :]


def connect(host: str, options: argparse.Namespace) -> Any:
    """A connection that opens on first use."""
    backend = connection.get(options.backend)
    given: dict[str, Any] = {
        "sudo": options.sudo,
        "detect_sudo": options.detect_sudo,
        "use_ssh": options.use_ssh,
        "interpreter": options.interpreter,
        "ssh_options": options.ssh_options,
        "connect_timeout": options.connect_timeout,
        "keepalive": options.keepalive,
        "kill_on_timeout": getattr(options, "kill_on_timeout", False),
        "eager": False,
    }
    if issubclass(backend, connection.docker.DockerConnection):
        return backend(options.engine_host, container_name=host, user=options.user, **given)
    if issubclass(backend, connection.kubernetes.KubernetesConnection):
        return backend(host, options.namespace, options.context, container=options.container, **given)
    return backend(host, **given)


def add_connection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the connection").add_argument
    add(
        "--backend",
        default="ssh",
        type=_backend,
        metavar="NAME",
        help="ssh (the default), local, docker, podman, kubernetes or openshift; "
        "with the last four a HOST is a container of this machine, or a pod",
    )
    add("--ssh-options", metavar="OPTIONS", help="further options for ssh, as one word: '-p 2222 -J jump'")
    add("--use-ssh", action="store_true", help="by ssh even where the host is this machine")
    add("--sudo", action="store_true", help="as root, by sudo")
    add("--detect-sudo", action="store_true", help="as root, by sudo where the user there is not root")
    add("--interpreter", metavar="PYTHON", help="the Python to use there (python3)")
    add("--connect-timeout", type=seconds, default=CONNECT_TIMEOUT, metavar="SECONDS", help="default: %(default)g")
    add(
        "--keepalive",
        type=seconds,
        default=KEEPALIVE,
        metavar="SECONDS",
        help="between probes of a silent host (%(default)g)",
    )
    add = parser.add_argument_group("the container").add_argument
    add("--user", metavar="NAME", help="the user in it, with docker and podman")
    add("--engine-host", metavar="HOST", help="the machine of the engine, by ssh, with docker and podman")
    add("--namespace", metavar="NAME", help="the pod's namespace, with kubernetes and openshift")
    add("--context", metavar="NAME", help="the context of the client's configuration, likewise")
    add("--container", metavar="NAME", help="one of the pod's containers, likewise")


def add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="+", type=_host, metavar="HOST", help="HOST or USER@HOST")


def add_program(parser: argparse.ArgumentParser) -> Callable[..., Any]:
    add = parser.add_argument_group("this program").add_argument
    add("--parallel", type=_number, default=32, metavar="N", help="hosts at a time (%(default)s)")
    add("-v", "--verbose", action="store_true", help="log what is done, to stderr")
    return add


def start_logging(options: argparse.Namespace) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(TerminalFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.CRITICAL, handlers=[handler])


def _backend(name: str) -> str:
    if name.lower() not in connection._BACKENDS:
        raise argparse.ArgumentTypeError(f"there is no backend of the name {name}")
    return name


def _host(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of a host is empty")
    return text


def seconds(text: str) -> float | None:
    try:
        return bound("it", float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}") from None


def _number(text: str) -> int:
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"not a number from 1: {text}")
    return int(text)


def variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text}")
    return name, value
