"""The measurements, and the limits for remoto."""

from __future__ import annotations

from typing import Callable, NamedTuple

REMOTO, LIMIT, OLD, MITOGEN = "with_remoto", "without", "with_old_remoto", "with_mitogen"
CLUSH = "with_clush"


class Sizes(NamedTuple):
    lines: int = 200_000
    #: bytes
    output: int = 64_000_000
    file: int = 256 * 1024 * 1024
    files_in_tree: int = 2000
    commands_in_pod: int = 100
    #: numbers of hosts to connect to and disconnect from
    hosts: int = 40
    #: numbers of hosts to hold open over ssh, and over a replacement for ssh on this machine
    held: tuple = (20, 200)
    held_by_stand_in: tuple = (10, 30, 100, 300, 1000)


#: for a moment
SHORT = Sizes(2000, 1_000_000, 1_000_000, 40, 10, 3, (2, 4), (2, 4))


class Figure(NamedTuple):
    name: str
    #: seconds, cpu (seconds), memory (bytes), processes, bytes or trips
    quantity: str = "seconds"
    #: a description of the limit
    limit: str = ""
    #: a function of the contestants' values, and of remoto's earlier values by full name, that returns the highest
    #: allowed value
    at_most: Callable[[dict], float] | None = None


class Work(NamedTuple):
    """The work of all contestants, and the figures measured from it."""

    do: str
    on: tuple
    figures: list
    #: repetitions, whose mean is one measurement
    times: int = 1
    #: rounds, whose median is the figure
    rounds: int = 5
    #: the contestants; all of them if empty
    by: tuple = ()


def limited(factor):
    return lambda values: factor * values[LIMIT]


def at_most_persistent(of):
    """Return the limit for a command over a persistent connection, from those on this machine and with mitogen."""
    return min(of[LIMIT] / 20, 1.5 * of[ON_THIS_MACHINE], 1.15 * of.get(MITOGEN, float("inf")))


def full_name(figure, parent):
    """Return the full name of a figure: an indented one belongs to the figure above it."""
    if not figure.name.startswith("  "):
        return figure.name
    own = figure.name.strip()
    return f"{parent} {own}" if figure.quantity == "seconds" else f"{parent}: {own}"


#: the same host as ``node0``, through a link that counts bytes
COUNTED = "node1"
HOST, SLOW, NAME = ("connection", "node0"), ("connection", "slow"), ("name", "node0")
ROUND_TRIP = "an execnet round trip of the same"
MEMORY = "  memory, with the largest child"
ON_THIS_MACHINE = "a command on this machine"
FRESH_INSIDE = "a function in a container, in a fresh Python"


