"""remoto 1.2.1, the last 1.x release."""

import os

import remote_functions
from common import import_time, quiet, settings

import remoto
import remoto.connection
import remoto.process
from remoto.backends import JsonModuleExecute

DISTRIBUTION = "remoto"
MISSING = {"call_inside": "it would run on the machine that the container is on"}


def connect(host):
    return remoto.Connection(host, logger=quiet(), interpreter="python3")


def enter(container):
    return remoto.connection.get("docker")(container_name=container, logger=quiet(), interpreter="python3")


def close(conn):
    conn.exit()


def importing():
    return import_time("remoto")


def command(conn):
    assert remoto.process.check(conn, ["true"])[2] == 0


command_inside = command


def lines(conn):
    remoto.process.run(conn, ["cat", settings["lines"]])


def output(conn):
    assert len(remoto.process.check(conn, ["cat", settings["output"]])[0]) == settings["output_lines"]


def imported(conn):
    if not hasattr(conn, "of_benchmark"):
        conn.of_benchmark = conn.import_module(remote_functions)
    return conn.of_benchmark


def call(conn):
    assert imported(conn).same(settings["value"]) == settings["value"]


def large_call(conn):
    assert imported(conn).same(settings["large"]) == settings["large"]


def json_call(conn):
    assert JsonModuleExecute(conn, remote_functions, quiet()).same(settings["value"]) == settings["value"]


json_call_inside = json_call


def file(host):
    remoto.rsync([host], os.path.dirname(settings["file"]), settings["new"] + "/file", quiet())


def tree(host):
    remoto.rsync([host], settings["tree"], settings["new"] + "/tree", quiet())


def same_tree(host):
    remoto.rsync([host], settings["tree"], settings["kept"] + "/tree-old_remoto", quiet())
