"""Invalid arguments of put, get and rsync are refused before anything starts; the error says what is expected."""

import io
import os
import sys

import pytest

import remoto
from remoto import connection
from remoto.exc import FileTransferError
from remoto.file_sync import get, put, rsync, rsync_conn

CONNECTIONS = {
    "ssh": lambda **kw: remoto.Connection("node1", **kw),
    "local": lambda **kw: remoto.Connection("localhost", **kw),
    "docker": lambda **kw: connection.get("docker")(container_name="web", **kw),
    "podman": lambda **kw: connection.get("podman")(container_name="web", **kw),
    "kubernetes": lambda **kw: connection.get("kubernetes")("web", **kw),
    "openshift": lambda **kw: connection.get("openshift")("web", **kw),
}


@pytest.fixture(params=CONNECTIONS)
def conn(request):
    """Return a connection that is not open, and check at the end that it was not opened."""
    conn = CONNECTIONS[request.param](eager=False)
    yield conn
    assert conn.gateway is None


NUL = {
    "put from": lambda conn: put(conn, "a\0b", "/tmp/x"),
    "put to": lambda conn: put(conn, b"contents", "/tmp/x\0y"),
    "put to bytes": lambda conn: put(conn, b"contents", b"/tmp/x\0y"),
    "get from": lambda conn: get(conn, "/etc/passwd\0.png", "/tmp"),
    "get to": lambda conn: get(conn, "/etc/passwd", "/tmp/x\0y"),
    "rsync_conn from": lambda conn: rsync_conn(conn, "a\0b", "/tmp/x"),
    "rsync_conn to": lambda conn: rsync_conn(conn, "/etc/passwd", "/tmp/x\0y"),
    "rsync from": lambda conn: rsync(conn.hostname, "a\0b", "/tmp/x"),
    "rsync to": lambda conn: rsync([conn.hostname, "node2"], "/etc/passwd", "/tmp/x\0y"),
}


@pytest.mark.parametrize("transfer", NUL.values(), ids=NUL)
def test_nul_in_a_path_is_refused(conn, transfer):
    with pytest.raises(ValueError, match=r"^(source|destination): embedded null byte: b?'"):
        transfer(conn)


CLOSED = open(os.devnull, "rb")
CLOSED.close()
WRONG_SOURCES = {
    "a number": (3, TypeError, "source: expected a path, bytes or a file opened in binary mode, not int: 3"),
    "None": (None, TypeError, "source: expected a path, .*, not NoneType: None"),
    "a list": (["a", "b"], TypeError, "source: expected a path, .*, not list"),
    "a class": (io.BytesIO, TypeError, "source: expected a path, .*, not type"),
    "text in memory": (io.StringIO("text"), TypeError, "source: expected a file opened in binary mode, not text"),
    "a file of text": (sys.__stdin__, TypeError, "source: expected a file opened in binary mode, not text"),
    "a closed file": (CLOSED, ValueError, "source: the file is closed"),
}


@pytest.mark.parametrize(("source", "error", "words"), WRONG_SOURCES.values(), ids=WRONG_SOURCES)
def test_put_refuses_unreadable_sources(conn, source, error, words):
    with pytest.raises(error, match=words):
        put(conn, source, "/tmp/x")


def test_put_refuses_a_file_opened_for_writing(conn, tmp_path):
    with open(tmp_path / "x", "wb") as file, pytest.raises(ValueError, match="not opened for reading"):
        put(conn, file, "/tmp/x")


@pytest.mark.parametrize("text", ["text", "key = /a/path\n", "many lines\n" * 10_000])
def test_put_of_text_hints_that_contents_are_bytes(conn, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileTransferError, match=r"\(a str is a path; contents are bytes\)$") as caught:
        put(conn, text, "/tmp/x")
    assert caught.value.errno and len(str(caught.value)) < 20_000


def test_missing_source_is_reported_before_anything_starts(conn, tmp_path):
    for transfer in (put, rsync_conn):
        with pytest.raises(FileTransferError, match="missing: No such file or directory$"):
            transfer(conn, tmp_path / "missing", "/tmp/x")


WRONG = {
    "destination": (lambda conn: put(conn, b"x", 3), TypeError, "destination: expected a path, not int: 3"),
    "an empty destination": (lambda conn: put(conn, b"x", ""), ValueError, "destination: the path is empty"),
    "source": (lambda conn: get(conn, 3, "/tmp"), TypeError, "source: expected a path, not int: 3"),
    "an empty source": (lambda conn: get(conn, "", "/tmp"), ValueError, "source: the path is empty"),
    "progress": (lambda conn: put(conn, b"x", "/x", progress=3), TypeError, "progress: expected a function, not int"),
    "get's progress": (lambda conn: get(conn, "/x", "/", progress=3), TypeError, "progress: expected a function"),
    "rsync's progress": (lambda conn: rsync_conn(conn, "/", "/", progress=3), TypeError, "progress: expected a func"),
    "timeout": (lambda conn: put(conn, b"x", "/x", timeout="3"), TypeError, "timeout: expected seconds, not str"),
    "get's timeout": (lambda conn: get(conn, "/x", "/", timeout=-1), ValueError, "timeout: expected 0 or more seconds"),
    "put's conn": (lambda conn: put("node1", b"x", "/x"), TypeError, "conn: expected a connection, not str: 'node1'"),
    "get's conn": (lambda conn: get("node1", "/x", "/tmp"), TypeError, "conn: expected a connection, not str: 'node1'"),
    "rsync_conn's conn": (lambda conn: rsync_conn("node1", "/", "/"), TypeError, "conn: expected a connection"),
}


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG)
def test_invalid_values_are_refused_with_the_expected_type(conn, call, error, words):
    with pytest.raises(error, match=words):
        call(conn)
