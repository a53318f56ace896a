"""mitogen, over ssh(1)."""

import mitogen.core
import mitogen.master
import mitogen.service
import mitogen.utils
import mitogen_functions
import remote_functions
from common import import_time, settings

DISTRIBUTION = "mitogen"
MISSING = {
    "lines": "a command's output comes when it has ended",
    "json_call": "its functions run in the one Python there",
    "json_call_inside": "its functions run in the one Python there",
    "put_persistent": "its way for files was measured on a host",
    "tree": "it sends one file at a time",
    "same_tree": "it sends one file at a time",
}

broker = mitogen.master.Broker()
router = mitogen.master.Router(broker)


def connect(host):
    target = settings["hosts"][host]
    return router.ssh(
        hostname=target["address"],
        port=target["port"],
        username=target["user"],
        identity_file=target["key"],
        identities_only=True,
        check_host_keys="ignore",
        python_path="python3",
    )


def enter(container):
    return router.docker(container=container, python_path="python3")


def close(context):
    context.shutdown(wait=True)


def importing():
    return import_time("mitogen.master, mitogen.ssh")


def command(context):
    assert context.call(mitogen_functions.communicate, ["true"])[2] == 0


command_inside = command_persistent = command


def output(context):
    stdout = context.call(mitogen_functions.communicate, ["cat", settings["output"]])[0]
    assert len(stdout.decode().splitlines()) == settings["output_lines"]


def call(context):
    assert context.call(remote_functions.same, settings["value"]) == settings["value"]


def large_call(context):
    assert context.call(remote_functions.same, settings["large"]) == settings["large"]


call_inside = call


def file(host):
    context = connect(host)
    files = mitogen.service.FileService(router)
    pool = mitogen.service.Pool(router, services=[files])
    files.register(settings["file"])
    context.call(mitogen_functions.receive, router.myself(), settings["file"], settings["new"] + "/file")
    pool.stop()
    close(context)
