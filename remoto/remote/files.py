"""RUNS ON BOTH SIDES: the sender and the receiver of a file transfer.

Either side may send, so the controller imports this module, too. The sides exchange records. A message has many small
records, or one block of a large file:

    sender                                          receiver
    ENTRY for each file, directory and link, LISTED
                                                    WANTED, in groups, for files that differ; COMPARED
    for each of them BEGIN, DATA..., END or SKIP
    FINISH                                          DONE, or at any time FAILED

Names are bytes. With ``confine`` the receiver does not trust the sender, and writes nothing outside of its directory.
"""

from __future__ import absolute_import, unicode_literals

import fcntl

from .pipes import F_SETPIPE_SZ, PIPE_SIZE
from .receiver import Receiver
from .records import FAILED, ChannelClosed, Failure, Records
from .sender import Sender

# bytes that a pipe holds by default (pipe(7))
DEFAULT_PIPE_SIZE = 64 * 1024


def serve(channel, end):
    """Run one side. Report its failure to the peer."""
    try:
        end.run()
    except Failure as failure:
        try:
            end.records.write(FAILED, failure.pack())
            end.records.flush()
        except ChannelClosed:
            pass
    except ChannelClosed:
        pass


def put(channel, destination, name=None, delete=False):
    with LargePipe(channel, "infile"):
        serve(channel, Receiver(Records(channel), destination, name, delete))


def get(channel, source):
    with LargePipe(channel, "outfile"):
        serve(channel, Sender(Records(channel), source))


class LargePipe(object):
    """A context manager that enlarges the pipe from or to the controller, which saves process switches.

    :param name: the attribute of execnet's IO for this pipe, ``infile`` or ``outfile``.
    """

    def __init__(self, channel, name):
        # the channels of remoto.testing have no gateway
        gateway = getattr(channel, "gateway", None)
        self.file = gateway and getattr(gateway._io, name, None)

    def __enter__(self):
        self.resize(PIPE_SIZE)

    def __exit__(self, *error):
        # the pipes of a user share a limit: pipe-user-pages-soft of proc(5)
        self.resize(DEFAULT_PIPE_SIZE)

    def resize(self, size):
        try:
            if self.file is not None:
                fcntl.fcntl(self.file, F_SETPIPE_SZ, size)
        except (IOError, OSError, ValueError):
            pass  # not permitted, not a pipe, or closed: a larger pipe only saves time
