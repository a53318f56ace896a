"""Groups of pods and containers found by label."""

import dataclasses
import posixpath

import pytest

import remoto
from remoto.backends import kubernetes
from remoto.backends.docker import DockerConnection
from remoto.backends.kubernetes import KubernetesConnection
from remoto.exc import CommandTimeout, ConnectionLost, ContainerError
from remoto.process import check, run


@pytest.fixture
def shop(kube, docker_shell):
    place = ["docker", "exec", "-i", docker_shell]
    kube.add("web-0", {"app": place, "side": place}, namespace="shop", labels={"app": "web"})
    kube.add("web-1", {"app": place}, namespace="shop", labels={"app": "web", "tier": "cache"})
    kube.add("web-2", {"app": None}, namespace="shop", labels={"app": "web"}, phase="Pending")
    kube.add("web-3", {"app": place}, namespace="shop", labels={"app": "web"}, terminating=True)
    kube.add("db-0", {"app": place}, namespace="shop", labels={"app": "db"})
    yield kube
    for place in [place for place in kube.pods if place[0] == "shop"]:
        del kube.pods[place]


def test_running_pods_are_found_by_their_labels(shop, caplog):
    with remoto.Group.pods("app=web", namespace="shop") as group:
        assert list(group) == ["shop/web-0", "shop/web-1"]
        result = group.check(["echo", "hello"])
        assert result.ok["shop/web-1"].stdout == ["hello"]
    skipped = [record.getMessage() for record in caplog.records if record.name == "remoto"]
    assert skipped == [
        "skipped: pod shop/web-2 is not running: Pending",
        "skipped: pod shop/web-3 is not running: Terminating",
    ]


def test_each_container_of_each_pod_is_found(shop):
    group = remoto.Group.pods("app=web", namespace="shop", all_containers=True)
    assert list(group) == ["shop/web-0/app", "shop/web-0/side", "shop/web-1/app"]
    assert list(remoto.Group.pods("app=web,tier=cache", namespace="shop", container="app")) == ["shop/web-1/app"]


def test_pods_are_found_by_oc(shop):
    group = remoto.Group.pods("app=db", namespace="shop", backend="openshift")
    assert group["shop/db-0"].cmd("true")[0] == "oc"


def test_pod_deleted_before_its_turn_is_unreachable_and_refresh_searches_again(shop):
    with remoto.Group.pods("app=web", namespace="shop") as group:
        shop.remove("web-0", "shop")
        result = group.check("true")
        assert result.unreachable["shop/web-0"].reason == "no such pod"
        assert list(result.ok) == ["shop/web-1"]
        kept = group["shop/web-1"]
        shop.add("web-9", shop.pods["shop", "web-1"].containers, namespace="shop", labels={"app": "web"})
        group.refresh()
        assert list(group) == ["shop/web-1", "shop/web-9"] and group["shop/web-1"] is kept
        assert len(group.check("true").ok) == 2


@pytest.fixture
def stateful(kube, docker_python, monkeypatch, tmp_path):
    """The pod of a StatefulSet, whose client logs its calls."""
    log = tmp_path / "calls"
    client = tmp_path / "kubectl"
    client.write_text(f'#!/bin/sh\necho "$1 $2 $3" >> {log}\nexec kubectl "$@"\n')
    client.chmod(0o755)

    class Logged(KubernetesConnection):
        executable = str(client)

    class Stateful:
        backend = Logged

        def add(self):
            place = ["docker", "exec", "-i", docker_python]
            kube.add("set-0", {"app": place}, namespace="sets", labels={"app": "set"})

        def replace(self):
            kube.remove("set-0", "sets")
            self.add()

        def group(self, **keywords):
            return remoto.Group.pods("app=set", namespace="sets", backend=Logged, **keywords)

        def calls(self):
            """Return the subcommands of the client so far."""
            return [next(word for word in ("get", "exec") if word in line.split()) for line in log.open()]

    pod = Stateful()
    pod.add()
    yield pod
    kube.pods.pop(("sets", "set-0"), None)


REPLACED = "another pod of the same name has replaced this pod"


@pytest.mark.parametrize("persistent", [False, True, "require"])
def test_replaced_pod_is_unreachable_until_refresh(stateful, docker, docker_python, persistent):
    with stateful.group(persistent=persistent) as group:
        stateful.replace()
        for _ in range(2):
            error = group.check(["touch", "/tmp/of-a-replaced-pod"]).unreachable["sets/set-0"]
            assert error.reason.startswith(REPLACED) and error.kind == "container"
            assert "refresh() of the group" in str(error) and "kubectl get pod set-0 -n sets" in str(error)
        assert docker.client("exec", docker_python, "find", "/tmp", "-name", "of-a-*") == ""
        group.refresh()
        assert list(group.check("true").ok) == ["sets/set-0"]


def replaced_in_the_middle(stateful, group):
    def work(conn):
        return check(conn, "echo ready; sleep 60", on_stdout=lambda line: stateful.replace(), timeout=30)

    return group.map(work).failed["sets/set-0"]


