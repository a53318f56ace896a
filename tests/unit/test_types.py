"""mypy reports mistakes in programs that use remoto."""

import re
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")
ROOT = Path(__file__).parents[2]

GET = """\
from remoto import connection

def backends(name: str) -> None:
    reveal_type(connection.get("ssh"))  # type[remoto.backends.base.BaseConnection]
    reveal_type(connection.get("docker"))  # type[remoto.backends.docker.DockerConnection]
    reveal_type(connection.get("k8s"))  # type[remoto.backends.kubernetes.KubernetesConnection]
    reveal_type(connection.get(name, "ssh"))  # type[remoto.backends.base.BaseConnection]
    reveal_type(connection.get(name, fallback=None))  # type[remoto.backends.base.BaseConnection] | None
    connection.get("dokcer")  # No overload variant of "get" matches argument type "str"
    connection.get(name)  # No overload variant of "get" matches argument type "str"
    connection.get("podman")(container_name="web", user="www").exit()
    connection.get("local")().exit()
    connection.get("ssh")(container_name="web")  # Unexpected keyword argument "container_name"
"""


OPTIONS = """\
import remoto
from remoto import connection

remoto.Connection("node1", sudo=True, connect_timeout=5.0, env={"LANG": "C"})
remoto.Connection("node1", eagre=False)  # Unexpected keyword argument "eagre"
connection.get("local")(eagre=False)  # Unexpected keyword argument "eagre"
connection.get("docker")("node1", container_name="web", executable="docker", keepalive=None)
connection.get("docker")(container_nane="web")  # Unexpected keyword argument "container_nane"
connection.get("podman")(container_name="web", connect_timeout="5")  # expected "float | None"
connection.get("kubernetes")("web-0", "shop", context="lab", eager=False, kill_on_timeout=True)
connection.get("oc")("web-0", namespce="shop")  # Unexpected keyword argument "namespce"
with connection.get("docker")(container_name="web") as web:
    reveal_type(web)  # remoto.backends.docker.DockerConnection
"""

COMMANDS = """\
from unittest import mock

import remoto
from remoto.process import check, run

conn = remoto.Connection("node1")
reveal_type(check(conn, ["ls"]))  # tuple[list[str], list[str], int, fallback=remoto.process.CheckResult[list[str]]]
reveal_type(check(conn, "ls | wc", shell=True, cwd="/tmp").stdout)  # "list[str]"
reveal_type(check(conn, ["ls"], text=False).stderr)  # "bytes"
check(conn, ["ls"], text=False, on_stdout=lambda block: print(block.decode()))
stdout, stderr, status = check(conn, ["ls"], text=False)
reveal_type(stdout)  # "bytes"
reveal_type(check(mock.Mock(), ["ls"]).returncode)  # "int"
check(conn, ["ls"], on_stdout=lambda line: print(line.decode()))  # "str" has no attribute "decode"
check(conn, ["ls"], tiemout=3)  # No overload variant of "check"
check(conn, ["ls"], cwd=3)  # No overload variant of "check"
check("node1", ["ls"])  # No overload variant of "check"
reveal_type(run(conn, ["ls"], umask=0o077, user="www-data"))  # "int"
run(conn, ["ls"], tiemout=3)  # Unexpected keyword argument "tiemout"
run(conn, "ls", shell="yes")  # expected "bool | None"
run(conn, 3)  # incompatible type "int"
run(conn, ["ls"], on_stdout=bytes.hex, on_stderr=print, text=False)
run(conn, ["ls"], on_stdout=chr)  # expected "Callable[[str], object] | Callable[[bytes], object]
run("node1", ["ls"])  # incompatible type "str"; expected "BaseConnection"

def either(text: bool) -> None:
    reveal_type(check(conn, ["ls"], text=text).stdout)  # "list[str] | bytes"
"""

FUNCTIONS_AND_FILES = """\
import posixpath

import remoto
from remoto.file_sync import get, put, rsync_conn

conn = remoto.Connection("node1")
reveal_type(conn.import_module(posixpath))  # remoto.functions.proxy.ModuleExecute
conn.import_module(posixpath).exists("/etc")
conn.import_module(posixpath, inclued=[])  # Unexpected keyword argument "inclued"
reveal_type(put(conn, b"contents", "/tmp/file"))  # remoto.files.transfer.CopyResult
put("node1", b"contents", "/tmp/file")  # incompatible type "str"; expected "BaseConnection"
get(conn, "/tmp/file", "file", tiemout=3)  # Unexpected keyword argument "tiemout"
rsync_conn("node1", "source", "destination")  # incompatible type "str"; expected "BaseConnection"
"""


