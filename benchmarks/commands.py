"""Connecting, commands, output, importing."""

import logging
import subprocess
import sys

import execnet

from benchmarks.figures import Figure, in_turn
from benchmarks.servers import connect
from remoto.process import check, run

POPEN = """
import subprocess
for argv in channel:
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stdout, stderr = process.communicate()
    channel.send((stdout, stderr, process.returncode))
"""


def connecting(repeats):
    def ssh():
        subprocess.run(["ssh", "-T", "-o", "ServerAliveInterval=20", "node0", "python3 -c pass"], check=True)

    mine, bare = in_turn(repeats, lambda: connect().exit(), ssh)
    return Figure("connect and exit", mine, bare, "ssh HOST python3 -c pass", 1.1)


def a_command(repeats):
    with connect() as conn:
        channel = execnet.makegateway("ssh=node0//python=python3").remote_exec(POPEN)

        def bare():
            channel.send(["true"])
            channel.receive()

        mine, limit = in_turn(repeats * 10, lambda: check(conn, ["true"]), bare)
        channel.gateway.exit()
    return Figure("check(['true'])", mine, limit, "an execnet round trip and Popen.communicate", 1.5)


def a_command_far_away(repeats):
    with connect("slow") as conn:
        (mine,) = in_turn(repeats, lambda: check(conn, ["true"]))
    return Figure("the same over a link of 100 ms", mine, 0.1, "one network round trip", 1.25)


LINES = 200_000


def a_stream_of_lines(repeats):
    logger = logging.getLogger("remoto.benchmark.lines")
    logger.propagate = False
    logger.handlers = [logging.NullHandler()]
    logger.setLevel(logging.DEBUG)

    def plain():
        for number in range(LINES):
            logger.debug("line %s of a long output", number)

    with connect() as conn:
        conn.logger = logger
        command = ["sh", "-c", f"seq -f 'line %.0f of a long output' {LINES}"]
        mine, limit = in_turn(max(3, repeats // 5), lambda: run(conn, command), plain)
    return Figure(f"run of {LINES:,} lines", mine, limit, "logging as many lines", 1.5)


SIZE = 64 * 1024 * 1024
#: what remoto 1.2.1 takes for it: 7 MB/s, an eighth of which is the limit
OLD = SIZE / 7e6


def a_big_output(repeats):
    command = ["sh", "-c", f"yes 0123456789012345678901234567890123456789012345678901234567890123 | head -c {SIZE}"]
    with connect() as conn:
        (mine,) = in_turn(max(1, repeats // 8), lambda: check(conn, command))
    return Figure("check of 64 MB", mine, OLD, "remoto 1.2.1, at 7 MB/s", 1 / 8)


MEMORY = f"""
from benchmarks.servers import connect
from remoto.process import check

def peak():
    # getrusage() would tell of the process that started this one, too
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

conn = connect()
check(conn, ["true"])
before = peak()
check(conn, ["sh", "-c", "yes {"0123456789" * 10} | head -c {SIZE}"])
print(peak() - before)
conn.exit()
"""


def the_memory_of_a_big_output(repeats):
    used = int(subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True).stdout)
    return Figure("memory for it", used / 1e6, SIZE / 1e6, "the size of the output", 4, "MB")


def importing(repeats):
    def python(line):
        return lambda: subprocess.run([sys.executable, "-c", line], check=True)

    bare, mine = in_turn(repeats, python("import execnet"), python("import execnet, remoto"))
    return Figure("import remoto", mine - bare, 0.015, "15 ms more than import execnet", 1)


MEASURES = (
    connecting,
    a_command,
    a_command_far_away,
    a_stream_of_lines,
    a_big_output,
    the_memory_of_a_big_output,
    importing,
)
