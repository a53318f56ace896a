"""asyncssh."""

import asyncio

import asyncssh
from common import import_time, quiet, settings

DISTRIBUTION = "asyncssh"
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

loop = asyncio.new_event_loop()
wait = loop.run_until_complete


def connect(host):
    target = settings["hosts"][host]
    return wait(
        asyncssh.connect(
            target["address"],
            target["port"],
            username=target["user"],
            client_keys=[target["key"]],
            known_hosts=None,
        )
    )


def close(conn):
    conn.close()
    wait(conn.wait_closed())


def fleet(_):
    async def one():
        target = settings["hosts"]["node0"]
        async with asyncssh.connect(
            target["address"],
            target["port"],
            username=target["user"],
            client_keys=[target["key"]],
            known_hosts=settings["fleet"]["known_hosts"],
        ) as conn:
            assert (await conn.run("true")).exit_status == 0

    async def every():
        await asyncio.gather(*(one() for _ in range(settings["fleet"]["hosts"])))

    wait(every())


def importing():
    return import_time("asyncssh")


def command(conn):
    assert wait(conn.run("true")).exit_status == 0


def lines(conn):
    async def follow():
        async with conn.create_process("cat " + settings["lines"]) as process:
            async for line in process.stdout:
                quiet().debug(line.rstrip("\n"))

    wait(follow())


def output(conn):
    result = wait(conn.run("cat " + settings["output"]))
    assert len(result.stdout.splitlines()) == settings["output_lines"]


def put(host, source, target, **options):
    async def over_sftp(conn):
        async with conn.start_sftp_client() as sftp:
            await sftp.put(source, target, **options)

    conn = connect(host)
    wait(over_sftp(conn))
    close(conn)


def file(host):
    put(host, settings["file"], settings["new"] + "/file")


def tree(host):
    put(host, settings["tree"], settings["new"] + "/tree", recurse=True)
