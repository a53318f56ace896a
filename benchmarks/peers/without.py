"""The limit: the same work with bare execnet, ssh, docker, scp and rsync.

If the limit is other work that remoto does through the same connection, this module does that.
"""

import functools
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import execnet
import with_remoto
from common import fleet_names, import_time, quiet, settings

from remoto.process import check

DISTRIBUTION = "execnet"

SERVE = """
import subprocess
for kind, item in channel:
    if kind == "call":
        channel.send(item)
    else:
        process = subprocess.Popen(item, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stdout, stderr = process.communicate()
        channel.send((stdout, stderr, process.returncode))
"""


class Bare:
    def __init__(self, spec, host=None):
        self.host = host
        # execnet makes ssh compress, remoto does not
        path = settings["uncompressed"] + os.pathsep + os.environ["PATH"]
        with mock.patch.dict(os.environ, PATH=path):
            self.gateway = execnet.makegateway(spec)
        self.channel = self.gateway.remote_exec(SERVE)

    def ask(self, kind, item):
        self.channel.send((kind, item))
        return self.channel.receive()

    @functools.cached_property
    def remoto(self):
        return with_remoto.connect(self.host)


def connect(host):
    return Bare(f"ssh={host}//python=python3", host)


def connect_local(_):
    return Bare("popen//python=python3", "localhost")


def close(bare):
    bare.gateway.exit()
    if "remoto" in vars(bare):
        bare.remoto.exit()


def enter(container):
    return Bare(f"popen//python=docker exec -i {container} python3")


def ssh(host, command):
    subprocess.run(["ssh", "-T", "-o", "ServerAliveInterval=20", host, command], check=True)


def connecting(host):
    ssh(host, "python3 -c pass")


def once(host):
    ssh(host, "true")


def fleet(kind):
    program = shutil.which("ssh", path=settings["fleet"]["path"])

    def one(host):
        argv = [program, "-T", "-F", settings["fleet"]["config"], host, "python3 -c pass"]
        # in its own session, as in remoto: on a busy machine, Linux gives each session its share (sched(7), autogroup)
        subprocess.run(argv, check=True, start_new_session=True)

    names = fleet_names(kind)
    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(one, names))


def importing():
    return import_time("execnet")


def command(bare):
    assert bare.ask("run", ["true"])[2] == 0


def lines(_):
    logger = quiet()
    for number in range(settings["lines_count"]):
        logger.debug("line %s of a long output", number)


def output(bare):
    stdout = bare.ask("run", ["cat", settings["output"]])[0]
    assert len(stdout.decode().splitlines()) == settings["output_lines"]


def call(bare):
    assert bare.ask("call", settings["value"]) == settings["value"]


def large_call(bare):
    assert bare.ask("call", settings["large"]) == settings["large"]


def json_call(bare):
    check(bare.remoto, ["python3", "-c", "pass"])


def docker_exec(*command):
    subprocess.run(["docker", "exec", settings["container"], *command], check=True)


def command_inside(_):
    docker_exec("true")


command_persistent = command_inside


def commands_in_pod(pod):
    subprocess.run(["kubectl", "exec", pod, "--", "true"], check=True)


def put_persistent(_):
    subprocess.run(["docker", "cp", "--quiet", settings["output"], f"{settings['container']}:/tmp/copied"], check=True)


def json_call_inside(_):
    docker_exec("python3", "-c", "pass")


call_inside = call


def file(host):
    subprocess.run(
        ["scp", "-q", "-S", shutil.which("ssh"), settings["file"], f"{host}:{settings['new']}/file"], check=True
    )


def rsync(host, target):
    subprocess.run(["rsync", "-a", "-e", "ssh", settings["tree"] + "/", f"{host}:{target}/"], check=True)


def tree(host):
    rsync(host, settings["new"] + "/tree")


def same_tree(host):
    rsync(host, settings["kept"] + "/tree-without")
