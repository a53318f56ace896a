"""Remote functions on a host."""

import execnet

from benchmarks import far
from benchmarks.figures import Figure, in_turn
from benchmarks.servers import connect
from remoto.backends import JsonModuleExecute
from remoto.process import check

ECHO = "for item in channel: channel.send(item)"


def legacy(repeats, value, name):
    with connect() as conn:
        remote = conn.import_module(far)
        channel = execnet.makegateway("ssh=node0//python=python3").remote_exec(ECHO)

        def bare():
            channel.send(value)
            channel.receive()

        mine, limit = in_turn(repeats, lambda: remote.same(value), bare)
        channel.gateway.exit()
    return Figure(name, mine, limit, "an execnet round trip of the same", 1.2)


def a_legacy_call(repeats):
    return legacy(repeats * 40, "x" * 100, "legacy call")


def a_large_legacy_call(repeats):
    return legacy(repeats * 4, "x" * 1_000_000, "legacy call of 1 MB")


def a_legacy_call_far_away(repeats):
    with connect("slow") as conn:
        remote = conn.import_module(far)
        (mine,) = in_turn(repeats, lambda: remote.same(1))
    return Figure("the same over a link of 100 ms", mine, 0.1, "one network round trip", 1.25)


def a_json_call(repeats):
    with connect() as conn:
        remote = JsonModuleExecute(conn, far)
        python = ["python3", "-c", "pass"]
        mine, limit = in_turn(repeats * 2, lambda: remote.same("x"), lambda: check(conn, python))
    return Figure("JSON call", mine, limit, "check of python3 -c pass", 1.25)


MEASURES = (a_legacy_call, a_large_legacy_call, a_legacy_call_far_away, a_json_call)
