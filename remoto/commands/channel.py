"""Send to a running command, and receive from it, over its channel."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Callable, TypeVar

import execnet

from ..exc import ConnectionLost
from ..gateways.execnet_internals import command_ended, release, set_window
from ..gateways.flow_control import Window
from ..gateways.outbox import sending_within
from ..gateways.remote_calls import lost, raise_cause
from ..remote.wire import KILL
from .answers import WrongAnswer, could_not_be_killed, wrong_answer
from .timeout import TimedOut, TimeLimit

if TYPE_CHECKING:
    from .target import Channel

Answer = TypeVar("Answer")

# bytes of output to process before acknowledging them to the remote side
ACKNOWLEDGE = 1024 * 1024


class CommandChannel:
    """The channel of a command. Its errors name the host and the command.

    :param gateway: the connection's gateway.
    :param timeout: seconds to wait until an acknowledgement is sent.
    """

    def __init__(self, channel: Channel, gateway: execnet.Gateway, host: str, text: str, timeout: float | None) -> None:
        self.channel = channel
        # the channel of a session in a container has its own gateway
        self._gateway = getattr(channel, "gateway", None) or gateway
        self._host = host
        self._text = text
        self._timeout = timeout
        self._unacknowledged = 0
        self._has_ended = False
        set_window(channel, Window())

    def send(self, item: int | str | tuple[bytes], timeout: float | None) -> None:
        """Send an item. If the command or the connection has ended, do nothing: the next receive reports it.

        :raises TimedOut: the timeout expired.
        """
        try:
            sending_within(timeout, self.channel.send, item)
        except OSError as error:
            raise_cause_of_sending(error)

    def receive(self, read: Callable[[object], Answer], timeout: float | None) -> Answer:
        """Receive an answer.

        :param read: parses an item, or raises WrongAnswer.
        :raises TimedOut: the timeout expired.
        :raises ConnectionLost: the connection was lost, or the answer is not valid.
        :raises execnet.RemoteError: the command could not be started.
        """
        try:
            item = self.channel.receive(timeout)
        except execnet.TimeoutError:
            raise TimedOut from None
        except execnet.RemoteError:
            raise
        except TimeoutError:  # Python's own, raised by a signal handler
            self.close()
            raise
        except (EOFError, OSError):
            raise self.lost() from None
        except BaseException:
            self.close()
            raise
        try:
            return read(item)
        except WrongAnswer:
            self.close()
            raise wrong_answer(self._host, self._text, item) from None

    def acknowledge(self, size: int, overhead: int) -> None:
        """Acknowledge processed output, a megabyte at a time.

        :param size: the bytes of output.
        :param overhead: the bytes that the remote side counts for the message besides its data.
        """
        release(self.channel, size)
        self._unacknowledged += size + overhead
        if self._unacknowledged >= ACKNOWLEDGE:
            self.send(self._unacknowledged, self._timeout)
            self._unacknowledged = 0

    def kill(self, seconds: float) -> bool:
        """Kill the command. Return False if it may still be running.

        :param seconds: the time to wait for it.
        """
        if self._has_ended:
            # the channel may serve another command already
            return True
        limit = TimeLimit(seconds, total=True)
        try:
            self.send(KILL, seconds)
            while not could_not_be_killed(self.channel.receive(limit.left())):
                pass
            return False
        except execnet.TimeoutError:
            return False
        except (EOFError, execnet.RemoteError):
            return True

    def end(self) -> None:
        """Leave the channel to the next command, after the exit status of this one."""
        # first: an interrupt may come in between
        self._has_ended = True
        command_ended(self.channel)

    def close(self) -> None:
        if self._has_ended:
            return
        # the object that a program's test put in place of the channel may have receive() and nothing else
        close = getattr(self.channel, "close", lambda: None)
        # OSError: the connection is lost as well
        with contextlib.suppress(OSError):
            close()

    def lost(self) -> ConnectionLost:
        """Return the error for a lost connection."""
        return lost(self._gateway, self._host, self._text)


def raise_cause_of_sending(error: OSError) -> None:
    """Raise the cause of an error, if it has one; execnet's TimeoutError becomes the call's TimedOut."""
    try:
        raise_cause(error)
    except execnet.TimeoutError:
        raise TimedOut from None
