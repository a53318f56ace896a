"""Create pods with ``kubectl``, on a real cluster or on the tests' own API server, by the same steps.

REMOTO_TEST_KUBE_CONTEXT names a context in kubectl's configuration; the tests then use that cluster. Its user must be
allowed to create, delete and get pods and to run commands in them. It must be able to pull the images ``python:3-slim``
and ``busybox``, or those that REMOTO_TEST_IMAGE_PYTHON and REMOTO_TEST_IMAGE_SHELL name.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .images import named

PUBLIC_IMAGES = {"python": "python:3-slim", "shell": "busybox"}
#: seconds until a pod is in the expected state; an image may have to be pulled, and a pod crashes only after it has
#: started
READY_TIMEOUT = 180
CLIENT_TIMEOUT = READY_TIMEOUT + 60
IDLE = ("sleep", "7200")
#: seconds after which the cluster ends each pod itself, in case the tests are killed
LIFE = 7200
CRASHED = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff"


#: before the tests' own server takes its place
_KUBECONFIG = os.environ.get("KUBECONFIG", "")


def real_context() -> str | None:
    """Return the context of the real cluster to use; empty without one."""
    return os.environ.get("REMOTO_TEST_KUBE_CONTEXT") or None


class Cluster:
    """A cluster, as a context manager that deletes its pods at the end.

    ``kubeconfig`` is a separate file, since KUBECONFIG names that of the tests' own server.

    :param context: of kubectl's configuration.
    :param configuration: kubectl's configuration, in the form of KUBECONFIG; by default that of the test run.
    :param images: what the images ``python`` and ``shell`` are called there.
    """

    def __init__(self, context: str, configuration: str = _KUBECONFIG, images: Mapping[str, str] | None = None) -> None:
        self.context = context
        self._images = images or {image: named(image) or public for image, public in PUBLIC_IMAGES.items()}
        self._configuration = configuration
        self._pods: list[str] = []

    def __enter__(self) -> Cluster:
        self._directory = tempfile.TemporaryDirectory(prefix="remoto-cluster-")
        self.kubeconfig = Path(self._directory.name, "kubeconfig")
        view = ("config", "view", "--raw", "--flatten", "--minify")
        configuration = _kubectl(self._configuration, "--context", self.context, *view)
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(configuration)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._pods:
                self.kubectl("delete", "pod", *self._pods, "--ignore-not-found", "--now", "--wait=false")
        finally:
            self._directory.cleanup()

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords of a connection to one of its pods."""
        return {"kubeconfig": str(self.kubeconfig), "context": self.context}

    def kubectl(self, *arguments: str) -> str:
        """The output of kubectl.

        :raises RuntimeError: when it fails; holds its stderr.
        """
        return _kubectl(str(self.kubeconfig), *arguments)

    def run(self, image: str) -> str:
        """Return the name of a new, ready pod of the image ``python`` or ``shell``, and of its container."""
        return self._make(image, "condition=Ready", command=IDLE)

    def succeeded(self) -> str:
        return self._make("shell", "jsonpath={.status.phase}=Succeeded", command=("true",), restartPolicy="Never")

    def crashing(self) -> str:
        """Return a pod whose container crashes repeatedly, and is not running now."""
        return self._make("shell", CRASHED, command=("false",))

    def pending(self) -> str:
        """Return a pod that cannot be scheduled on any node."""
        return self._make("shell", "", command=IDLE, nodeSelector={"remoto-tests/no-such-node": "true"})

    def delete(self, pod: str) -> None:
        self.kubectl("delete", "pod", pod, "--now", "--wait=false")

    def _make(self, image: str, until: str, command: tuple[str, ...], **spec: Any) -> str:
        pod = f"remoto-tests-{image}-{secrets.token_hex(4)}"
        self._pods.append(pod)
        overrides = json.dumps({"spec": {"activeDeadlineSeconds": LIFE, **spec}})
        self.kubectl("run", pod, f"--image={self._images[image]}", f"--overrides={overrides}", "--", *command)
        if until:
            self.kubectl("wait", f"--for={until}", f"pod/{pod}", f"--timeout={READY_TIMEOUT}s")
        return pod


def _kubectl(kubeconfig: str, *arguments: str) -> str:
    done = subprocess.run(
        ["kubectl", *arguments],
        # an empty KUBECONFIG counts as unset
        env={**os.environ, "KUBECONFIG": kubeconfig},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLIENT_TIMEOUT,
    )
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout
