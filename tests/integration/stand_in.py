"""A fake remote Python: it speaks execnet's protocol, and gives any answers that a test wants."""

import re
import shlex
import sys

import execnet

import remoto

PROGRAM = """\
import re, struct, sys
sys.path.insert(0, {execnet!r})
from execnet.gateway_base import Message, dumps_internal

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
marker = re.search(b"remoto-ready-[0-9a-f]+", stdin.readline()).group()

def raw(data):
    stdout.write(data)
    stdout.flush()

def message(code, data):
    raw(struct.pack("!bii", code, channel, len(data)) + data)

def send(*values):
    for value in values:
        message(Message.CHANNEL_DATA, dumps_internal(value))

def flood(value):
    # many at once, since one by one takes long
    data = dumps_internal(value)
    data = (struct.pack("!bii", Message.CHANNEL_DATA, channel, len(data)) + data) * (1 + 100_000 // (len(data) + 9))
    while True:
        raw(data)

raw(marker + {ready!r})
while True:
    header = stdin.read(9)
    if len(header) < 9:
        break
    code, channel, length = struct.unpack("!bii", header)
    data = stdin.read(length)
    if code == Message.CHANNEL_EXEC:
{answer}
"""


def interpreter(directory, answer, ready=b" 0\n"):
    """Return the ``interpreter`` of a connection.

    :param answer: code to run for each task. It may call ``send(value, ...)``, ``message(code, payload)``,
        ``raw(bytes)`` and, forever, ``flood(value)``.
    :param ready: the rest of the ready line after the marker.
    """
    path = re.sub("/execnet/__init__.py$", "", execnet.__file__)
    code = "\n".join(" " * 8 + line for line in answer.splitlines() or ["pass"])
    script = directory / "stand_in.py"
    script.write_text(PROGRAM.format(execnet=path, ready=ready, answer=code))
    return shlex.join([sys.executable, str(script)])


def connect(directory, answer, ready=b" 0\n", **kw):
    return remoto.Connection("localhost", interpreter=interpreter(directory, answer, ready), **kw)
