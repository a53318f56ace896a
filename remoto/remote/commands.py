"""RUNS ON THE REMOTE SIDE: serves one command after the other on a channel, in one thread.

For a command with its own channel, execnet compiles a line, starts a thread, and sends another message at the end.
"""

from __future__ import absolute_import, unicode_literals

import sys
import threading

from .wire import KILL

CLOSED = object()


def serve(channel, first):
    """Serve commands until the controller closes the channel, or kills one.

    :param first: the request of the first command: the keywords of a function, with its ``module`` and ``name``.
    """
    turns = Turns(channel)
    turns.receive(first)
    channel.setcallback(turns.receive, endmarker=CLOSED)
    turns.serve()


class Turns(object):
    """The commands of a channel.

    :ivar last: the turn of the last request.
    """

    def __init__(self, channel):
        self.channel = channel
        # execnet's: the module queue may not have been imported
        self.requests = channel.gateway.execmodel.queue.Queue()
        self.last = Turn(channel)

    def receive(self, item):
        """Process a message. Called by execnet's receiver thread."""
        if isinstance(item, dict):
            self.last = Turn(self.channel)
            self.requests.put((self.last, item))
            return
        self.last.receive(item)
        if item is CLOSED or item == KILL:
            self.requests.put((None, None))

    def serve(self):
        while True:
            turn, request = self.requests.get()
            if turn is None:
                return
            function = sys.modules[str(__package__)].function(request.pop("module"), request.pop("name"))
            function(turn, **request)
            turn.end()
            # it may be large, and execnet keeps the first one
            request.clear()
            del turn


class Turn(object):
    """The channel of one command, from its request to its answer."""

    def __init__(self, channel):
        self.send = channel.send
        self.isclosed = channel.isclosed
        self.lock = threading.Lock()
        self.early = []  # type: list
        self.callback = None

    def receive(self, item):
        with self.lock:
            if self.callback is None:
                self.early.append(item)
                return
        self.callback(item)

    def end(self):
        """Ignore late messages, such as acknowledgements of output."""
        self.callback = lambda item: None

    def setcallback(self, callback, endmarker):
        with self.lock:
            for item in self.early:
                callback(endmarker if item is CLOSED else item)
            # blocks of stdin may be large
            self.early = []
            self.callback = lambda item: callback(endmarker if item is CLOSED else item)
