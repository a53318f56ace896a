"""RUNS ON THE REMOTE SIDE: get a command's output and exit status from the streams of a process."""

from __future__ import absolute_import, unicode_literals

# bytes of the last output of a container's client to keep for errors
CLIENT_OUTPUT = 4096


class Plain(object):
    """The streams of a command on this host: all data is its output.

    :ivar ended_at: the time when both streams were complete, if the process had not exited.
    """

    may_begin = True
    ended_at = None

    def feed(self, name, data):
        return data

    def client_prompts(self):
        return False

    def rest(self):
        return []

    def is_lost(self, client_status, script_sent):
        return False

    def outcome(self, status, script_sent, termination):
        return status
