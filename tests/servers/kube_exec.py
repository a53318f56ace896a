"""The exec subresource of the tests' API server: a WebSocket, and the process whose streams it carries."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from typing import IO, Any

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

SUBPROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
#: the first byte of a message; in v5, CLOSE followed by a channel is the end of that channel
STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255

#: Texts of container clients for failures of their own, docker's on stdout, podman's on stderr. A kubelet gets these
#: from its runtime separately, and never mixes them with output.
RUNTIME_FAILURE = re.compile(
    rb"OCI runtime exec failed: |Error response from daemon: "
    rb"|Error: (?:No such container|no container with name|can only create exec sessions|runc: |crun: )"
)


def internal_error(message: str) -> dict[str, Any]:
    """Return the Status object for an internal error, like Kubernetes' apimachinery/pkg/api/errors."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }


def runtime_failure(message: str) -> dict[str, Any]:
    """Like :func:`internal_error`, for an error of the container runtime, with the text of a kubelet."""
    what = f"error executing command in container: failed to exec in container: {message}"
    return internal_error(f"Internal error occurred: {what}")


class Channels:
    """The WebSocket of one exec; used by several threads.

    After the client has disconnected, messages are dropped.
    """

    def __init__(self, request: BaseHTTPRequestHandler) -> None:
        self._socket: socket.socket = request.connection
        self._lock = threading.Lock()
        self._protocol = ServerProtocol(subprotocols=SUBPROTOCOLS, max_size=None)
        lines = [request.requestline, *(f"{name}: {value}" for name, value in request.headers.items()), "", ""]
        self._protocol.receive_data("\r\n".join(lines).encode("latin-1"))
        (handshake,) = self._protocol.events_received()
        self._protocol.send_response(self._protocol.accept(handshake))
        self._flush()
        #: True after the handshake
        self.open = self._protocol.handshake_exc is None

    def send(self, channel: int, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError, InvalidState):
            self._protocol.send_binary(bytes([channel]) + data)
            self._flush()

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError, InvalidState):
            self._protocol.send_close(1000)
            self._flush()

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Yield the client's messages, until either side closes."""
        message = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self._protocol.receive_data(data)
                events = self._protocol.events_received()
                with contextlib.suppress(OSError):
                    self._flush()
            for frame in events:
                assert isinstance(frame, Frame)
                if frame.opcode is Opcode.CLOSE:
                    return
                if frame.opcode in (Opcode.BINARY, Opcode.CONT):
                    message += frame.data
                    if frame.fin:
                        yield message[0], message[1:]
                        message = b""

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)


class Command:
    """One exec: a local process with its streams as channels."""

    def __init__(self, command: Sequence[str], with_stdin: bool, channels: Channels) -> None:
        self._channels = channels
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # so that a signal to its process group does not reach the tests
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kill the process, as the end of its container would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def serve(self) -> None:
        # as in a real kubelet, if the client disconnects, the command only gets EOF on stdin
        threading.Thread(target=self._feed, daemon=True).start()
        streams = {
            channel: threading.Thread(target=self._carry, args=(channel, stream), daemon=True)
            for channel, stream in ((STDOUT, self.process.stdout), (STDERR, self.process.stderr))
        }
        self._runtime_failure: bytes = b""
        for thread in streams.values():
            thread.start()
        for thread in streams.values():
            thread.join()
        status = self.process.wait()
        self._channels.send(STATUS, json.dumps(self._status(status)).encode())
        self._channels.close()

    def _carry(self, channel: int, stream: IO[bytes]) -> None:
        with stream:
            while data := os.read(stream.fileno(), 65536):
                if RUNTIME_FAILURE.match(data):
                    self._runtime_failure = data
                else:
                    self._channels.send(channel, data)

    def _feed(self) -> None:
        stdin = self.process.stdin
        for channel, data in self._channels.messages():
            if stdin is None:
                continue
            try:
                if channel == STDIN:
                    stdin.write(data)
                    stdin.flush()
                elif channel == CLOSE and data == bytes([STDIN]):
                    stdin.close()
            except (OSError, ValueError):
                continue  # the command does not read stdin, but the other messages must be read
        if stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                stdin.close()

    def _status(self, status: int) -> dict[str, Any]:
        document: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if self._runtime_failure:
            message = self._runtime_failure.decode(errors="replace").strip()
            document = runtime_failure(f"failed to start exec: {message}")
        elif status:
            code = status if status > 0 else 128 - status
            cause = {"reason": "ExitCode", "message": str(code)}
            message = f"command terminated with non-zero exit code: exit status {code}"
            document.update(status="Failure", reason="NonZeroExitCode", message=message, details={"causes": [cause]})
        return document
