"""Use undocumented names of execnet, to change its gateways and channels.

No other module of remoto uses such a name; ``docs/execnet.rst`` gives the reasons. On the remote side,
``remote/boot.py`` uses the names in :data:`REMOTE_NAMES`, from the source that :func:`remote_source` returns, and
``remote/files.py`` uses the two pipes of a gateway.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import inspect
import itertools
import queue
import struct
import weakref
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Callable, NoReturn, cast

import execnet
from execnet import gateway, gateway_base
from execnet.gateway_base import Message

from ..util import shown
from .channel_table import ChannelTable, Reference, start_closing
from .execnet_source import without_unused
from .flow_control import Window
from .interrupts import Event

if TYPE_CHECKING:
    from .gateway_io import GatewayIO

#: messages that end a channel or a connection
CLOSING = (
    Message.CHANNEL_CLOSE,
    Message.CHANNEL_CLOSE_ERROR,
    Message.CHANNEL_LAST_MESSAGE,
    Message.GATEWAY_TERMINATE,
)
_HEADER = "!bii"
#: channels to keep open for commands; a remote thread serves each
MOST_IDLE = 8

#: execnet 1.9 has it under this name only
ExecnetGateway = gateway.Gateway

#: names of execnet.gateway_base that remote/boot.py uses or replaces
REMOTE_NAMES = ("Popen2IO", "WorkerGateway", "WorkerPool")


def remote_source() -> str:
    """Return the source of ``execnet.gateway_base``, which remote Pythons need, without unused parts."""
    return without_unused(inspect.getsource(gateway_base))


def packed(value: object) -> bytes:
    """Return a value in execnet's serialisation.

    :raises Exception: it can't be sent: execnet.DumpError, struct.error, RecursionError, ...
    """
    return gateway_base.dumps_internal(value)


def send_packed(channel: execnet.Channel, data: bytes) -> None:
    """Send a value that :func:`packed` has serialised; the channel's send() would serialise it again."""
    if channel.isclosed():
        raise OSError("the channel is closed")
    channel.gateway._send(Message.CHANNEL_DATA, channel.id, data)


def send_joined(channel: execnet.Channel, parts: Sequence[bytes | memoryview]) -> Callable[[], None]:
    """Send the joined parts as bytes; return a function that waits until they are written, and may be reused.

    Copy no large ones: the channel's send() would copy them three times.
    """
    if isinstance(channel, Channel) and not channel.isclosed():
        size, code = sum(map(len, parts)), gateway_base.opcode
        start = struct.pack(_HEADER + "ci", Message.CHANNEL_DATA, channel.id, size + 6, code.BYTES, size)
        return cast("GatewayIO", channel.gateway._io).write_parts([start, *parts, code.STOP])
    channel.send(b"".join(parts))
    return lambda: None


def data_message(channel: execnet.Channel, item: object) -> bytes:
    """Return the message that the channel's send() would send."""
    data = packed(item)
    return struct.pack(_HEADER, Message.CHANNEL_DATA, channel.id, len(data)) + data


def error_of(channel: execnet.Channel) -> str:
    """Return the remote traceback of a channel that has ended; empty if there is none."""
    error = channel._getremoteerror()  # type: ignore[no-untyped-call]  # its gateway's if it has none
    return str(error) if isinstance(error, execnet.RemoteError) else ""


def is_gateway(value: object) -> bool:
    """Return True for a gateway of execnet's, whoever opened it; False for a program's mock of one."""
    return isinstance(value, ExecnetGateway)


def io_of(gateway: object) -> object:
    """Return the IO of a gateway; None for a program's mock without one."""
    return getattr(gateway, "_io", None)


# messages that a remote side may send; not among them: requests for a status, or to run source on this machine
_FROM_REMOTE = (*CLOSING, Message.CHANNEL_DATA, Message.RECONFIGURE)


class Values(gateway_base.Unserializer):
    """execnet's deserialiser, with memory only in proportion to the bytes received, not to announced lengths."""

    def __init__(self, data: bytes, channel: Channel | None = None, strconfig: tuple[bool, bool] | None = None) -> None:
        super().__init__(BytesIO(data), channel, strconfig)
        self._size = len(data)
        # a list item takes at least seven bytes: its index, its value and SETITEM
        self._items_left = len(data) // 7

    def _read_byte_string(self) -> bytes:
        length = self._read_int4()
        data = self.stream.read(length) if length >= 0 else b""
        if len(data) != length:
            raise gateway_base.LoadError(f"expected {length} bytes, got {len(data)}")
        return data

    def load_newlist(self) -> None:
        length = self._read_int4()
        self._items_left -= length
        if length < 0 or self._items_left < 0:
            raise gateway_base.LoadError(f"a list of {length} items does not fit into {self._size} bytes")
        self.stack.append([None] * length)

    num2func = {  # noqa: RUF012  # declared in the base class
        **gateway_base.Unserializer.num2func,
        gateway_base.opcode.NEWLIST: cast("Callable[[gateway_base.Unserializer], None]", load_newlist),
    }


