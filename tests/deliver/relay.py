"""Relays stdin and stdout to a TCP port: what ``nc`` does, where it is not installed. For the ProxyCommand test."""

import os
import socket
import sys
import threading


def main(host: str, port: int) -> None:
    peer = socket.create_connection((host, port))

    def back() -> None:
        while data := peer.recv(1 << 16):
            os.write(1, data)
        os._exit(0)

    threading.Thread(target=back, daemon=True).start()
    while data := os.read(0, 1 << 16):
        peer.sendall(data)


main(sys.argv[1], int(sys.argv[2]))
