"""RUNS ON THE REMOTE SIDE: which part of what a process writes is its command's output, and how that has ended."""

from __future__ import absolute_import, unicode_literals

# the end of what the client of a container has written, for errors, bytes
CLIENT_OUTPUT = 4096


class Plain(object):
    """The streams of a command on this host: all of them are its output.

    :ivar ended_at: when both streams were complete, though the process had not ended.
    """

    may_begin = True
    ended_at = None

    def feed(self, name, data):
        return data

    def client_asks(self):
        return False

    def rest(self):
        return []

    def is_lost(self, client_status, script_sent):
        return False

    def outcome(self, status, script_sent, ending):
        return status
