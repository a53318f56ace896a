"""A slow link that counts bytes: a TCP port on this machine, in front of another one."""

import contextlib
import queue
import socket
import threading
import time


class Link:
    """Forward ``port`` to ``to_port`` with a delay of ``delay`` seconds; count ``bytes`` in both directions."""

    def __init__(self, to_port, delay):
        self.to_port = to_port
        self.delay = delay
        self.bytes = 0
        self._counting = threading.Lock()

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        # close() alone does not end accept() in another thread
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(("127.0.0.1", self.to_port)) as server:
            ways = [
                threading.Thread(target=self._carry, args=ends, daemon=True)
                for ends in ((client, server), (server, client))
            ]
            for way in ways:
                way.start()
            for way in ways:
                way.join()

    def _carry(self, source, target):
        on_its_way = queue.Queue()
        target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def deliver():
            with contextlib.suppress(OSError):
                while True:
                    due, data = on_its_way.get()
                    time.sleep(max(0, due - time.monotonic()))
                    if not data:
                        target.shutdown(socket.SHUT_WR)
                        return
                    target.sendall(data)

        delivery = threading.Thread(target=deliver, daemon=True)
        delivery.start()
        data = b"-"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            with self._counting:
                self.bytes += len(data)
            on_its_way.put((time.monotonic() + self.delay, data))
        delivery.join()
