"""Pythons that keep running inside a container, so that commands need no further calls of the container's client."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from ..exc import ConnectError
from ..functions.interpreter import NOT_FOUND, for_first_python
from ..gateways import bootstrap, closing
from ..gateways.bootstrap import BOOT_COMMAND

if TYPE_CHECKING:
    import execnet

    from ..commands.request import Request
    from ..gateways.execnet_internals import ExecnetGateway

    class Opener(Protocol):
        """Open a gateway to the Python that a command starts in the container.

        :param python: the path of the Python; None means the first one that works.
        """

        def __call__(self, command: list[str], python: str | None, group: execnet.Group) -> ExecnetGateway: ...


# replaces the container's /bin/sh by the first Python that works
_START_FIRST = for_first_python('exec "$path" -c "$1"') + f"echo '{NOT_FOUND}' >&2; exit 127"
#: kinds of permanent errors: the container has no Python that execnet can start
_NO_PYTHON = ("interpreter", "version", "shell")


class Pythons:
    """The gateways of the Pythons inside a container. Each is opened on first use, and reopened after it was lost.

    :param open_python: opens a gateway.
    """

    def __init__(self, open_python: Opener) -> None:
        self._open_python = open_python
        self._gateways: dict[str | None, ExecnetGateway] = {}
        self.lock = threading.Lock()
        #: the permanent error, if the container has no Python that works
        self.refusal: ConnectError | None = None

    def gateway(self, python: str | None) -> ExecnetGateway:
        """Return an open gateway.

        :param python: the path of the Python; None means the first one that works, for a persistent connection.
        :raises ConnectError: it could not be opened; always the same error if the container has no Python.
        """
        gateway = self._gateways.get(python)
        if gateway is not None and gateway.hasreceiver():
            # without the lock, under which another one may be opened
            return gateway
        with self.lock:
            return self._opened(python)

    def _opened(self, python: str | None) -> ExecnetGateway:
        if python is None and self.refusal is not None:
            # without the traceback of earlier calls, which would grow
            raise self.refusal.with_traceback(None)
        gateway = self._gateways.get(python)
        if gateway is not None:
            if gateway.hasreceiver():
                return gateway
            closing.close(gateway)
        command = ["/bin/sh", "-c", _START_FIRST, "sh"] if python is None else [python, "-c"]
        group = bootstrap.new_group()
        try:
            gateway = self._gateways[python] = self._open_python([*command, BOOT_COMMAND], python, group)
        except BaseException as error:
            if python is None and isinstance(error, ConnectError) and error.kind in _NO_PYTHON:
                self.refusal = error
            # an interrupt may come after the gateway was opened
            closing.close_group(group)
            raise
        return gateway

    def gateways(self) -> list[ExecnetGateway]:
        """Return the open gateways, without the lock."""
        return list(self._gateways.values())

    def close(self) -> None:
        opened, self._gateways = self._gateways, {}
        for gateway in opened.values():
            closing.close(gateway)


def for_session(request: Request) -> Request:
    """Turn a container's request into one for a Python inside, without the client and its sudo."""
    popen = dict(request["popen"] or {})
    args = request["args"]
    # a string is a command line for the container's /bin/sh, even without shell=True
    if popen.pop("shell", False) or isinstance(args, bytes):
        args = [b"/bin/sh", b"-c", *([args] if isinstance(args, bytes) else args)]
    return {**request, "args": args, "sudo": False, "popen": popen}
