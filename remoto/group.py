"""Run commands and functions, and copy files, on many hosts in parallel."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Callable, Literal, TypeVar, Union, cast, overload

import remoto.process as process  # not "from . import process": see lazy.py

from .backends import BaseConnection
from .file_sync import CopyResult
from .files.listing import Listing
from .fleets import arguments
from .fleets import work as works
from .fleets.functions import GroupModule
from .fleets.labelled import LabelledMembership
from .fleets.members import require_descriptors
from .fleets.options import pop_options
from .fleets.result import GroupResult
from .fleets.rounds import MembersRound, Round
from .fleets.schedule import plan
from .lazy import importing
from .process import CheckResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .commands.request import Command
    from .files.arguments import Path
    from .fleets.options import CheckOptions, CommandOptions, CopyOptions, Options, RsyncOptions, RunOptions
    from .fleets.schedule import Plan, Progress
    from .untyped import AnyResult

__all__ = ["Group", "GroupModule", "GroupResult"]

_Value = TypeVar("_Value")
#: what a verb returns: an iterator with ``as_completed=True``
_Outcomes = Union[GroupResult[_Value], Iterator[tuple[str, Union[_Value, BaseException]]]]


class Group(LabelledMembership):
    """Hosts, or containers, to run commands and functions on and copy files to, in parallel.

    Connections are opened on first use, and stay open until :meth:`close` or the end of the ``with`` block. Each verb,
    such as :meth:`run`, serves all hosts and returns a :class:`~remoto.group.GroupResult`. Errors of single hosts are
    not raised, but are part of the result. Later calls report an unreachable host again with the same error, without
    another try, until :meth:`reconnect`. A lost connection is reopened by the next call.

    Errors that concern all hosts are raised before anything starts: an invalid argument, a missing local source, or an
    OSError if the connections would need more file descriptors than the limit allows.

    Ctrl-C kills the commands that have ``kill_on_timeout`` set, closes the connections, and raises KeyboardInterrupt
    within two seconds. Its ``result`` is the GroupResult so far. The ssh of a host that does not answer is killed. A
    process on this machine that does not answer, such as the client of a container, is closed in the background.

    Each verb accepts these options:

    - ``as_completed=True`` returns an iterator over pairs of a host and its value or error, as soon as each host is
      done. If you leave the loop early, no further host is started, and the connections of running hosts are closed.
    - ``batch``: the size of batches: a number of hosts, a percentage of the group such as ``'25%'``, or a list of
      these, whose last size is repeated.
    - ``stop_after=N``: start no further host once N hosts have failed, timed out or were unreachable. With
      ``count_unreachable=False``, unreachable hosts do not count.
    - ``progress``: called with the number of hosts that are done, the number of all hosts, and the last host done.

    :param hosts: names; patterns such as ``node[01-40]``; ``@FILE`` for the names and patterns in a file, ``-`` for
        those from stdin; pairs of a name and its keywords; a mapping of names to keywords; or connections, which are
        neither closed nor reopened. A string is a single name or pattern.
    :param backend: the name of the backend, as for :func:`remoto.connection.get`, or its class. The name of a host is
        passed as the hostname, or as ``container_name`` or ``pod_name``.
    :param parallel: the number of hosts to serve at the same time.
    :param logins: the number of logins at the same time, for each jump host and for this machine.
    :param connect_retries: the number of retries for a host that times out, or whose ProxyCommand fails.
    :param via: the relays: names or connections, to which the hosts are assigned in turn; or a mapping of relays to
        the patterns of their hosts; all other hosts are connected to directly. See ``via`` of
        :class:`remoto.backends.BaseConnection`. If a relay is lost, its hosts are ``unreachable`` until
        :meth:`reconnect`.
    :param executor: a ``concurrent.futures.Executor``, such as a ``ProcessPoolExecutor`` or the executor of a dask
        cluster, for more hosts than one process can serve. The hosts, ``parallel`` and ``logins`` are divided among its
        workers. Each connection is closed when its host is done, log records stay in the worker's process, and
        ``on_stdout`` and ``on_stderr`` are refused.
    :param groups: also look up ``@GROUP`` in ClusterShell's configuration, which may run programs. A file of that name
        takes precedence.
    :param keywords: the keywords of all connections.
    :raises TypeError, ValueError: a host or a keyword is invalid; nothing was started.

    >>> with Group(['localhost']) as group:
    ...     result = group.check(['echo', 'hello'])
    >>> result['localhost']
    (['hello'], [], 0)
    """

    # the verbs

    @overload
    def run(
        self, command: Command, *, as_completed: Literal[True], **keywords: Unpack[RunOptions]
    ) -> Iterator[tuple[str, int | BaseException]]: ...
    @overload
    def run(
        self, command: Command, *, as_completed: Literal[False] = ..., **keywords: Unpack[RunOptions]
    ) -> GroupResult[int]: ...
    def run(self, command: Command, *, as_completed: bool = False, **keywords: Unpack[RunOptions]) -> _Outcomes[int]:
        """Run a command, and log its output as it arrives, as :func:`remoto.process.run` does.

        :param keywords: the keywords of :func:`remoto.process.run`, without ``exit``, and the options of a verb.
        :returns: a GroupResult of exit statuses; -1 after a timeout; a CommandError if the command could not be
            started.

        >>> Group(['localhost']).run(['sh', '-c', 'exit 3']).failed
        {'localhost': 3}
        """
        options = pop_options(keywords)
        arguments.require_command(process.run, command, keywords, self._executor)
        work = partial(works.run, command=command, keywords=keywords)
        return self._on_each(work, as_completed=as_completed, **options)

    @overload
    def check(
        self,
        command: Command,
        *,
        as_completed: Literal[True],
        text: Literal[True] = ...,
        **keywords: Unpack[CommandOptions],
    ) -> Iterator[tuple[str, CheckResult[list[str]] | BaseException]]: ...
    @overload
    def check(
        self, command: Command, *, as_completed: Literal[True], text: Literal[False], **keywords: Unpack[CommandOptions]
    ) -> Iterator[tuple[str, CheckResult[bytes] | BaseException]]: ...
    @overload
    def check(
        self,
        command: Command,
        *,
        as_completed: Literal[False] = ...,
        text: Literal[True] = ...,
        **keywords: Unpack[CommandOptions],
    ) -> GroupResult[CheckResult[list[str]]]: ...
    @overload
    def check(
        self,
        command: Command,
        *,
        as_completed: Literal[False] = ...,
        text: Literal[False],
        **keywords: Unpack[CommandOptions],
    ) -> GroupResult[CheckResult[bytes]]: ...
    def check(
        self, command: Command, *, as_completed: bool = False, **keywords: Unpack[CheckOptions]
    ) -> _Outcomes[CheckResult[list[str]]] | _Outcomes[CheckResult[bytes]]:
        """Run a command and return its output, as :func:`remoto.process.check` does.

        :param keywords: the keywords of :func:`remoto.process.check`, without ``exit``, and the options of a verb.
        :returns: a GroupResult of tuples ``(stdout, stderr, exit status)``; those with the exit status 0 are ``ok``.

        >>> Group(['localhost']).check(['echo', 'hello']).ok['localhost'].stdout
        ['hello']
        """
        options = pop_options(keywords)
        arguments.require_command(process.check, command, keywords, self._executor)
        work = partial(works.check, command=command, keywords=keywords)
        return self._on_each(work, as_completed=as_completed, **options)

    @overload
    def put(
        self, source: Path | bytes, destination: Path, *, as_completed: Literal[True], **keywords: Unpack[CopyOptions]
    ) -> Iterator[tuple[str, CopyResult | BaseException]]: ...
    @overload
    def put(
        self,
        source: Path | bytes,
        destination: Path,
        *,
        as_completed: Literal[False] = ...,
        **keywords: Unpack[CopyOptions],
    ) -> GroupResult[CopyResult]: ...
    def put(
        self,
        source: Path | bytes,
        destination: Path,
        *,
        as_completed: bool = False,
        **keywords: Unpack[CopyOptions],
    ) -> _Outcomes[CopyResult]:
        """Copy a local file or directory to each host, as :func:`remoto.file_sync.put` does.

        A directory is listed once for all hosts, see :meth:`rsync`.

        :param source: a path, or the contents of a file as bytes.
        :param destination: a remote path.
        :param keywords: ``timeout`` as for :func:`remoto.file_sync.put`, and the options of a verb.
        :returns: a GroupResult of CopyResults.
        """
        options = pop_options(keywords)
        arguments.require_put(source, destination, keywords, self._place())
        listing = None if isinstance(source, (bytes, bytearray, memoryview)) else Listing(source)
        work = partial(works.put, source=source, destination=destination, listing=listing, keywords=keywords)
        return self._on_each(work, as_completed=as_completed, **options)

    @overload
    def get(
        self, source: Path, destination: Path, *, as_completed: Literal[True], **keywords: Unpack[CopyOptions]
    ) -> Iterator[tuple[str, CopyResult | BaseException]]: ...
    @overload
    def get(
        self, source: Path, destination: Path, *, as_completed: Literal[False] = ..., **keywords: Unpack[CopyOptions]
    ) -> GroupResult[CopyResult]: ...
    def get(
        self, source: Path, destination: Path, *, as_completed: bool = False, **keywords: Unpack[CopyOptions]
    ) -> _Outcomes[CopyResult]:
        """Copy a file or directory from each host to ``DESTINATION/HOST``.

        :param source: a remote path.
        :param destination: a local directory, created if it is missing. In the names of the copies, each ``/`` of a
            host's name is replaced by ``_``.
        :param keywords: ``timeout`` as for :func:`remoto.file_sync.get`, and the options of a verb.
        :returns: a GroupResult of CopyResults.
        :raises ValueError: the copies of two hosts would have the same name.
        """
        options = pop_options(keywords)
        arguments.require_get(source, destination, keywords)
        destinations = arguments.destinations(os.fsdecode(destination), self)
        os.makedirs(os.fsdecode(destination), exist_ok=True)
        work = partial(works.get, source=source, destinations=destinations, keywords=keywords)
        return self._on_each(work, as_completed=as_completed, **options)

    @overload
    def rsync(
        self, source: Path, destination: Path, *, as_completed: Literal[True], **keywords: Unpack[RsyncOptions]
    ) -> Iterator[tuple[str, None | BaseException]]: ...
    @overload
    def rsync(
        self, source: Path, destination: Path, *, as_completed: Literal[False] = ..., **keywords: Unpack[RsyncOptions]
    ) -> GroupResult[None]: ...
    def rsync(
        self, source: Path, destination: Path, *, as_completed: bool = False, **keywords: Unpack[RsyncOptions]
    ) -> _Outcomes[None]:
        """Make a directory on each host a copy of a local one, as :func:`remoto.file_sync.rsync_conn` does.

        The source is listed once for all hosts, when the first one is served. A file that is removed meanwhile is an
        error of the hosts that need it, and a new one is not sent. The list needs about 200 bytes for each file, and 16
        more for each running host. With ``executor=``, each worker lists the source.

        :param source: a local directory or file.
        :param destination: the remote path of the copy.
        :param keywords: ``delete`` as for :func:`remoto.file_sync.rsync`, and the options of a verb.
        :returns: a GroupResult of None.
        """
        options = pop_options(keywords)
        arguments.require_rsync(source, destination, keywords, self._place())
        work = partial(works.rsync, source=source, destination=destination, listing=Listing(source), keywords=keywords)
        return self._on_each(work, as_completed=as_completed, **options)

    @overload
    def map(
        self, work: Callable[[BaseConnection], _Value], *, as_completed: Literal[True], **keywords: Unpack[Options]
    ) -> Iterator[tuple[str, _Value | BaseException]]: ...
    @overload
    def map(
        self,
        work: Callable[[BaseConnection], _Value],
        *,
        as_completed: Literal[False] = ...,
        **keywords: Unpack[Options],
    ) -> GroupResult[_Value]: ...
    def map(
        self, work: Callable[[BaseConnection], _Value], *, as_completed: bool = False, **options: Unpack[Options]
    ) -> _Outcomes[_Value]:
        """Call a function with each host's connection, in a thread for each host.

        :param work: a function of an open connection.
        :param options: the options of a verb.
        :returns: a GroupResult of the function's results. The value of a generator is the list of its items. A host
            whose function raises a TimeoutError is ``timed_out``. Any other exception, even a ConnectError, makes it
            ``failed``, since the function may have started something.

        >>> Group(['localhost']).map(lambda conn: conn.hostname)['localhost']
        'localhost'
        """
        if not callable(work):
            raise TypeError(f"work: expected a function of a connection, not {type(work).__name__}: {work!r}")
        return self._on_each(partial(works.apply, function=work), as_completed=as_completed, **options)

    @overload
    def import_module(
        self,
        module: ModuleType,
        python_executable: str | None = None,
        *,
        include: ModuleType | Iterable[ModuleType] = ...,
        as_completed: Literal[True],
        **options: Unpack[Options],
    ) -> GroupModule[Iterator[tuple[str, AnyResult]]]: ...
    @overload
    def import_module(
        self,
        module: ModuleType,
        python_executable: str | None = None,
        *,
        include: ModuleType | Iterable[ModuleType] = ...,
        as_completed: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> GroupModule[GroupResult[AnyResult]]: ...
    def import_module(
        self,
        module: ModuleType,
        python_executable: str | None = None,
        *,
        include: ModuleType | Iterable[ModuleType] = (),
        as_completed: bool = False,
        **options: Unpack[Options],
    ) -> GroupModule[_Outcomes[AnyResult]]:
        """Return a proxy for a module. Each of its functions runs on all hosts, and returns a GroupResult.

        The value of a generator function is the list of its items.

        :param module: as for :meth:`remoto.backends.BaseConnection.import_module`.
        :param python_executable: as for :meth:`remoto.backends.BaseConnection.import_module`.
        :param include: as for :meth:`remoto.backends.BaseConnection.import_module`.
        :param as_completed: see the options of a verb; applies to all functions of the proxy.
        :param options: the other options of a verb; they apply to all functions of the proxy.

        >>> import posixpath
        >>> Group(['localhost']).import_module(posixpath).join('a', 'b')['localhost']
        'a/b'
        """
        self._plan(**options)
        on_each = partial(self._on_each, as_completed=as_completed, **options)
        return GroupModule(works.Import(module, python_executable, include), on_each, self._place())

    def reconnect(self, **options: Unpack[Options]) -> GroupResult[None]:
        """Connect to all hosts that are not connected. Retry unreachable hosts.

        :param options: the options of a verb, without ``as_completed``.
        :returns: a GroupResult of None.
        """
        self._forget_errors()
        return cast("GroupResult[None]", self._on_each(works.nothing, **options))

    def _place(self) -> str:
        """Return the hosts, for an error that concerns all of them."""
        return f"{len(self)} hosts" if len(self) > 1 else next(iter(self))

    def _on_each(
        self, what: works.Work, *, as_completed: bool = False, **options: Unpack[Options]
    ) -> _Outcomes[AnyResult]:
        served = self._round(self._plan(**options), options.get("progress"), what)
        return served.values() if as_completed else served.run()

    def _round(self, chosen: Plan, progress: Progress | None, what: works.Work) -> Round:
        if self._executor is None:
            require_descriptors(self._members.values())
            return MembersRound(chosen, progress, what, self._members, self._connect)
        with importing:
            from .fleets.executors import SharedRound

        return SharedRound(chosen, progress, what, self._members, self._executor, *self._login_limits)

    def _plan(self, **options: Unpack[Options]) -> Plan:
        return plan(list(self), self._parallel, **options)
