"""What is measured against: an sshd with its aliases, and two containers."""

import contextlib
import logging
import os

import remoto
from tests.servers.engines import Docker
from tests.servers.sshd import Sshd

CONTAINER = "remoto-benchmark"


@contextlib.contextmanager
def servers():
    before = dict(os.environ)
    with Sshd() as sshd, Docker() as docker:
        os.environ["PATH"] = f"{sshd.wrapper_folder}{os.pathsep}{os.environ['PATH']}"
        os.environ.update(docker.environment)
        docker.run("python", name=CONTAINER)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def connect(hostname="node0", backend=remoto.Connection, **kw):
    return backend(hostname, logger=quiet(), **kw)


def quiet():
    logger = logging.getLogger("remoto.benchmark")
    logger.setLevel(logging.CRITICAL)
    return logger
