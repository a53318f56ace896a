"""Invalid arguments of container connections are refused before anything is started."""

from pathlib import Path

import pytest

from remoto import connection
from remoto.process import check


def connect(backend, **keywords):
    """Return a connection that starts nothing."""
    return connection.get(backend)(**keywords, eager=False)


@pytest.mark.parametrize("backend", ["docker", "podman"])
@pytest.mark.parametrize("keywords", [{"name": "web"}, {"name": "web", "container_name": "web"}, {"container": "web"}])
def test_unknown_keyword_of_a_container_names_the_expected_one(backend, keywords):
    with pytest.raises(TypeError, match=r"unknown keyword argument '(name|container)'; expected container_name=\.\.\."):
        connect(backend, **keywords)


@pytest.mark.parametrize("backend", ["kubernetes", "openshift"])
def test_unknown_keyword_of_a_pod_names_the_expected_ones(backend):
    with pytest.raises(TypeError, match="pod_name"):
        connect(backend, name="web")
    with pytest.raises(TypeError, match=r"unknown keyword argument 'nmspace'; expected pod_name=\.\.\., .*namespace="):
        connect(backend, pod_name="web", nmspace="shop")


def test_subclass_has_its_own_keywords():
    class Nearby(connection.get("docker")):
        def __init__(self, room="", **kw):
            super().__init__(**kw)

    with pytest.raises(TypeError, match="'rom'"):
        Nearby(container_name="web", rom="x", eager=False)
    assert Nearby(container_name="web", room="x", eager=False).identifier == "web"


@pytest.mark.parametrize(
    ("backend", "keywords", "expected"),
    [
        ("docker", {"container_name": 3}, "expected str, not int"),
        ("docker", {"container_id": b"0123"}, "expected str, not bytes"),
        ("docker", {"container_name": "web", "user": 1000}, "user: expected str, not int: 1000"),
        ("docker", {"container_name": "web", "executable": ["docker"]}, "executable: expected str, not list"),
        ("kubernetes", {"pod_name": None}, "expected str, not NoneType"),
        ("kubernetes", {"pod_name": "web", "namespace": b"shop"}, "namespace: expected str, not bytes"),
        ("kubernetes", {"pod_name": "web", "context": 1}, "context: expected str, not int"),
        ("kubernetes", {"pod_name": "web", "container": True}, "container: expected str, not bool"),
        ("kubernetes", {"pod_name": "web", "kubeconfig": 1}, "kubeconfig: expected str, not int"),
    ],
)
def test_value_of_a_wrong_type_is_refused(backend, keywords, expected):
    with pytest.raises(TypeError, match=expected):
        connect(backend, **keywords)


@pytest.mark.parametrize(
    ("backend", "keywords"),
    [
        ("docker", {"container_name": "we\0b"}),
        ("docker", {"container_name": "web", "user": "ro\0ot"}),
        ("docker", {"container_name": "web", "executable": "doc\0ker"}),
        ("kubernetes", {"pod_name": "web", "namespace": "sh\0op"}),
        ("kubernetes", {"pod_name": "web", "context": "l\0ab"}),
        ("kubernetes", {"pod_name": "web", "container": "a\0pp"}),
        ("kubernetes", {"pod_name": "web", "kubeconfig": "/\0"}),
    ],
)
def test_nul_in_a_value_is_refused(backend, keywords):
    with pytest.raises(ValueError, match="null byte|not the name of a"):
        connect(backend, **keywords)


def test_paths_may_be_path_objects():
    conn = connect("kubernetes", pod_name="web", kubeconfig=Path("/lab/config"), executable=Path("/opt/kubectl"))
    assert conn.client()[:3] == ["/opt/kubectl", "--kubeconfig", "/lab/config"]


def test_command_that_is_neither_a_list_nor_a_string_is_refused_by_name():
    for command in (None, 5, {"ls"}):
        with pytest.raises(TypeError, match="command: expected a list or a string, not (NoneType|int|set): "):
            check(connect("docker", container_name="web"), command)
