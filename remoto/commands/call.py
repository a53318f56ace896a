"""Run one command: send its request, deliver its output, apply its timeout, end it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, NoReturn, TypeVar

import execnet

from .. import log
from ..exc import CommandError, CommandTimeout, ConnectError, ConnectionLost
from ..gateways.bootstrap import RemoteFunction, lost, raise_cause
from ..gateways.execnet_internals import deal_with, set_window
from ..gateways.outbox import sending_within
from ..gateways.receiving import Window
from ..util import admin_command, bound
from .answers import (
    ENDED,
    LEFT,
    MESSAGE,
    STATUS,
    STDERR,
    STDOUT,
    ClientEnded,
    Ended,
    Result,
    Status,
    Taken,
    WrongAnswer,
    answer_of_check,
    answer_of_exchange,
    answer_of_run,
    is_left,
    wrong_answer,
)
from .failure import last_lines, reason_of, shell_advice
from .lines import split_lines
from .output import NO_LIMIT, Output, TimedOut, TimeLimit
from .request import Command, argv_of, as_logged, encoded
from .target import Channel, target_of

Answer = TypeVar("Answer")

# seconds to wait for the report that a command was ended: SIGTERM, two seconds, SIGKILL
KILL_TIMEOUT = 10.0
# stderr lines of a container's client that an error shows
CLIENT_LINES = 5
# bytes of output to process before acknowledging them to the remote side
ACKNOWLEDGE = 1024 * 1024
# bytes of stdin that may be sent before the remote side acknowledges them
INPUT_WINDOW = 4 * 1024 * 1024

RUN = RemoteFunction("command", "run")
CHECK = RemoteFunction("command", "check")


class Call:
    """One run of a command; run, check and file transfers use it."""

    def __init__(
        self,
        conn: object,
        command: Command,
        timeout: float | None,
        kill_on_timeout: bool | None,
        text: str = "",
        total: bool = False,
    ) -> None:
        """
        :param text: names the command in messages; the command is then not logged.
        :param total: the timeout limits the whole call, not each silence.
        """
        self.conn = target_of(conn)
        self.command = command
        self.timeout = bound("timeout", timeout) if timeout else bound("global_timeout", self.conn.global_timeout)
        self.kill = self.conn.kill_on_timeout if kill_on_timeout is None else kill_on_timeout
        self.host = self.conn.where()
        self.text = text
        self.argv: list[str] = []
        self.channel: Channel | None = None
        #: the error that was raised if the command could not be started
        self.failure: CommandError | None = None
        self._total = total
        self._limit = NO_LIMIT
        self._popen: Mapping[str, Any] = {}
        self._is_left = False
        self._unacknowledged = 0

    def start(
        self,
        function: RemoteFunction,
        env: Mapping[str, str] | None,
        extend_env: Mapping[str, str] | None,
        stdin: str | bytes | bool | None,
        popen: Mapping[str, Any],
    ) -> None:
        """Log the command and send its request, in one message.

        :param stdin: True if :meth:`exchange` is to send it in blocks.
        """
        command = argv_of(self.command)
        argv = self.conn.cmd(command)
        sudo = bool(self.conn.sudo)
        # the request is made of the command itself, not of the client's argv, which is logged
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
            self.channel = self.conn.start_command(function, request, self.timeout)
            set_window(self.channel, Window())
        except ConnectError:
            raise
        except ConnectionLost as error:
            raise ConnectionLost(self.host, self.text, error.what, error.stderr) from None
        except OSError as error:
            raise_cause_of_sending(error)
            raise lost(self.conn.gateway, self.host, self.text) from None

    def answer(self, outputs: Mapping[int, Output]) -> int:
        """Receive the result of a check, in blocks if it is long; return the exit status."""
        while not isinstance(answer := self._receive(answer_of_check, self._limit.left()), Result):
            outputs[answer.stream].feed(answer.data, NO_LIMIT)
            self._acknowledge(len(answer.data), 0)
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
                answer = self._receive(answer_of_run, self._limit.left())
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
            self._acknowledge(len(answer.data), MESSAGE)
        _end(outputs)
        return self._exit_status(answer.status)

    def exchange(self, blocks: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
        """Send blocks to the command's stdin; yield its output, (STDOUT or STDERR, bytes), and last (STATUS, exit
        status).

        In each direction, at most a window of bytes is unacknowledged.
        """
        unsent, untaken = iter(blocks), 0
        block: bytes | None = b""
        while True:
            while block is not None and untaken < INPUT_WINDOW:
                block = next(unsent, None)
                self._send((block or b"",), self.timeout)
                untaken += len(block or b"")
            answer = self._receive(functools.partial(answer_of_exchange, sent=untaken), self._limit.left())
            if isinstance(answer, Taken):
                untaken -= answer.size
                deal_with(self.channel)
            elif isinstance(answer, Ended):
                yield STATUS, self._exit_status(answer.status)
                return
            else:
                yield answer
                self._acknowledge(len(answer.data), MESSAGE)

    def abandon(self) -> None:
        """Stop waiting for the command. It is left running, or ended if it was started with ``kill``."""
        if self.channel is not None:
            with contextlib.suppress(OSError):  # the connection is lost as well
                self.channel.close()

    def time_out(self) -> None:
        """Log the timeout; leave the command running, or kill it if ``kill`` is set."""
        log.timed_out(self.conn, self.timeout)
        if self.channel is None:
            return
        if self.kill and not self.end(KILL_TIMEOUT):
            self._is_left = True
            self.conn.logger.warning("%s: the command could not be ended and may still run: %s", self.host, self.text)
        self.abandon()

    def end(self, seconds: float) -> bool:
        """Kill the command. Return True if it or the connection has ended in time, False if it may still run.

        :param seconds: how long to wait.
        """
        assert self.channel is not None
        limit = TimeLimit(seconds, total=True)
        try:
            self._send("kill", seconds)
            while not is_left(self.channel.receive(limit.left())):
                pass
            return False
        except execnet.TimeoutError:
            return False
        except (EOFError, execnet.RemoteError):
            return True

    def raise_timeout(self, stdout: Any, stderr: Any) -> NoReturn:
        """Raise the error for a command that timed out.

        :param stdout: the output so far.
        """
        assert self.timeout is not None
        if self._is_left:
            note = "The command could not be ended and may still run."
        else:
            note = "" if self.kill else "The command was left running; kill_on_timeout=True ends it."
        error = CommandTimeout(self.host, self.text, self.timeout, stdout, stderr, note)
        # before Python 3.11 the cause holds its notes
        raise error from error.__cause__

    def exit_error(self, status: int, stderr: Iterable[str | bytes]) -> CommandError:
        """Return the error for a command that ended with a non-zero exit status.

        :param stderr: its last lines, or blocks.
        """
        shown = last_lines(stderr)
        advice = shell_advice(self.command, self._popen, shown) if self.conn.sudo else ""
        return CommandError(self.host, self.text, status, stderr=shown, advice=advice)

    def _exit_status(self, status: Status) -> int:
        if self.kill and self.conn.is_closed:
            raise ConnectionLost(self.host, self.text, "the connection was closed, and the command ended with it")
        if isinstance(status, int):
            # a container's client reports a signal as a shell does; the Python of a session reports it as Popen does
            return 128 - status if status < 0 and self.conn.has_client else status
        lines = split_lines(status.stderr)
        if status.started:
            raise self._client_lost(status)
        raise self.conn.client_failure(self.argv, status.status, lines) or wrong_answer(self.host, self.text, status)

    def _client_lost(self, status: ClientEnded) -> ConnectionLost:
        what = "the connection to the container ended before the command did"
        lines = split_lines(status.stderr)[-CLIENT_LINES:]
        if status.ending == ENDED:
            what += ", and the command was ended"
        elif status.ending == LEFT:
            what += "; the command could not be ended and may still run"
            lines += split_lines(status.problem)[-CLIENT_LINES:]
        return ConnectionLost(self.host, self.text, what, "\n".join(lines))

    def _lost(self) -> ConnectionLost:
        # a channel of a Python in a container has another gateway than the connection
        gateway = getattr(self.channel, "gateway", None) or self.conn.gateway
        return lost(gateway, self.host, self.text)

    def _acknowledge(self, size: int, overhead: int) -> None:
        deal_with(self.channel, size)
        self._unacknowledged += size + overhead
        if self._unacknowledged >= ACKNOWLEDGE:
            self._send(self._unacknowledged, self.timeout)
            self._unacknowledged = 0

    def _receive(self, read: Callable[[object], Answer], timeout: float | None) -> Answer:
        assert self.channel is not None
        try:
            item = self.channel.receive(timeout)
        except execnet.TimeoutError:
            raise TimedOut from None
        except execnet.RemoteError as error:
            self._raise_not_started(str(error))
        except TimeoutError:  # Python's own, raised by a signal handler
            self.abandon()
            raise
        except (EOFError, OSError):
            raise lost(self.conn.gateway, self.host, self.text) from None
        except BaseException:
            self.abandon()
            raise
        try:
            return read(item)
        except WrongAnswer:
            self.abandon()
            raise wrong_answer(self.host, self.text, item) from None

    def _raise_not_started(self, traceback: str) -> NoReturn:
        reason = reason_of(traceback)
        advice = shell_advice(self.command, self._popen, reason)
        self.failure = CommandError(self.host, self.text, traceback=traceback, reason=reason, advice=advice)
        # before Python 3.11 the cause holds its notes
        raise self.failure from self.failure.__cause__

    def _send(self, item: int | str | tuple[bytes], seconds: float | None) -> None:
        assert self.channel is not None
        try:
            sending_within(seconds, self.channel.send, item)
        except OSError as error:
            raise_cause_of_sending(error)
            # otherwise the command or the connection has just ended: the next receive reports it


def _end(outputs: Mapping[int, Output]) -> None:
    for output in outputs.values():
        output.end()


def raise_cause_of_sending(error: OSError) -> None:
    """Raise the cause of an error, if it has one; execnet's TimeoutError becomes the call's TimedOut."""
    try:
        raise_cause(error)
    except execnet.TimeoutError:
        raise TimedOut from None
