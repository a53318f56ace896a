"""Proxies for modules that stay loaded in a gateway's Python: a call is one round trip, and globals persist."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from ..exc import FunctionError
from ..gateways.execnet_internals import is_gateway
from ..log import basic_remote_logger
from ..util import RemoteError
from .calls import Calls, function_lost
from .proxy import Arguments, Keywords, ModuleExecute, host_of

if TYPE_CHECKING:
    import execnet

    from ..log import AnyLogger
    from ..untyped import AnyChannel


class LegacyModuleExecute(ModuleExecute):
    """A proxy for a module that stays loaded in a gateway's Python. Any number of threads may call its functions.

    Calls have no timeout. If the connection is lost, running calls fail.

    :param gateway: execnet's gateway, such as ``conn.gateway``.
    :param module: a module of functions.
    :param logger: logs the functions' stdout at DEBUG and stderr at WARNING; by default one named after the host.
    :param include: modules that it imports, to be sent along. Packages, including ``module`` itself, are sent with all
        their modules.
    :raises TypeError: on a call: an argument can't be sent.
    :raises FunctionError: on a call: the function raised an exception. Also a RuntimeError.
    :raises ConnectionLost: on a call: the connection was lost. Also a RuntimeError.

    >>> import shutil, remoto
    >>> with remoto.Connection('localhost') as conn:
    ...     remote = LegacyModuleExecute(conn.gateway, shutil, include=[])
    ...     remote.which('sh', path='/bin')
    '/bin/sh'
    """

    def __init__(
        self,
        gateway: execnet.Gateway,
        module: ModuleType,
        logger: AnyLogger | None = None,
        *,
        include: ModuleType | Iterable[ModuleType] = (),
    ) -> None:
        self.gateway = gateway
        self.module = module
        self.logger = logger or basic_remote_logger(host_of(gateway))
        self._remoto_calls: Calls | None = None
        self._remoto_channel: AnyChannel = None  # used instead of the calls
        if is_gateway(gateway):
            self._remoto_calls = Calls(gateway, module, include)
        else:
            self._remoto_channel = gateway.remote_exec(module)

    @property
    def channel(self) -> AnyChannel:
        """The channel to the module. If a program assigns another channel, each call is sent to that as text."""
        if self._remoto_channel is None and self._remoto_calls is not None:
            return self._remoto_calls.load()
        return self._remoto_channel

    @channel.setter
    def channel(self, channel: AnyChannel) -> None:
        self._remoto_channel = channel

    def _remoto_place(self) -> str:
        return host_of(self.gateway)

    def _remoto_call(self, name: str, args: Arguments, kwargs: Keywords) -> object:
        if self._remoto_channel is None and self._remoto_calls is not None:
            return self._remoto_calls.call(name, args, kwargs, self.logger)
        return self._remoto_call_by_text(name, args, kwargs)

    def _remoto_call_by_text(self, name: str, args: Arguments, kwargs: Keywords) -> object:
        arguments = [self._convert_args(args)] if args else []
        arguments += [f"{key}={value!r}" for key, value in kwargs.items()]
        try:
            self.channel.send(f"{name}({', '.join(arguments)})")
            return self.channel.receive()
        except (EOFError, OSError):
            raise function_lost(self.gateway, f"{name}()") from None
        except Exception as error:
            problem = RemoteError(str(error))
            line = problem.exception_line
            raise FunctionError(
                host_of(self.gateway), name, problem.exception_name, line.partition(": ")[2], str(error), line
            ) from error

    def _convert_args(self, args: Iterable[object]) -> str:
        """Return positional arguments as the source of a call.

        >>> LegacyModuleExecute._convert_args(None, ['foo', ('bar',), 1])
        "'foo', ('bar',), 1"
        """
        return ", ".join(map(repr, args))