def works(sizes, container, pod):
    inside = ("inside", container)
    output = f"{sizes.output / 1e6:g} MB"
    return [
        Work(
            "importing",
            ("nothing", None),
            [Figure("import", "seconds", "import execnet", lambda of: of[LIMIT] + 0.015)],
        ),
        Work(
            "connecting",
            NAME,
            [
                Figure("connect and close", "seconds", "ssh HOST python3 -c pass", limited(1.1)),
                Figure("  processor time here", "cpu"),
            ],
            rounds=9,
        ),
        Work("once", NAME, [Figure("connect, a command, close", "seconds", "ssh HOST true")], rounds=9),
        Work(
            "once",
            ("name", "slow"),
            [Figure("  round trips", "trips", "the same"), Figure("  bytes on the wire", "bytes")],
            rounds=3,
        ),
        Work(
            "command",
            HOST,
            [
                Figure("a command", "seconds", "an execnet round trip and Popen.communicate", limited(1.5)),
                Figure("  processor time here", "cpu"),
                Figure("  processes started here", "processes"),
            ],
            times=10,
            rounds=9,
        ),
        Work(
            "command",
            SLOW,
            [
                Figure("  over 100 ms", "seconds", "the same", lambda of: 0.125),
                Figure("  round trips", "trips", "", lambda of: 1),
                Figure("  bytes on the wire", "bytes"),
            ],
            times=5,
            rounds=3,
        ),
        Work(
            "command",
            ("local", None),
            [Figure(ON_THIS_MACHINE, "seconds", "an execnet round trip and Popen.communicate", limited(1.5))],
            times=20,
            rounds=9,
            by=(REMOTO, LIMIT),
        ),
        Work(
            "lines",
            HOST,
            [
                Figure(f"{sizes.lines:,} lines, logged", "seconds", "logging as many lines", limited(1.5)),
                Figure("  processor time here", "cpu"),
            ],
        ),
        Work(
            "output",
            HOST,
            [
                Figure(
                    f"{output} of output",
                    "seconds",
                    "execnet, Popen.communicate and splitlines",
                    lambda of: of[OLD] / 8,
                ),
                Figure("  processor time here", "cpu"),
                Figure(MEMORY, "memory", "", lambda of: 4 * sizes.output),
            ],
            rounds=3,
        ),
        Work("output", ("connection", COUNTED), [Figure("  bytes on the wire", "bytes")], rounds=1),
        Work("call", HOST, [Figure("a function", "seconds", ROUND_TRIP, limited(1.2))], times=100, rounds=9),
        Work("large_call", HOST, [Figure("  of 1 MB", "seconds", ROUND_TRIP, limited(1.2))], times=20, rounds=9),
        Work("call", SLOW, [Figure("  over 100 ms", "seconds", "the same", lambda of: 0.125)], times=5, rounds=3),
        Work(
            "json_call",
            HOST,
            [Figure("a function in a fresh Python", "seconds", "remoto's own python3 -c pass", limited(1.25))],
            times=3,
            rounds=9,
        ),
        Work(
            "command_inside",
            inside,
            [Figure("a command in a container", "seconds", "docker exec NAME true", limited(1.15))],
            times=3,
            rounds=9,
        ),
        Work(
            "command_persistent",
            ("persistent", container),
            [Figure("  kept open", "seconds", "docker exec NAME true", at_most_persistent)],
            times=20,
            rounds=9,
        ),
        Work(
            "commands_in_pod",
            ("name", pod),
            [
                Figure(
                    f"a command in a pod, one of {sizes.commands_in_pod} in a session",
                    "seconds",
                    "kubectl exec POD true",
                    limited(1 / 15),
                )
            ],
            rounds=5,
            by=(REMOTO, LIMIT),
        ),
        Work(
            "put_persistent",
            ("persistent", container),
            [Figure(f"put {output} into a container", "seconds", "docker cp", limited(1.2))],
            rounds=5,
        ),
        Work(
            "json_call_inside",
            inside,
            [Figure(FRESH_INSIDE, "seconds", "docker exec NAME python3 -c pass", limited(1.3))],
            times=3,
            rounds=9,
        ),
        Work(
            "call_inside",
            inside,
            [Figure("a function in a container", "seconds", ROUND_TRIP, lambda of: 0.01 * of[FRESH_INSIDE])],
            times=10,
            rounds=9,
        ),
        Work(
            "file",
            NAME,
            [
                Figure(f"connect and put {sizes.file / 1e6:.0f} MB", "seconds", "scp", limited(2)),
                Figure("  processor time here", "cpu"),
                Figure(MEMORY, "memory", "", lambda of: 64e6),
            ],
        ),
        Work(
            "tree",
            NAME,
            [Figure(f"connect and send {sizes.files_in_tree:,} files", "seconds", "rsync -a", limited(1.5))],
        ),
        Work("same_tree", NAME, [Figure("  again, unchanged", "seconds", "rsync -a", limited(2))]),
    ]


def fleet_works(sizes):
    """Return works on many hosts.

    ``node`` hosts use the default key exchange of ssh, ``curve`` hosts that of the libraries without ssh, which use no
    other one.
    """
    name = f"{sizes.hosts} hosts: connect, a command, close"
    limit = f"ssh HOST python3 -c pass in {sizes.hosts} threads"
    return [
        Work(
            "fleet",
            ("name", "node"),
            [Figure(name, "seconds", limit, limited(1.3)), Figure("  processor time here", "cpu", "", limited(1.1))],
            rounds=3,
            by=(REMOTO, LIMIT, CLUSH),
        ),
        Work(
            "fleet",
            ("name", "curve"),
            [
                Figure(f"{name}, with curve25519-sha256", "seconds", limit),
                Figure("  processor time here", "cpu", "", limited(1.3)),
            ],
            rounds=3,
        ),
        Work(
            "relayed",
            ("name", "node"),
            [
                Figure(f"{name}, through a relay"),
                Figure("  processor time here", "cpu", "", lambda of: of[f"{name}: processor time here"] / 5),
            ],
            rounds=3,
            by=(REMOTO,),
        ),
    ]
