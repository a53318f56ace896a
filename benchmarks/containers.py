"""Commands and functions in a container."""

import subprocess

from benchmarks import far
from benchmarks.figures import Figure, in_turn
from benchmarks.servers import CONTAINER, quiet
from remoto import connection
from remoto.process import check


def container():
    return connection.get("docker")(container_name=CONTAINER, logger=quiet())


def docker(*command):
    return lambda: subprocess.run(["docker", "exec", CONTAINER, *command], check=True)


def a_command_in_a_container(repeats):
    with container() as conn:
        mine, limit = in_turn(repeats * 2, lambda: check(conn, ["true"]), docker("true"))
    return Figure("check(['true']) in a container", mine, limit, "docker exec NAME true", 1.15)


def a_json_call_in_a_container(repeats):
    with container() as conn:
        remote = conn.import_module(far)
        mine, limit = in_turn(repeats * 2, lambda: remote.same("x"), docker("python3", "-c", "pass"))
    return Figure("JSON call in a container", mine, limit, "docker exec NAME python3 -c pass", 1.3)


def a_legacy_call_in_a_container(repeats):
    with container() as conn:
        json = conn.import_module(far)
        conn.remote_import_system = "legacy"
        legacy = conn.import_module(far)
        mine, limit = in_turn(repeats, lambda: [legacy.same("x") for _ in range(10)], lambda: json.same("x"))
    return Figure("legacy call in a container", mine / 10, limit, "a JSON call in it", 0.01)


MEASURES = (a_command_in_a_container, a_json_call_in_a_container, a_legacy_call_in_a_container)
