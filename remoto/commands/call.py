"""Run one command: send its request, deliver its output, apply its timeout, kill it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Callable, NoReturn, TypeVar

import execnet

from .. import log
from ..exc import CommandError, CommandTimeout, ConnectError, ConnectionLost
from ..gateways.remote_calls import CommandFunction, RemoteFunction, lost
from ..remote.wire import MESSAGE, STDERR, STDOUT
from ..util import admin_command, checked_seconds
from .answers import (
    Block,
    Ended,
    Exited,
    Result,
    Status,
    Written,
    answer_of_check,
    answer_of_exchange,
    answer_of_run,
    wrong_answer,
)
from .channel import CommandChannel, raise_cause_of_sending
from .failure import client_lost, last_lines, reason_of, shell_advice, without_frames
from .lines import split_lines
from .output import Output
from .request import Command, argv_of, as_logged, encoded
from .target import Target, target_of
from .timeout import NO_LIMIT, TimedOut, TimeLimit

if TYPE_CHECKING:
    from ..backends import BaseConnection

Answer = TypeVar("Answer")

# seconds to wait for the report that a command was killed: SIGTERM, two seconds, SIGKILL
KILL_TIMEOUT = 10.0
# bytes of stdin that may be sent before the remote side acknowledges them
INPUT_WINDOW = 4 * 1024 * 1024

RUN = CommandFunction("command", "run")
CHECK = CommandFunction("command", "check")


class Call:
    """One run of a command, for ``run``, ``check`` and file transfers."""

    def __init__(
        self,
        conn: Target | BaseConnection,
        command: Command,
        timeout: float | None,
        kill_on_timeout: bool | None,
        text: str = "",
        total: bool = False,
    ) -> None:
        """Check the timeout. Nothing is started.

        :param text: the command's name in messages, instead of its command line, which is then not logged.
        :param total: True applies the timeout to the whole call, False to each wait for output.
        """
        self.conn = target_of(conn)
        self.command = command
        name, seconds = ("timeout", timeout) if timeout else ("global_timeout", self.conn.global_timeout)
        self.timeout = checked_seconds(name, seconds)
        self.kill = self.conn.kill_on_timeout if kill_on_timeout is None else kill_on_timeout
        self.host = self.conn.where()
        self.text = text
        self.argv: list[str] = []
        self._opened: CommandChannel | None = None
        #: the error that was raised if the command could not be started
        self.failure: CommandError | None = None
        self._total = total
        self._limit = NO_LIMIT
        self._popen: Mapping[str, object] = {}
        self._may_still_run = False

    def start(
        self,
        function: RemoteFunction,
        env: Mapping[str, str] | None,
        extend_env: Mapping[str, str] | None,
        stdin: str | bytes | bool | None,
        popen: Mapping[str, object],
    ) -> None:
        """Log the command and send its request, in one message.

        :param stdin: True if :meth:`exchange` will send it in blocks.
        """
        command = argv_of(self.command)
        argv = self.conn.cmd(command)
        sudo = bool(self.conn.sudo)
        # in a container, the client's argv is only logged; the request has the command itself
        sent = command if self.conn.has_client else argv
        request = self.conn.prepare_command(
            encoded(sent, kill=self.kill, sudo=sudo, stdin=stdin, env=env, extend_env=extend_env, popen=popen)
        )
        self._popen = popen
        logged = admin_command(sudo, argv)
        self.argv = logged if isinstance(logged, list) else [str(logged)]
        if not self.text:
            self.text = as_logged(logged)
            self.conn.logger.info("Running command: %s", self.text)
        self._limit = TimeLimit(self.timeout, self._total)
        try:
            channel = self.conn.start_command(function, request, self.timeout)
            self._opened = CommandChannel(channel, self.conn.gateway, self.host, self.text, self.timeout)
        except (ConnectError, TimedOut):
            raise
        except ConnectionLost as error:
            raise ConnectionLost(self.host, self.text, error.what, error.stderr) from None
        except OSError as error:
            raise_cause_of_sending(error)
            raise lost(self.conn.gateway, self.host, self.text) from None

    def answer(self, outputs: Mapping[int, Output]) -> int:
        """Receive the result of ``check``, in blocks if it is long; return the exit status."""
        while not isinstance(answer := self._receive(answer_of_check), Result):
            outputs[answer.stream].feed(answer.data, NO_LIMIT)
            self._channel.acknowledge(len(answer.data), 0)
        for stream, last in ((STDOUT, answer.stdout), (STDERR, answer.stderr)):
            if isinstance(last, bytes):
                outputs[stream].feed(last, NO_LIMIT)
                outputs[stream].end()
            else:
                outputs[stream].kept.extend(last)
        return self._exit_status(answer.status)

    def stream(self, outputs: Mapping[int, Output]) -> int:
        """Deliver the output as it arrives; return the exit status."""
        while True:
            try:
                answer = self._receive(answer_of_run)
                if isinstance(answer, Ended):
                    break
            except (TimedOut, ConnectionLost):
                _end(outputs)
                raise
            try:
                outputs[answer.stream].feed(answer.data, self._limit)
            except TimedOut:
                _end(outputs)
                raise
            except BaseException:
                self.abandon()
                raise
            self._channel.acknowledge(len(answer.data), MESSAGE)
        _end(outputs)
        return self._exit_status(answer.status)

    def exchange(self, blocks: Iterable[bytes]) -> Iterator[Block | Exited]:
        """Send blocks to the command's stdin; yield its output, and then its exit status.

        Each direction has a window: the number of bytes that may be unacknowledged.
        """
        unsent, unacknowledged = iter(blocks), 0
        block: bytes | None = b""
        while True:
            while block is not None and unacknowledged < INPUT_WINDOW:
                block = next(unsent, None)
                self._channel.send((block or b"",), self.timeout)
                unacknowledged += len(block or b"")
            answer = self._receive(functools.partial(answer_of_exchange, sent=unacknowledged))
            if isinstance(answer, Written):
                unacknowledged -= answer.size
                self._channel.acknowledge(0, 0)
            elif isinstance(answer, Ended):
                yield Exited(self._exit_status(answer.status))
                return
            else:
                yield answer
                self._channel.acknowledge(len(answer.data), MESSAGE)

    def abandon(self) -> None:
        """Stop waiting for the command. It is left running, or killed if it was started with ``kill``."""
        if self._opened is not None:
            self._opened.close()

    def time_out(self) -> None:
        """Log the timeout; leave the command running, or kill it if ``kill`` is set."""
        log.timed_out(self.conn.logger, self.timeout)
        if self._opened is None:
            return
        if self.kill and not self.kill_command(KILL_TIMEOUT):
            self._may_still_run = True
            self.conn.logger.warning(
                "%s: the command could not be killed and may still be running: %s", self.host, self.text
            )
        self.abandon()

    def kill_command(self, seconds: float) -> bool:
        """Kill the command. Return False if it may still be running.

        :param seconds: the time to wait for it.
        """
        return self._channel.kill(seconds)

    def raise_timeout(self, stdout: list[str] | bytes, stderr: list[str] | bytes) -> NoReturn:
        """Raise the error for a command that timed out.

        :param stdout: the stdout so far.
        :param stderr: the stderr so far.
        """
        assert self.timeout is not None
        if self._may_still_run:
            note = "The command could not be killed and may still be running."
        else:
            note = "" if self.kill else "The command was left running; kill_on_timeout=True kills it."
        error = CommandTimeout(self.host, self.text, self.timeout, stdout, stderr, note)
        # before Python 3.11 the cause holds its notes
        raise error from error.__cause__

    def exit_error(self, status: int, stderr: Iterable[str | bytes]) -> CommandError:
        """Return the error for a non-zero exit status.

        :param stderr: the last stderr lines, or blocks.
        """
        shown = last_lines(stderr)
        advice = shell_advice(self.command, self._popen, shown) if self.conn.sudo else ""
        return CommandError(self.host, self.text, status, stderr=shown, advice=advice)

    def _exit_status(self, status: Status) -> int:
        if self.kill and self.conn.is_closed:
            raise ConnectionLost(self.host, self.text, "the connection was closed, and the command was killed")
        if isinstance(status, int):
            # a container's client reports a signal as a shell does, 128 + N; a session's Python as Popen does, -N
            return 128 - status if status < 0 and self.conn.has_client else status
        lines = split_lines(status.stderr)
        if status.started:
            raise client_lost(self.host, self.text, status)
        raise self.conn.client_failure(self.argv, status.status, lines) or wrong_answer(self.host, self.text, status)

    @property
    def _channel(self) -> CommandChannel:
        assert self._opened is not None
        return self._opened

    def _receive(self, read: Callable[[object], Answer]) -> Answer:
        try:
            answer = self._channel.receive(read, self._limit.left())
        except execnet.RemoteError as error:
            self._raise_not_started(str(error))
        if isinstance(answer, (Ended, Result)):
            # before the last output is delivered: a callback may raise
            self._channel.end()
        return answer

    def _raise_not_started(self, traceback: str) -> NoReturn:
        if self.conn.has_client:
            # log the same whether a client or a session's Python could not start the command
            traceback = without_frames(traceback)
        reason = reason_of(traceback)
        advice = shell_advice(self.command, self._popen, reason)
        self.failure = CommandError(self.host, self.text, traceback=traceback, reason=reason, advice=advice)
        # before Python 3.11 the cause holds its notes
        raise self.failure from self.failure.__cause__


def _end(outputs: Mapping[int, Output]) -> None:
    for output in outputs.values():
        output.end()
