"""Run commands and functions through a connection's gateway."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, cast

from ..gateways.outbox import sending_within
from ..gateways.remote_calls import RemoteFunction
from ..lazy import importing
from .lifecycle import Lifecycle

if TYPE_CHECKING:
    import execnet

    from ..commands.request import Request
    from ..commands.target import Channel
    from ..functions.proxy import ModuleExecute
    from ..untyped import AnyChannel, AnyFunction
    from .base import BaseConnection


class Executor(Lifecycle):
    """The part of a connection that runs commands and functions."""

    #: how :meth:`import_module` runs functions: ``legacy`` in one Python for all calls, ``json`` in a new one for each
    #: call
    remote_import_system = "legacy"
    # True if inside() starts another Python, as in a container, instead of returning the connection's own
    _has_python_inside = False

    def __init__(self) -> None:
        super().__init__()
        self.remote_module: ModuleExecute | None = None
        self.channel: AnyChannel = None

    def start_command(self, function: RemoteFunction, request: Request, timeout: float | None) -> Channel:
        channel: Channel = sending_within(timeout, self.execute, function, **request)
        return channel

    def execute(
        self, function: RemoteFunction | str | ModuleType | AnyFunction[object], **kw: object
    ) -> execnet.Channel:
        """Start a function on the remote side; connect first if needed.

        :param function: source, a function whose first parameter is ``channel``, or a module, as for execnet's
            ``remote_exec``.
        :param kw: the function's other arguments.
        :returns: execnet's channel.
        :raises ConnectionLost: the connection is closed or lost.
        """
        gateway = self._live_gateway()
        if isinstance(function, RemoteFunction):
            self.channel = channel = function.start(gateway, kw)
        else:
            self.channel = channel = gateway.remote_exec(function, **kw)
        return channel

    def import_module(
        self,
        module: ModuleType,
        python_executable: str | None = None,
        *,
        include: ModuleType | Iterable[ModuleType] = (),
    ) -> ModuleExecute:
        """Return a proxy for a module. Its functions run on the remote side.

        :param module: a module of functions. Its source is sent; it need not be installed on the remote side.
        :param python_executable: the remote Python, for instance of a virtualenv; by default the connection's own.
        :param include: modules that it imports, to be sent along. Packages, including ``module`` itself, are sent with
            all their modules.
        :returns: a :class:`LegacyModuleExecute` or :class:`JsonModuleExecute`; also kept as ``remote_module``.

        >>> import posixpath, remoto
        >>> with remoto.Connection('localhost') as conn:
        ...     conn.import_module(posixpath).join('a', 'b')
        'a/b'
        """
        if self.remote_import_system not in ("legacy", "json"):
            raise ValueError(f"remote_import_system: expected 'legacy' or 'json', not {self.remote_import_system!r}")
        # most programs call no functions, and these modules are a quarter of what `import remoto` would import
        with importing:
            from ..functions import interpreter
            from ..functions.legacy import LegacyModuleExecute
            from .patchable import JsonModuleExecute
        python_executable = interpreter.checked(python_executable)
        if self.remote_import_system == "json" or (python_executable and not self._has_python_inside):
            self.remote_module = JsonModuleExecute(
                cast("BaseConnection", self), module, self.logger, python_executable, include=include
            )
        else:
            gateway = self.inside(python_executable)
            self.remote_module = LegacyModuleExecute(gateway, module, self.logger, include=include)
        return self.remote_module

    def inside(self, python: str | None = None) -> execnet.Gateway:
        """Return the gateway to a Python on the host, or inside the container; connect first if needed.

        :param python: the Python in a container; by default the one that :func:`get_python_executable` finds.
        :raises ConnectError: the gateway could not be opened, for instance because a container has no Python.
        """
        return self._live_gateway()
