"""Work on many hosts at the same time."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Literal, TypeVar, overload

from . import file_sync, process
from .backends import BaseConnection
from .exc import CommandTimeout, ConnectError
from .file_sync import CopyResult
from .fleets import members as rooms
from .fleets.members import Member
from .fleets.membership import Membership
from .fleets.options import NAMES, divided
from .fleets.result import GroupResult, Outcome
from .fleets.schedule import plan, serve
from .fleets.verbs import GroupModule, Work, check, map_to, ok, run
from .process import CheckResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .commands.request import Command
    from .files.arguments import Path
    from .fleets.options import CommandOptions, CopyOptions, Options, RsyncOptions, RunOptions

__all__ = ["Group", "GroupResult"]

_Value = TypeVar("_Value")
#: seconds that hosts which are interrupted may take to end, and then the others to close
_INTERRUPTED = 1.2
_CLOSED = 0.5


class Group(Membership):
    """Hosts, or containers, that are worked on at the same time.

    Connections are opened on first use, and stay open until :meth:`close` or the end of the ``with`` block. Each verb, such as
    :meth:`run`, works on all hosts and returns a :class:`~remoto.fleets.result.GroupResult`; it raises nothing for a host's
    sake. A host that could not be reached is reported again at once, with the same error, until :meth:`reconnect`. A lost
    connection is opened again at the next call.

    Each verb also takes these options:

    - ``as_completed=True`` returns an iterator over pairs of a host and its value or error, as they come. Leaving it early starts
      no further host, and closes the connections of hosts that are not done.
    - ``batch``: serve the hosts in batches: a number of hosts, a percentage of the group such as ``'25%'``, or a list of these, of
      which the last one repeats.
    - ``stop_after``: start no further host once so many have failed, timed out or were unreachable. With
      ``count_unreachable=False``, unreachable hosts do not count.
    - ``progress``: called with the number of hosts that are done, the number of all hosts, and the host that was done last.

    :param hosts: names; patterns such as ``node[01-40]``; pairs of a name and its keywords; a mapping of names to keywords; or
        connections, which are neither closed nor opened again. A string is one name or pattern.
    :param backend: the name of the backend, as for :func:`remoto.connection.get`, or its class. A name becomes the hostname, or the
        ``container_name`` or ``pod_name``.
    :param parallel: hosts that are served at the same time.
    :param logins: logins at the same time, for each jump host and for this machine.
    :param connect_retries: further tries for a host that times out or resets the connection.
    :param keywords: further keywords of each connection.
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
    def run(self, command: Command, **keywords: Any) -> Any:
        """Run a command, and log its output as it comes, as :func:`remoto.process.run` does.

        :param keywords: the keywords of :func:`remoto.process.run`, without ``exit``; and the options of a verb.
        :returns: a GroupResult of exit statuses; -1 after a timeout. A command that could not be started is a CommandError.

        >>> Group(['localhost']).run(['sh', '-c', 'exit 3']).failed
        {'localhost': 3}
        """
        own, of_run = divided(keywords)
        _require(process.run, command, of_run)
        return self._on_each(lambda conn: run(conn, command, of_run), **own)

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
    def check(self, command: Command, **keywords: Any) -> Any:
        """Run a command and return its output, as :func:`remoto.process.check` does.

        :param keywords: the keywords of :func:`remoto.process.check`, without ``exit``; and the options of a verb.
        :returns: a GroupResult of tuples ``(stdout, stderr, exit status)``, ``ok`` where the exit status is 0.

        >>> Group(['localhost']).check(['echo', 'hello']).ok['localhost'].stdout
        ['hello']
        """
        own, of_check = divided(keywords)
        _require(process.check, command, of_check)
        return self._on_each(lambda conn: check(conn, command, of_check), **own)

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
    def put(self, source: Path | bytes, destination: Path, **keywords: Any) -> Any:
        """Copy a local file or directory to each host, as :func:`remoto.file_sync.put` does.

        :param source: a path, or the contents of a file as bytes.
        :param destination: a remote path.
        :param keywords: ``timeout``, as of :func:`remoto.file_sync.put`; and the options of a verb.
        :returns: a GroupResult of CopyResults.
        """
        own, of_put = divided(keywords)
        inspect.signature(file_sync.put).bind(None, source, destination, **of_put)
        if hasattr(source, "read"):
            raise TypeError("source: expected a path or bytes: an open file can be read for one host only")
        return self._on_each(lambda conn: ok(file_sync.put(conn, source, destination, **of_put)), **own)

    @overload
    def get(
        self, source: Path, destination: Path, *, as_completed: Literal[True], **keywords: Unpack[CopyOptions]
    ) -> Iterator[tuple[str, CopyResult | BaseException]]: ...
    @overload
    def get(
        self, source: Path, destination: Path, *, as_completed: Literal[False] = ..., **keywords: Unpack[CopyOptions]
    ) -> GroupResult[CopyResult]: ...
    def get(self, source: Path, destination: Path, **keywords: Any) -> Any:
        """Copy a file or directory from each host to ``DESTINATION/HOST``.

        :param source: a remote path.
        :param destination: a local directory, made if it is missing. In the name of a host's copy, ``_`` stands for each ``/``.
        :param keywords: ``timeout``, as of :func:`remoto.file_sync.get`; and the options of a verb.
        :returns: a GroupResult of CopyResults.
        :raises ValueError: two hosts would have the same copy.
        """
        own, of_get = divided(keywords)
        inspect.signature(file_sync.get_as).bind(None, source, destination, **of_get)
        places = self._places(os.fsdecode(destination))
        os.makedirs(os.fsdecode(destination), exist_ok=True)
        return self._on_each_named(lambda host, conn: ok(file_sync.get_as(conn, source, places[host], **of_get)), **own)

    def _places(self, directory: str) -> dict[str, str]:
        """Return the local path of each host's copy."""
        names = {host: host.replace("/", "_") for host in self}
        by_name: dict[str, str] = {}
        for host, name in names.items():
            if name in (".", ".."):
                raise ValueError(f"no file can be named after the host {host!r}")
            if by_name.setdefault(name, host) != host:
                raise ValueError(f"the copies of {by_name[name]} and {host} would have the same name: {name}")
        return {host: os.path.join(directory, name) for host, name in names.items()}

    @overload
    def rsync(
        self, source: Path, destination: Path, *, as_completed: Literal[True], **keywords: Unpack[RsyncOptions]
    ) -> Iterator[tuple[str, None | BaseException]]: ...
    @overload
    def rsync(
        self, source: Path, destination: Path, *, as_completed: Literal[False] = ..., **keywords: Unpack[RsyncOptions]
    ) -> GroupResult[None]: ...
    def rsync(self, source: Path, destination: Path, **keywords: Any) -> Any:
        """Make a directory on each host a copy of a local one, as :func:`remoto.file_sync.rsync_conn` does.

        :param source: a local directory, or a file.
        :param destination: the remote path of the copy.
        :param keywords: ``delete``, as of :func:`remoto.file_sync.rsync`; and the options of a verb.
        :returns: a GroupResult of None.
        """
        own, of_rsync = divided(keywords)
        inspect.signature(file_sync.rsync_conn).bind(None, source, destination, **of_rsync)

        def work(conn: BaseConnection) -> Outcome:
            file_sync.rsync_conn(conn, source, destination, **of_rsync)
            return ok(None)

        return self._on_each(work, **own)

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
    def map(self, work: Callable[[BaseConnection], _Value], **keywords: Any) -> Any:
        """Call a function with each host's connection, in a thread for each.

        :param work: a function of a connection.
        :param keywords: the options of a verb.
        :returns: a GroupResult of what ``work`` returns; an exception makes a host ``failed``.

        >>> Group(['localhost']).map(lambda conn: conn.hostname)['localhost']
        'localhost'
        """
        if not callable(work):
            raise TypeError(f"work: expected a function of a connection, not {type(work).__name__}: {work!r}")
        return self._on_each(lambda conn: map_to(conn, work), **keywords)

    def import_module(
        self,
        module: Any,
        python_executable: str | None = None,
        *,
        include: ModuleType | Iterable[ModuleType] = (),
        as_completed: bool = False,
        **options: Unpack[Options],
    ) -> GroupModule:
        """Return a stand-in for a module. Each of its functions runs on all hosts, and returns a GroupResult.

        A generator's value is the list of what it yields.

        :param module: as for :meth:`remoto.backends.BaseConnection.import_module`, like the next two.
        :param options: the options of a verb, for all functions of this stand-in.

        >>> import posixpath
        >>> Group(['localhost']).import_module(posixpath).join('a', 'b')['localhost']
        'a/b'
        """
        unknown = set(options) - NAMES
        if unknown:
            raise TypeError(f"import_module() got an unexpected keyword argument {sorted(unknown)[0]!r}")
        on_each = functools.partial(self._on_each, as_completed=as_completed, **options)
        return GroupModule(module, lambda conn: conn.import_module(module, python_executable, include=include), on_each)

    def _on_each(self, work: Work, **options: Any) -> Any:
        return self._on_each_named(lambda host, conn: work(conn), **options)

    def _on_each_named(
        self,
        work: Callable[[str, BaseConnection], Outcome],
        *,
        as_completed: bool = False,
        batch: Any = None,
        stop_after: int | None = None,
        count_unreachable: bool = True,
        progress: Any = None,
    ) -> Any:
        chosen = plan(list(self), self._parallel, batch, stop_after, count_unreachable)
        if progress is not None and not callable(progress):
            raise TypeError(f"progress: expected a function, not {type(progress).__name__}: {progress!r}")
        rooms.require_descriptors(sum(not member.is_open for member in self._members.values()))
        outcomes: dict[str, Outcome] = {}
        interrupted = threading.Event()

        def on_host(host: str) -> Outcome | None:
            outcome = self._outcome(self._members[host], work, interrupted)
            if outcome is not None:
                # stored here: an interrupt may come before the main thread has it
                outcomes[host] = outcome
            return outcome

        def abandon(hosts: Sequence[str]) -> None:
            interrupted.set()
            rooms.close([self._members[host] for host in hosts], timeout=0)

        def served() -> Iterator[tuple[str, Outcome]]:
            done = 0
            with contextlib.closing(serve(chosen, on_host, abandon, _INTERRUPTED)) as results:
                for host, outcome in results:
                    done += 1
                    if progress is not None:
                        progress(done, len(self), host)
                    yield host, outcome

        if as_completed:
            return ((host, outcome.value) for host, outcome in served())
        try:
            for _ in served():
                pass
        except KeyboardInterrupt as error:
            rooms.close(self._members.values(), _CLOSED)
            error.result = GroupResult(list(self), outcomes)  # type: ignore[attr-defined]
            raise
        return GroupResult(list(self), outcomes)

    def _outcome(
        self, member: Member, work: Callable[[str, BaseConnection], Outcome], interrupted: threading.Event
    ) -> Outcome | None:
        try:
            conn = member.connect(self._logins.connect)
        except BaseException as error:
            return None if interrupted.is_set() else Outcome("unreachable", error)
        try:
            return work(member.name, conn)
        except CommandTimeout as error:
            return Outcome("timed_out", error)
        except ConnectError as error:
            # a container's client failed before anything was started
            member.error = error
            return Outcome("unreachable", error)
        except BaseException as error:
            return Outcome("failed", error)


def _require(verb: Callable[..., Any], command: Any, keywords: dict[str, Any]) -> None:
    """Refuse what every host would refuse."""
    if "exit" in keywords:
        raise TypeError("exit: a group's connections stay open until close()")
    inspect.signature(verb).bind(None, command, **keywords)
