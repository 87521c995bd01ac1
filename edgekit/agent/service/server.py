"""Sockets, a thread a connection, and an end without a lost request."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from typing import Dict, List, Sequence

from edgekit.agent.service import notify
from edgekit.agent.service.connection import Connection, failed
from edgekit.agent.service.desk import Busy
from edgekit.agent.service.loaded import ANSWER_S
from edgekit.agent.service.routes import Service

#: At the end, requests under way get this long.
DRAIN_S = 20.0
LOOK_S = 1.0


class Server:
    """Serves ``service`` on ``listeners`` until :meth:`stop`, which may be called from a signal handler."""

    def __init__(self, service: Service, listeners: Sequence[socket.socket], connections: int) -> None:
        self.service = service
        self.connections = connections
        self._listeners = list(listeners)
        self._lock = threading.Lock()
        self._open: Dict[int, socket.socket] = {}
        self._threads: Dict[int, threading.Thread] = {}
        # never closed: a signal may come at any time
        self._stopped, self._stop = os.pipe()
        for one in self._listeners:
            one.setblocking(False)

    def stop(self) -> None:
        os.write(self._stop, b"x")

    def run(self) -> None:
        """Until it is stopped; then whoever was heard is answered, and the listeners are closed."""
        notify.tell("READY=1")
        sign, every = time.monotonic(), notify.interval() or LOOK_S
        while True:
            handles = [self._stopped, *(one.fileno() for one in self._listeners)]
            ready = select.select(handles, [], [], min(every, LOOK_S))[0]
            if self._stopped in ready:
                break
            self._accept([one for one in self._listeners if one.fileno() in ready])
            if time.monotonic() - sign >= every and time.monotonic() - self.service.keeper.beat < 2 * ANSWER_S:
                sign = time.monotonic()
                notify.tell("WATCHDOG=1")
        notify.tell("STOPPING=1")
        self._drain()

    def _accept(self, listeners: Sequence[socket.socket]) -> None:
        for listener in listeners:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        number = id(connection)
        # the last quarter is left to the socket's own user: nobody in the network keeps that one out
        spared = 0 if connection.family == socket.AF_UNIX else self.connections // 4
        with self._lock:
            full = len(self._open) >= self.connections - spared
            if not full:
                self._open[number] = connection
                thread = threading.Thread(target=self._carry, args=(connection, number), daemon=True)
                self._threads[number] = thread
        if full:
            _turn_away(connection, self.connections - spared)
            self.service.sent("other", 503)
        else:
            try:
                thread.start()
            except RuntimeError:  # the process may have no more threads
                with self._lock:
                    del self._open[number], self._threads[number]
                _turn_away(connection, len(self._threads))
                self.service.sent("other", 503)

    def _carry(self, connection: socket.socket, number: int) -> None:
        try:
            Connection(connection, self.service)
        finally:
            with self._lock:
                del self._open[number], self._threads[number]
            connection.close()

    def _drain(self) -> None:
        """Hear who knocked before the end, answer what was asked, and let go."""
        for _ in range(self.connections):
            self._accept(select.select(self._listeners, [], [], 0)[0])
        for one in self._listeners:
            one.close()
        self.service.ending = True
        # what has arrived can still be read; who only waits reads the end
        self._each(socket.SHUT_RD)
        deadline = time.monotonic() + DRAIN_S
        for thread in self._running():
            thread.join(max(0.0, deadline - time.monotonic()))
        self._each(socket.SHUT_RDWR)

    def _running(self) -> List[threading.Thread]:
        with self._lock:
            return list(self._threads.values())

    def _each(self, how: int) -> None:
        with self._lock:
            for connection in self._open.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(how)


def _turn_away(connection: socket.socket, most: int) -> None:
    answer = failed(503, Busy("too many connections are open", allowed=most, remedy="try again in a second"))
    head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {}\r\nContent-Length: {}\r\n".format(
        answer.kind, len(answer.body)
    )
    with contextlib.suppress(OSError), connection:
        connection.settimeout(0.2)
        connection.sendall((head + "Retry-After: 1\r\nConnection: close\r\n\r\n").encode("ascii") + answer.body)
        connection.shutdown(socket.SHUT_WR)
        # bytes left unread would reset the connection, and take the answer with it
        connection.recv(1 << 16)