class Incoming:
    """Check the messages from a remote side before execnet reads them."""

    def __init__(self) -> None:
        #: return the window of the channel with that number
        self.window_of: Callable[[int], Window | None] = lambda number: None
        self._code: int | None = None

    def problem(self, data: bytes) -> str:
        """Return why the next part of a message is invalid; empty if it is valid.

        Parts are a header and a payload in turn (execnet.gateway_base.Message.from_io).
        """
        if self._code is None:
            return self._problem_of_header(data)
        code, self._code = self._code, None
        return "" if _is_payload(code, data) else f"the remote side sent an invalid message: {shown(data)}"

    def _problem_of_header(self, data: bytes) -> str:
        code, number, length = struct.unpack(_HEADER, data)
        if code not in _FROM_REMOTE or length < 0:
            return f"another program writes to the remote Python's stdout: {data!r}"
        window = self.window_of(number) if code == Message.CHANNEL_DATA else None
        if window is not None and not window.announce(length):
            return f"{TOO_MUCH} (a message of {length} bytes)"
        self._code = code
        return ""


def _is_payload(code: int, data: bytes) -> bool:
    if code == Message.CHANNEL_DATA:
        return True  # checked when it is deserialised
    if code not in (Message.CHANNEL_CLOSE_ERROR, Message.RECONFIGURE):
        return not data
    try:
        value = Values(data).load()
    except Exception:  # a value of a wrong type may raise anything
        return False
    if code == Message.CHANNEL_CLOSE_ERROR:
        return isinstance(value, str)
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(item, bool) for item in value)


TOO_MUCH = "the remote side sent more data than the receive window allows"


class ExecModel:
    """execnet's threads, with queues and events that an interrupt can't leave locked.

    They hold no lock in Python code.
    """

    class queue:
        Queue = queue.SimpleQueue
        Empty = queue.Empty

    Event = Event

    # of the class: copy.deepcopy() asks an instance without attributes for __setstate__
    _model = gateway_base.get_execmodel("thread")

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    # execnet 1.9 gets the class from here
    def WorkerPool(self, hasprimary: bool = False) -> gateway_base.WorkerPool:
        # this has the members that a pool uses
        return gateway_base.WorkerPool(self, hasprimary)  # type: ignore[arg-type]


class Channel(gateway_base.Channel):
    """execnet's channel. A thread closes it when it is no longer referenced, see :class:`Reference`."""

    #: the limit for received data; a program's own channels have none
    window: Window | None = None
    #: the list for it while it waits for another command; None if the remote side closes it after one
    idle_channels: list[execnet.Channel] | None = None

    # execnet's __del__ sends a message: a KeyboardInterrupt in Python code of a __del__ is lost. This one, which does
    # nothing, is written in C
    __del__ = object.__init__

    @property
    def errors(self) -> list[execnet.RemoteError]:
        """The errors that were not received."""
        return self._remoteerrors

    def receive(self, timeout: float | None = None) -> object:
        # execnet takes the end marker from the queue and puts it back. After an interrupt in between, the next call
        # would wait forever
        if self._receiveclosed.is_set() and self._items is not None and self._items.empty():
            raise self._getremoteerror() or EOFError()  # type: ignore[no-untyped-call]
        return super().receive(timeout)


class ChannelFactory(gateway_base.ChannelFactory):
    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self._table = ChannelTable(self)
        self._channels = cast("weakref.WeakValueDictionary[int, gateway_base.Channel]", self._table)
        self._numbers = itertools.count(1, 2)

    def new(self, id: int | None = None) -> Channel:
        # without execnet's lock: a signal handler could interrupt its holder and wait for an answer, which the receiver
        # thread can't deliver without the lock
        number = next(self._numbers) if id is None else id
        channel = self._table.get(number)
        if channel is None:
            channel = self._table[number] = Channel(self.gateway, number)
        if self.finished:
            self._no_longer_opened(number)
            raise OSError(f"connection already closed: {self.gateway}")
        return channel

    def window_of(self, number: int) -> Window | None:
        channel = self._table.get(number)
        return None if channel is None else channel.window

    def _local_receive(self, id: int, data: bytes) -> None:
        channel = self._table.get(id)
        callback, _, strconfig = self._callbacks.get(id, (None, None, None))
        if callback is None and (channel is None or channel._items is None):
            return  # the channel is closed
        try:
            item = Values(data, channel, strconfig).load()
        except Exception as error:  # execnet.LoadError, struct.error, TypeError for an unhashable key, ...
            self._refuse(f"the remote side sent an invalid value ({error}): {shown(data)}")
        if channel is not None and channel.window is not None and not channel.window.receive(item):
            self._refuse(TOO_MUCH)
        if callback is None:
            channel._items.put(item)  # type: ignore[union-attr]
        else:
            super()._local_receive(id, data)

    def _refuse(self, problem: str) -> NoReturn:
        """End the connection: execnet's receiver thread stops at EOFError."""
        cast("GatewayIO", self.gateway._io).problem = problem
        raise EOFError(problem)

    def close_abandoned(self, reference: Reference) -> None:
        """Close a channel that is no longer referenced, as execnet does in ``Channel.__del__``."""
        if self._table.forget(reference):
            code = Message.CHANNEL_LAST_MESSAGE if reference.id in self._callbacks else Message.CHANNEL_CLOSE
            try:
                self.gateway._send(code, reference.id)
            except OSError:
                pass  # the connection was lost
        for error in reference.errors:
            error.warn()


class Gateway(ExecnetGateway):
    """execnet's gateway over a :class:`remoto.gateways.gateway_io.GatewayIO`. Do not create it in the main thread."""

    @classmethod
    def over(cls, io: GatewayIO, name: str) -> Gateway:
        # typed otherwise, but its execmodel has all that a gateway uses
        return cls(io, execnet.XSpec(f"popen//id={name}"))  # type: ignore[arg-type]

    def _initreceive(self) -> None:
        start_closing()
        self._channelfactory = ChannelFactory(self)
        cast("GatewayIO", self._io).incoming.window_of = self._channelfactory.window_of
        super()._initreceive()

    def join(self, timeout: float | None = None) -> None:
        # execnet 1.9's join() has no timeout
        self._receivepool.waitall(timeout)

    def _send(self, msgcode: int, channelid: int = 0, data: bytes = b"") -> None:
        # execnet's _send() replaces every OSError and ValueError, even those that a signal handler raises
        self._io.write(struct.pack(_HEADER, msgcode, channelid, len(data)) + data)


def new_group() -> execnet.Group:
    """Return an execnet group without an atexit handler, since remoto has one for all its gateways."""
    group = copy.copy(_group_template())
    group._gateways = []
    group._gateways_to_join = []
    return group


@functools.cache
def _group_template() -> execnet.Group:
    # create one group only: atexit keeps a slot for each handler ever registered, even after unregister()
    group = execnet.Group()
    atexit.unregister(group._cleanup_atexit)
    return group


def register(gateway: ExecnetGateway, group: execnet.Group) -> None:
    group._register(gateway)


def ask_to_exit(gateway: ExecnetGateway) -> None:
    """Ask the remote Python to exit, and close the pipe to it. Unlike the gateway's exit(), do so at each call."""
    group = gateway._group
    if gateway in group:
        group._unregister(gateway)
    group._gateways_to_join.clear()
    try:
        gateway._send(Message.GATEWAY_TERMINATE)
    except OSError:
        pass  # the connection is closed, or was lost
    gateway._io.close_write()


def terminate_group(gateway: ExecnetGateway, timeout: float) -> None:
    """Let execnet wait for the gateways of the group whose exit() was called, and kill them after the timeout."""
    gateway._group.terminate(timeout)


def start_task(gateway: ExecnetGateway, source: str, function: str, arguments: Mapping[str, object]) -> execnet.Channel:
    """Make the remote side run source and call a function of it; execnet's remote_exec() would parse it first."""
    channel = gateway.newchannel()
    gateway._send(Message.CHANNEL_EXEC, channel.id, packed((source, None, function, arguments)))
    return channel


def keep_open(channel: execnet.Channel, idle_channels: list[execnet.Channel]) -> None:
    """Use a channel for several commands."""
    if isinstance(channel, Channel):
        channel.idle_channels = idle_channels


def command_ended(channel: object) -> None:
    """Let the next command use the channel, if it stays open."""
    if isinstance(channel, Channel) and channel.idle_channels is not None:
        if len(channel.idle_channels) < MOST_IDLE:
            channel.idle_channels.append(channel)
        else:
            # OSError: the connection is lost as well
            with contextlib.suppress(OSError):
                channel.close()


def set_window(channel: object, window: Window) -> None:
    """Set the limit for received data. Do nothing for a mock, or a channel of another library's gateway."""
    if isinstance(channel, Channel):
        channel.window = window


def release(channel: object, size: int = 0) -> None:
    """Count a message as processed, so that the channel may receive as much again.

    :param size: the bytes of data in the message.
    """
    if isinstance(channel, Channel) and channel.window is not None:
        channel.window.release(size)