@pytest.mark.parametrize("persistent", [False, "require"])
def test_pod_replaced_in_the_middle_has_failed_and_is_unreachable_then(stateful, monkeypatch, persistent):
    monkeypatch.setattr(kubernetes, "CHECKED_FOR", 0.0)
    with stateful.group(persistent=persistent) as group:
        assert isinstance(replaced_in_the_middle(stateful, group), ConnectionLost)
        assert group.check("true").unreachable["sets/set-0"].reason.startswith(REPLACED)
        group.refresh()
        assert group.check("true").ok


@pytest.mark.parametrize("persistent", [False, "require"])
def test_function_in_a_replaced_pod_is_not_called(stateful, persistent):
    with stateful.group(persistent=persistent) as group:
        stateful.replace()
        assert group.import_module(posixpath).join("a", "b").unreachable["sets/set-0"].reason.startswith(REPLACED)


def test_pod_is_asked_for_once_by_several_commands(stateful, monkeypatch):
    monkeypatch.setattr(kubernetes, "CHECKED_FOR", 3600.0)
    with stateful.group() as group:
        for _ in range(3):
            assert group.check("true").ok
        assert stateful.calls() == ["get", "get", "exec", "exec", "exec"]


def test_timeout_of_a_command_applies_to_the_check_of_the_uid(tmp_path):
    client = tmp_path / "kubectl"
    client.write_text("#!/bin/sh\nexec sleep 600\n")
    client.chmod(0o755)
    with KubernetesConnection("web-0", uid="1", executable=str(client)) as conn:
        assert check(conn, "true", timeout=0.5).timed_out
        with pytest.raises(CommandTimeout, match=r"within 0\.5 seconds"):
            run(conn, "true", timeout=0.5, raise_on_timeout=True)
        conn.connect_timeout = 0.5
        with pytest.raises(ContainerError, match=r"no answer within 0\.5 seconds"):
            check(conn, "true", timeout=600)


@pytest.mark.parametrize(("owner", "calls"), [("ReplicaSet", ["get", "exec"]), ("StatefulSet", ["get", "get", "exec"])])
def test_pod_whose_name_does_not_recur_is_not_asked_for(stateful, kube, owner, calls):
    kube.pods["sets", "set-0"] = dataclasses.replace(kube.pods["sets", "set-0"], owner=owner)
    with stateful.group() as group:
        assert group.check("true").ok
        assert stateful.calls() == calls


def test_pod_is_asked_for_once_by_a_session(stateful, monkeypatch):
    monkeypatch.setattr(kubernetes, "CHECKED_FOR", 0.0)
    with stateful.group(persistent="require") as group:
        for _ in range(3):
            assert group.check("true").ok
        assert stateful.calls() == ["get", "exec", "get"]


def test_pod_that_cannot_be_asked_for_is_unreachable_with_the_stderr(stateful, kube):
    with stateful.group() as group:
        kube.pods["sets", "set-0"] = dataclasses.replace(kube.pods["sets", "set-0"], forbidden="get")
        error = group.check("true").unreachable["sets/set-0"]
        assert error.kind == "permission" and 'cannot get resource "pods"' in error.stderr


def test_refresh_keeps_the_connection_to_a_pod_that_was_not_replaced(stateful):
    with stateful.group(persistent=True) as group:
        kept = group["sets/set-0"]
        group.refresh()
        assert group["sets/set-0"] is kept
        stateful.replace()
        group.refresh()
        assert group["sets/set-0"] is not kept and kept.is_closed


