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

from .receiver import Receiver
from .records import FAILED, ChannelClosed, Failure, Records
from .sender import Sender


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
    serve(channel, Receiver(Records(channel), destination, name, delete))


def get(channel, source):
    serve(channel, Sender(Records(channel), source))
