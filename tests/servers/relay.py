"""An unreliable link, as an ssh ProxyCommand: between stdin and stdout here and a TCP port.

usage: relay.py [--drop-when FILE] [--silence-when FILE] HOST PORT

When the first file appears, the connection is dropped. When the second one appears, all further data is discarded, and
nothing is closed.
"""

import argparse
import os
import socket
import sys
import threading
import time


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--drop-when")
    parser.add_argument("--silence-when")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    link = socket.create_connection((options.host, options.port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()

    def send_all(data):
        while data:
            data = data[os.write(stdout, data) :]

    def silent():
        return options.silence_when and os.path.exists(options.silence_when)

    def carry(read, write, close):
        while True:
            data = read()
            if data and not silent():
                write(data)
            elif not data:
                if not silent():
                    close()
                return

    threading.Thread(
        target=carry,
        args=(lambda: os.read(stdin, 65536), link.sendall, lambda: link.shutdown(socket.SHUT_WR)),
        daemon=True,
    ).start()
    threading.Thread(target=carry, args=(lambda: link.recv(65536), send_all, lambda: os._exit(0)), daemon=True).start()
    directory = os.path.dirname(options.drop_when or options.silence_when or __file__)
    while True:
        # if its directory is missing, the tests have ended, and nothing else would end a silent relay
        if (options.drop_when and os.path.exists(options.drop_when)) or not os.path.exists(directory):
            os._exit(1)
        # the standard library cannot wait for a file to appear
        time.sleep(0.05)


if __name__ == "__main__":
    main()
