"""remoto from this repository."""

import time

import fleets
import remote_functions
from common import import_time, quiet, settings

import remoto
from remoto import connection, file_sync
from remoto.backends import JsonModuleExecute
from remoto.process import check, run

DISTRIBUTION = "remoto"


def connect(host):
    return remoto.Connection(host, quiet())


def connect_local(_):
    return remoto.Connection("localhost", quiet())


def enter(container):
    return connection.get("docker")(container_name=container, logger=quiet())


def enter_persistent(container):
    return connection.get("docker")(container_name=container, logger=quiet(), persistent="require")


def close(conn):
    conn.exit()


fleet, relayed, held = fleets.fleet, fleets.relayed, fleets.held


def importing():
    return import_time("remoto")


def command(conn):
    assert check(conn, ["true"])[2] == 0


command_inside = command_persistent = command


def commands_in_pod(pod):
    """Seconds for each of many commands, with its share of what opening and closing the connection takes."""
    begun = time.perf_counter()
    with connection.get("kubernetes")(pod, logger=quiet(), persistent="require") as conn:
        for _ in range(settings["commands_in_pod"]):
            command(conn)
    return (time.perf_counter() - begun) / settings["commands_in_pod"]


def lines(conn):
    run(conn, ["cat", settings["lines"]])


def output(conn):
    assert len(check(conn, ["cat", settings["output"]])[0]) == settings["output_lines"]


def imported(conn):
    if not hasattr(conn, "of_benchmark"):
        conn.remote_import_system = "legacy"
        conn.of_benchmark = conn.import_module(remote_functions)
    return conn.of_benchmark


def call(conn):
    assert imported(conn).same(settings["value"]) == settings["value"]


def large_call(conn):
    assert imported(conn).same(settings["large"]) == settings["large"]


call_inside = call


def json_call(conn):
    assert JsonModuleExecute(conn, remote_functions, quiet()).same(settings["value"]) == settings["value"]


json_call_inside = json_call


def file(host):
    with connect(host) as conn:
        file_sync.put(conn, settings["file"], settings["new"] + "/file")


def put_persistent(conn):
    file_sync.put(conn, settings["output"], "/tmp/put")
    # otherwise the next round would have nothing to send
    check(conn, ["rm", "/tmp/put"])


def tree(host):
    remoto.rsync(host, settings["tree"], settings["new"] + "/tree", quiet())


def same_tree(host):
    remoto.rsync(host, settings["tree"], settings["kept"] + "/tree-remoto", quiet())
