"""A Python that keeps running inside a container, so that commands need no further calls of the container's client."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Callable, Protocol

from ..commands.request import Request
from ..exc import ConnectError
from ..gateways import bootstrap as gateways

if TYPE_CHECKING:
    from collections.abc import Sequence

    import execnet

    from ..gateways.execnet_internals import ExecnetGateway

#: replace the container's /bin/sh by the first Python that works, the same one that the search for functions finds
START_PYTHON = (
    "for name in python3 python python2.7; do "
    'path=$(command -v "$name") && "$path" -c "" < /dev/null > /dev/null 2>&1 && exec "$path" -c "$1"; '
    "done; echo 'no python3, python or python2.7 was found' >&2; exit 127"
)
#: the last line of its stderr if there is none
NOT_FOUND = "no python3, python or python2.7 was found"
#: kinds of permanent errors: the container has no Python that execnet can start
_NO_PYTHON = ("interpreter", "version", "shell")


class Opener(Protocol):
    """A function that opens a gateway to the Python that a command starts in the container."""

    def __call__(self, command: Sequence[str], group: execnet.Group) -> ExecnetGateway: ...


class Session:
    """The gateway of a persistent connection, opened on first use, and reopened by the next call after it was lost.

    :param open_python: opens the gateway.
    """

    def __init__(self, open_python: Opener) -> None:
        self._open_python = open_python
        self._gateway: ExecnetGateway | None = None
        self.lock = threading.Lock()
        #: the permanent error, if the container can't have a session
        self.refusal: ConnectError | None = None

    def gateway(self, line: str) -> ExecnetGateway:
        """Return the open gateway.

        :param line: the program that the remote Python is started with.
        :raises ConnectError: it could not be opened; always the same error if the container has no Python.
        """
        with self.lock:
            if self.refusal is not None:
                # without the traceback of earlier calls, which would grow
                raise self.refusal.with_traceback(None)
            if self._gateway is None or not self._gateway.hasreceiver():
                self.close()
                group = gateways.new_group()
                try:
                    self._gateway = self._open_python(["/bin/sh", "-c", START_PYTHON, "sh", line], group)
                except ConnectError as error:
                    if error.kind in _NO_PYTHON:
                        self.refusal = error
                    raise
                except BaseException:
                    # an interrupt may come after the gateway was opened
                    gateways.close_group(group)
                    raise
            return self._gateway

    def gateways(self) -> list[ExecnetGateway]:
        """Return the gateway, if it is open."""
        return [] if (gateway := self._gateway) is None else [gateway]

    def close(self) -> None:
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateways.close(gateway)


class Pythons:
    """The gateways of the Pythons that run inside a container, by path. Hold the lock to use it.

    :param open_python: opens a gateway.
    """

    def __init__(self, open_python: Callable[[str, execnet.Group], ExecnetGateway]) -> None:
        self._open_python = open_python
        self._gateways: dict[str, ExecnetGateway] = {}
        self.lock = threading.Lock()

    def gateway(self, python: str) -> ExecnetGateway:
        """Return the gateway of a Python; open it on first use, and reopen it after it was lost."""
        gateway = self._gateways.get(python)
        if gateway is None or not gateway.hasreceiver():
            if gateway is not None:
                gateways.close(gateway)
            group = gateways.new_group()
            try:
                gateway = self._gateways[python] = self._open_python(python, group)
            except BaseException:
                # an interrupt may come after the gateway was opened
                gateways.close_group(group)
                raise
        return gateway

    def gateways(self) -> list[ExecnetGateway]:
        """Return those that are open. This needs no lock."""
        return list(self._gateways.values())

    def close(self) -> None:
        opened, self._gateways = self._gateways, {}
        for gateway in opened.values():
            gateways.close(gateway)


def for_session(request: Request) -> Request:
    """Turn a container's request into one for a Python inside, without the client and its sudo."""
    popen = dict(request["popen"])
    args = request["args"]
    # a string is a command line for the container's /bin/sh, even without shell=True
    if popen.pop("shell", False) or isinstance(args, bytes):
        args = [b"/bin/sh", b"-c", *([args] if isinstance(args, bytes) else args)]
    return {**request, "args": args, "sudo": False, "popen": popen}
