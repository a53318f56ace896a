"""RUNS ON THE FAR SIDE, and here as well: the two ends of a transfer of files.

One end sends, the other receives; which is which depends on the direction, so this is the one of these modules that the
controller imports too. Between them goes a stream of records, many small ones or a part of a large file to a message:

    sender                                          receiver
    ENTRY for each file, folder and link, LISTED
                                                    WANTED, in groups, for files that are not the same there; COMPARED
    for each of them BEGIN, DATA..., END or SKIP
    FINISH                                          DONE, or at any time FAILED

Names are bytes. A receiver that is told so by ``confine`` takes nothing on trust: no entry gets it out of its folder.
"""

# on the remote side the files of a module are one text
if __package__:
    from .records import *
    from .sources import *
    from .sender import *
    from .places import *
    from .tree import *
    from .receiver import *


def serve(channel, end):
    """Run one end; what the other end must know of a failure is sent to it."""
    try:
        end.run()
    except Failure as failure:
        try:
            end.records.write(FAILED, failure.pack())
            end.records.flush()
        except Gone:
            pass
    except Gone:
        pass


def put(channel, destination, name, delete):
    serve(channel, Receiver(Records(channel), destination, name, delete))


def get(channel, source):
    serve(channel, Sender(Records(channel), source))
