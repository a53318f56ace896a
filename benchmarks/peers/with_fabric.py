"""fabric, over paramiko."""

from concurrent.futures import ThreadPoolExecutor

from common import import_time, quiet, settings
from fabric import Connection
from paramiko import RejectPolicy

DISTRIBUTION = "fabric"
FUNCTIONS = "it runs no functions"
CONTAINERS = "it enters no containers"
MISSING = {
    "call": FUNCTIONS,
    "large_call": FUNCTIONS,
    "json_call": FUNCTIONS,
    "command_inside": CONTAINERS,
    "call_inside": CONTAINERS,
    "json_call_inside": CONTAINERS,
    "tree": "it puts one file at a time",
    "same_tree": "it puts one file at a time",
}


def unopened(host):
    target = settings["hosts"][host]
    keys = {"key_filename": target["key"], "look_for_keys": False, "allow_agent": False}
    return Connection(target["address"], user=target["user"], port=target["port"], connect_kwargs=keys)


def connect(host):
    conn = unopened(host)
    conn.open()
    return conn


def close(conn):
    conn.close()


def fleet(_):
    # fabric's ThreadingGroup treats several hosts with the same address as one
    def one(_):
        with unopened("node0") as conn:
            # it accepts any host key otherwise
            conn.client.load_host_keys(settings["fleet"]["known_hosts"])
            conn.client.set_missing_host_key_policy(RejectPolicy())
            command(conn)

    count = settings["fleet"]["hosts"]
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(one, range(count)))


def importing():
    return import_time("fabric")


def command(conn):
    assert conn.run("true", hide=True, in_stream=False).ok


class LineLogger:
    """A stream that logs each line, as remoto does."""

    encoding = "utf-8"

    def __init__(self):
        self.rest = ""

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            quiet().debug(line)

    def flush(self):
        pass


def lines(conn):
    conn.run("cat " + settings["lines"], in_stream=False, out_stream=LineLogger())


def output(conn):
    result = conn.run("cat " + settings["output"], hide=True, in_stream=False)
    assert len(result.stdout.splitlines()) == settings["output_lines"]


def file(host):
    with connect(host) as conn:
        conn.put(settings["file"], settings["new"] + "/file")