@pytest.mark.parametrize("search", [lambda **kw: remoto.Group.pods("app=web", **kw), remoto.Group.containers])
def test_groups_is_refused_before_the_search(search, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # no client: a search would fail in another way
    with pytest.raises(TypeError, match="groups: not supported for hosts"):
        search(groups=True)


def test_pod_deleted_during_a_command_has_failed(shop):
    def remove(conn):
        return check(conn, "echo ready; sleep 60", on_stdout=lambda line: shop.remove("web-1", "shop"), timeout=30)

    with remoto.Group.pods("app=web,tier=cache", namespace="shop") as group:
        assert isinstance(group.map(remove).failed["shop/web-1"], ConnectionLost)


@pytest.mark.parametrize(
    ("selector", "keywords", "kind", "text"),
    [
        ("app in (", {}, "other", "unable to parse"),
        ("app=web", {"namespace": "empty"}, "container", "none is running"),
        ("app=web", {"context": "unreachable"}, "unreachable", "refused"),
        ("app=web", {"context": "nope"}, "client", "context was not found"),
    ],
)
def test_errors_have_the_stderr_of_the_client(kube, selector, keywords, kind, text):
    with pytest.raises(ContainerError, match=text) as raised:
        remoto.Group.pods(selector, **keywords)
    assert raised.value.kind == kind and str(raised.value).startswith("cannot find pods ")


def test_client_that_is_not_installed_is_reported():
    class Absent(DockerConnection):
        executable = "no-such-docker"

    with pytest.raises(ContainerError, match="No such file or directory: 'no-such-docker'") as raised:
        remoto.Group.containers(Absent)
    assert raised.value.kind == "client"


@pytest.fixture
def client(tmp_path):
    """A client that succeeds and prints a text: no real one prints something else than a list."""

    def client(printed):
        path = tmp_path / "client"
        path.write_text(f"#!/bin/sh\necho 'a warning' >&2\ncat << 'END'\n{printed}\nEND\n")
        path.chmod(0o755)
        return str(path)

    return client


@pytest.mark.parametrize(
    "printed",
    [
        "No resources found",
        '{"kind": "Status", "message": "who are you?"}',
        "[]",
        "null",
        '{"items": null}',
        '{"items": ["web-0"]}',
        '{"items": [{"metadata": {"name": "web-0", "namespace": "shop"}}]}',
        "[" * 100_000,
    ],
    ids=lambda printed: printed[:20],
)
def test_an_answer_that_is_no_list_of_pods_is_reported(client, printed):
    class Other(KubernetesConnection):
        executable = client(printed)

    with pytest.raises(ContainerError, match="printed something other than a list of pods as JSON") as raised:
        remoto.Group.pods("app=web", backend=Other)
    error = raised.value
    assert error.kind == "client" and error.exit_status == 0
    assert error.stderr.startswith(printed[:900]) and len(error.stderr) < 1100
    assert "Run the command in a shell" in str(error) and "get pods -l app=web -o json (exit status 0)" in str(error)


def test_an_answer_that_is_no_list_of_containers_is_reported(client):
    class Other(DockerConnection):
        executable = client("CONTAINER ID   IMAGE")

    with pytest.raises(ContainerError, match="something other than a line for each container") as raised:
        remoto.Group.containers(Other)
    assert raised.value.stderr == "CONTAINER ID   IMAGE\na warning"


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_running_containers_are_found_by_label_and_name(request, engine, caplog):
    server = request.getfixturevalue(engine)
    shell = request.getfixturevalue(f"{engine}_shell")
    image = server.client("inspect", "--format", "{{.Image}}", shell).strip()
    # podman refuses a filter with a comma
    app = "a web, really" if engine == "docker" else "a web"
    for name in ("found-web-0", "found-web-1", "found-db-0"):
        label = f"app={app}" if "web" in name else "app=db"
        server.client("run", "--detach", "--network=none", "--stop-timeout=0", f"--name={name}", "--label", label,
                      "--label", "com.docker.compose.project=shop", image, "sleep", "1000")  # fmt: skip
    try:
        labels = {"app": app}
        with remoto.Group.containers(engine, labels=labels) as group:
            assert list(group) == ["found-web-0", "found-web-1"]
            assert group.check(["echo", "hello"]).ok["found-web-0"].stdout == ["hello"]
        project = {"com.docker.compose.project": "shop"}
        assert len(remoto.Group.containers(engine, labels=project)) == 3
        assert list(remoto.Group.containers(engine, labels=["com.docker.compose.project"], name="*-db-*")) == [
            "found-db-0"
        ]
        server.stop("found-web-1")
        caplog.clear()
        assert list(remoto.Group.containers(engine, labels=labels)) == ["found-web-0"]
        skipped = [record.getMessage().lower() for record in caplog.records if record.name == "remoto"]
        assert len(skipped) == 1 and skipped[0].startswith("skipped: container found-web-1 is not running: exited")
        with pytest.raises(ContainerError, match="none is running"):
            remoto.Group.containers(engine, name="nope-*")
    finally:
        for name in ("found-web-0", "found-web-1", "found-db-0"):
            server.remove(name)


def test_containers_of_a_remote_engine_are_named_with_its_host(docker, docker_shell, sshd):
    interpreter = f"env DOCKER_HOST={docker.environment['DOCKER_HOST']} python3"
    with remoto.Group.containers("docker", host="node1", name=docker_shell, interpreter=interpreter) as group:
        assert list(group) == [f"{docker_shell} on node1"]
        assert group.check("true").ok


def test_containers_are_listed_with_sudo_if_needed(sshd, users, tmp_path):
    client = tmp_path / "client"
    client.write_text('#!/bin/sh\nprintf "1\\trunning\\t%s\\n" "$(id -un)"\n')
    client.chmod(0o755)

    class Engine(DockerConnection):
        executable = str(client)

    group = remoto.Group.containers(Engine, host="unprivileged", detect_sudo=True)
    assert list(group) == ["root on unprivileged"]


def test_label_refused_by_the_client_is_reported_with_its_stderr(podman):
    with pytest.raises(ContainerError, match="invalid filter"):
        remoto.Group.containers("podman", labels={"app": "a, b"})


def test_refresh_is_refused_for_other_groups():
    with pytest.raises(TypeError, match="refresh"):
        remoto.Group(["localhost"]).refresh()
