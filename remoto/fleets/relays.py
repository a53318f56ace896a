"""The relays of a group."""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Union

from ..backends import BaseConnection
from ..exc import ConnectionLost
from .hosts import expand, is_pattern
from .members import Maker, Member, name_of

_Relay = Union[str, BaseConnection]
#: relays, to which hosts are assigned in turn; or a mapping of relays to the patterns of their hosts
Via = Union[_Relay, Iterable[_Relay], Mapping[_Relay, Union[str, Iterable[str]]]]


class Relay(Member):
    """A relay of a group. If it is lost, its hosts are unreachable until :meth:`forget_error` is called."""

    def _renew(self, make: Maker) -> None:
        if not self.conn.is_closed:
            raise ConnectionLost(self.name, "nothing can be run", "the connection was lost")
        super()._renew(make)

    def forget_error(self) -> None:
        super().forget_error()
        if self.was_lost and self.make is not None:
            super()._renew(self.make)

    def __reduce__(self) -> tuple[object, ...]:
        # a process of an executor opens its own connection
        if self.make is None:
            raise TypeError(
                f"the connection of the relay {self.name} can't be passed to another process: pass its hostname"
            )
        return type(self).unopened, (self.name, self.make)

    @classmethod
    def unopened(cls, name: str, make: Maker) -> Relay:
        return cls(name, make(), make)


class Relays:
    """The relays of a group, and their hosts.

    :param via: the relays; None for none.
    :param groups: look up ``@GROUP`` in ClusterShell's configuration.
    :param keywords: the keywords of the hosts; ``connect_timeout`` applies to relays that are given by name, too.
    :raises TypeError, ValueError: no relay is named, or a host has two.
    """

    def __init__(
        self, via: Via | None, groups: bool = False, keywords: Mapping[str, object] = types.MappingProxyType({})
    ) -> None:
        self._keywords = {name: keywords[name] for name in ("connect_timeout",) if name in keywords}
        self._assigned: dict[str, Relay] | None = None
        self._in_turn: list[Relay] = []
        if isinstance(via, Mapping):
            self._assigned = {}
            for given, hosts in via.items():
                self._assign(self._relay(given), expand(hosts, groups=groups))
        elif via is not None:
            self._in_turn = [self._relay(given) for given in _listed(via, groups)]
        if via is not None and not (self._in_turn or self._assigned):
            raise ValueError("via: expected at least one relay")

    def _relay(self, given: object) -> Relay:
        if isinstance(given, BaseConnection):
            return Relay(name_of(given), given, None)
        if not isinstance(given, str):
            raise TypeError(f"via: expected a name or a connection, not {type(given).__name__}: {given!r}")
        if is_pattern(given):
            raise ValueError(f"via: {given}: expected one relay, not a pattern")
        return Relay.unopened(given, Maker("ssh", {"hostname": given, **self._keywords}))

    def _assign(self, relay: Relay, hosts: Sequence[str]) -> None:
        assert self._assigned is not None
        for host in hosts:
            if self._assigned.setdefault(host, relay) is not relay:
                raise ValueError(f"via: {host} has two relays: {self._assigned[host].name} and {relay.name}")

    def of(self, names: Sequence[str]) -> dict[str, Relay]:
        """Return a mapping of hosts to their relays.

        :raises ValueError: a relay is also a host of the group, or a host with a relay is not in the group.
        """
        hosts = set(names)
        for relay in self._in_turn or (self._assigned or {}).values():
            if relay.name in hosts:
                raise ValueError(f"via: the relay {relay.name} is also a host")
        unknown = [name for name in self._assigned or () if name not in hosts]
        if unknown:
            raise ValueError(f"via: not in the group: {', '.join(unknown)}")
        if self._in_turn:
            return dict(zip(names, itertools.cycle(self._in_turn)))
        return self._assigned or {}


def _listed(via: object, groups: bool) -> list[_Relay]:
    if isinstance(via, BaseConnection):
        return [via]
    if isinstance(via, bytes) or not isinstance(via, Iterable):
        raise TypeError(f"via: expected names or connections, not {type(via).__name__}: {via!r}")
    listed: list[_Relay] = []
    for given in [via] if isinstance(via, str) else via:
        listed += expand(given, groups=groups) if isinstance(given, str) else [given]
    return listed
