"""RUNS ON THE REMOTE SIDE: serve a generator."""

from __future__ import absolute_import, unicode_literals

from .answers import CLOSED, END, GENERATOR, ITEM, RAISE, WINDOW, deliver, send
from .capture import Printed, guarded


def serve_generator(channel, jobs, function, generator):
    """Send the items of a generator as it yields them; close it when the controller closes the channel."""
    printed = Printed(channel)
    unacknowledged = 0
    done = object()
    send(channel, GENERATOR, None)
    try:
        wait_for_request(jobs)
        while True:
            item, problem = guarded(printed, lambda: next(generator, done), done)
            if problem is not None:
                send(channel, RAISE, problem)
                return
            if item is done:
                send(channel, END, None)
                return
            if not deliver(channel, ITEM, function, item):
                return
            unacknowledged += 1
            while unacknowledged >= WINDOW:
                unacknowledged -= wait_for_request(jobs)
    except EOFError:
        pass
    finally:
        guarded(printed, generator.close)


def wait_for_request(jobs):
    """Wait until the controller requests more items of a generator; return how many it has received.

    :raises EOFError: the controller has closed the channel.
    """
    job = jobs.get()
    if job is CLOSED:
        jobs.put(CLOSED)
        raise EOFError
    return job
