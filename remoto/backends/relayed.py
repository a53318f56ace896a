"""Connections through a relay, which is another connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from ..exc import ConnectError, ConnectionLost, HostError
from ..gateways.gateway_io import Relay, RelayLost, relay_lost

if TYPE_CHECKING:
    import execnet

    from .base import BaseConnection
    from .executor import Executor


def checked_relay(via: object) -> BaseConnection | None:
    """Return the relay unchanged.

    :raises TypeError: it is not a connection, for instance a name.
    """
    from .executor import Executor

    if via is not None and not isinstance(via, Executor):
        raise TypeError(f"via: expected a connection, not {type(via).__name__}: {via!r}")
    return cast("BaseConnection | None", via)


@contextmanager
def through(via: Executor | None, host: str) -> Iterator[Relay | None]:
    """Yield the open relay, or None without one. Add the relay's name to a ConnectError that is raised meanwhile.

    :param host: the host to connect to, for errors.
    :raises HostError: the relay is closed or lost, or could not be reached.
    """
    if via is None:
        yield None
        return
    try:
        yield Relay(_open(via, host), via.where())
    except RelayLost as error:
        failure = HostError(str(error), host=host, kind="relay", stderr=error.stderr)
        failure.name_relay(via.where())
        raise failure from None
    except ConnectError as error:
        error.name_relay(via.where())
        raise


def _open(via: Executor, host: str) -> execnet.Gateway:
    try:
        return via.inside()
    except (ConnectError, ConnectionLost) as error:
        raise relay_failure(via, host, error) from error


def relay_failure(via: Executor, host: str, error: ConnectError | ConnectionLost) -> HostError:
    """Return the error for a host whose relay is closed or lost, or could not be reached.

    :param error: the error of the relay.
    """
    if isinstance(error, ConnectionLost):
        name = via.where()
        reason = f"the connection to the relay {name} is closed" if via.is_closed else relay_lost(name)
        failure = HostError(reason, host=host, kind="relay", stderr=error.stderr)
    else:
        failure = HostError(
            f"cannot connect to the relay: {error.reason}",
            host=host,
            kind="relay",
            command=error.command,
            exit_status=error.exit_status,
            stderr=error.stderr,
            advice=error.advice,
        )
    failure.name_relay(via.where())
    return failure
