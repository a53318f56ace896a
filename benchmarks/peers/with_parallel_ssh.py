"""parallel-ssh, over libssh2."""

from common import import_time, quiet, settings
from pssh.clients import ParallelSSHClient, SSHClient

DISTRIBUTION = "parallel-ssh"
FUNCTIONS = "it runs no functions"
CONTAINERS = "it enters no containers"
MISSING = {
    "call": FUNCTIONS,
    "large_call": FUNCTIONS,
    "json_call": FUNCTIONS,
    "command_inside": CONTAINERS,
    "call_inside": CONTAINERS,
    "json_call_inside": CONTAINERS,
    "same_tree": "it always sends everything",
}


def connect(host):
    target = settings["hosts"][host]
    return SSHClient(target["address"], user=target["user"], port=target["port"], pkey=target["key"], num_retries=1)


def close(client):
    client.disconnect()


def fleet(_):
    target, count = settings["hosts"]["node0"], settings["fleet"]["hosts"]
    client = ParallelSSHClient(
        [target["address"]] * count, target["user"], port=target["port"], pkey=target["key"], pool_size=count
    )
    done = client.run_command("true")
    client.join(done)
    assert [host.exit_code for host in done] == [0] * count
    for host in done:
        close(host.client)


def importing():
    return import_time("pssh.clients")


def command(client):
    done = client.run_command("true")
    client.wait_finished(done)
    assert done.exit_code == 0


def lines(client):
    done = client.run_command("cat " + settings["lines"])
    for line in done.stdout:
        quiet().debug(line)
    client.wait_finished(done)


def output(client):
    done = client.run_command("cat " + settings["output"])
    assert len(list(done.stdout)) == settings["output_lines"]
    client.wait_finished(done)


def file(host):
    client = connect(host)
    client.copy_file(settings["file"], settings["new"] + "/file")
    close(client)


def tree(host):
    client = connect(host)
    client.copy_file(settings["tree"], settings["new"] + "/tree", recurse=True)
    close(client)