GROUPS = """\
import posixpath

import remoto
from remoto.exc import GroupError

from remoto import connection

remoto.Gruop(["node1"])  # Module has no attribute "Gruop"
group = remoto.Group(["node1", ("node2", {"sudo": True})], parallel=8, groups=True, connect_timeout=5)
remoto.Group({"web": {"user": "www"}}, backend="docker")
remoto.Group(["web"], "podman", user="www", persistent=True, hostname="engine", via=["gate"])
remoto.Group(["web-0"], backend="oc", namespace="shop", persistent="require")
remoto.Group(["web"], connection.get("docker"), user="www", parallel=8)
inventory = {"node1": {"interpreter": "python3.9"}, "node2": {"ssh_options": "-p 22"}}
remoto.Group(inventory, connect_timeout=5.0)
remoto.Group(list(inventory.items()), env={"LANG": "C"})
remoto.Group(5)  # No overload variant of "Group" matches argument type "int"
remoto.Group(["node1"], usr="root")  # No overload variant of "Group"
remoto.Group(["node1"], ssh_option="-p 2222")  # No overload variant of "Group"
remoto.Group(["node1"], sudo="yes")  # No overload variant of "Group"
remoto.Group(["node1"], eager=False)  # No overload variant of "Group"
remoto.Group(["node1"], user="www")  # No overload variant of "Group"
remoto.Group(["web"], backend="dokcer")  # No overload variant of "Group"
remoto.Group(["web"], backend="docker", usr="www")  # No overload variant of "Group"
remoto.Group(["web-0"], "k8s", namspace="shop")  # No overload variant of "Group"
remoto.Group(["node1"], backend="local", parallel="8")  # No overload variant of "Group"
remoto.Group([("node1", "sudo")])  # incompatible type "tuple[str, str]"
reveal_type(group["node1"])  # remoto.backends.base.BaseConnection
result = group.check(["ls"], batch=[1, "25%"], stop_after=3)
reveal_type(result.ok)  # fallback=remoto.process.CheckResult[list[str]]]]
reveal_type(group.check(["ls"], text=False).ok["node1"].stdout)  # "bytes"
reveal_type(group.run(["ls"], umask=0o077).failed)  # dict[str, int | BaseException]
reveal_type(group.map(lambda conn: conn.hostname).ok)  # dict[str, str]
for host, value in group.run(["ls"], as_completed=True):
    reveal_type(value)  # int | BaseException
for name, copied in group.put("source", "/tmp", as_completed=True, progress=lambda done, total, host: None):
    reveal_type(copied)  # CopyResult] | BaseException
reveal_type(group.import_module(posixpath))  # remoto.fleets.functions.GroupModule
reveal_type(group.import_module(posixpath).exists("/etc").unreachable)  # dict[str, BaseException]
for host, value in group.import_module(posixpath, as_completed=True).exists("/etc"):
    reveal_type(host)  # "str"
group.check(["ls"], tiemout=3)  # No overload variant of "check"
group.run(["ls"], batch=1.5)  # No overload variant of "run"
group.rsync("source", "/tmp", delet=True)  # No overload variant of "rsync"
reveal_type(result.raise_for_errors())  # GroupResult[
reveal_type(group.only("node1"))  # remoto.group.Group
"""

FOUND_GROUPS = """\
import remoto
from remoto import connection

reveal_type(remoto.Group.pods("app=web", namespace="shop", parallel=8, persistent=True))  # remoto.group.Group
remoto.Group.pods("app=web", backend="oc", all_containers=True, env={"LANG": "C"})
remoto.Group.pods("app=web", backend=connection.get("openshift"))
remoto.Group.pods("app=web", namespce="shop")  # Unexpected keyword argument "namespce"
remoto.Group.pods("app=web", backend="docker")  # incompatible type "Literal['docker']"
remoto.Group.pods("app=web", backend=remoto.Connection)  # incompatible type "type[BaseConnection]"
reveal_type(remoto.Group.containers("podman", labels=["app=web"], sudo=True, user="www"))  # remoto.group.Group
remoto.Group.containers(host="engine", name="web-*", via=remoto.Connection("gate"), logins=2)
remoto.Group.containers("dokcer")  # incompatible type "Literal['dokcer']"
remoto.Group.containers(lables={"app": "web"})  # Unexpected keyword argument "lables"
remoto.Group.containers(via="gate")  # expected "BaseConnection | None"
"""


LOGGERS_AND_ERRORS = """\
import logging

import remoto
from remoto import exc

remoto.Connection("node1", logging.LoggerAdapter(logging.getLogger(), {})).exit()
remoto.Connection("node1", logging.getLogger("program")).exit()
remoto.Connection("node1", "program")  # incompatible type "str"; expected "AnyLogger | None"
try:
    remoto.Connection("node1").execute("channel.send(1)").receive() + 1
except exc.CommandTimeout as error:
    reveal_type(error.stdout)  # "list[str] | bytes"
except exc.GroupError as error:
    reveal_type(error.result)  # remoto.fleets.result.GroupResult[object]
"""


def readme_examples() -> str:
    """Return the examples of README.rst as a program."""
    page = (ROOT / "README.rst").read_text()
    # the module that README.rst shows
    page = page.replace("import facts", "import posixpath as facts")
    return "\n".join(found[4:] for found in re.findall(r"^    ((?:>>>|\.\.\.) .*)$", page, re.MULTILINE)) + "\n"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "program",
    [GET, OPTIONS, COMMANDS, FUNCTIONS_AND_FILES, GROUPS, FOUND_GROUPS, LOGGERS_AND_ERRORS, readme_examples()],
    ids=["get", "options", "commands", "functions and files", "groups", "groups found", "loggers and errors", "README"],
)
def test_mypy_reports_the_errors_in_the_comments_of_a_program(program, tmp_path, monkeypatch):
    """mypy reports the lines with a comment, and no others."""
    path = tmp_path / "program.py"
    path.write_text(program)
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--hide-error-context", "--no-error-summary"]
    stdout, stderr, _ = api.run([*options, str(path)])
    assert not stderr
    reported: dict[int, str] = {}
    for line, text in re.findall(rf"^{re.escape(str(path))}:(\d+): (?:error|note): (.*)$", stdout, re.MULTILINE):
        plain = re.sub(r"Union\[(.*), (.*)\]", r"\1 | \2", text.replace("builtins.", ""))
        reported.setdefault(int(line), plain)
    expected = {
        number: line.partition("  # ")[2] for number, line in enumerate(program.splitlines(), 1) if "  # " in line
    }
    assert reported.keys() == expected.keys(), stdout
    for number, text in expected.items():
        assert text.lower() in reported[number].lower()
