"""One client: its requests, one after the other. Nothing it sends, or does not send, holds a thread for long."""

from __future__ import annotations

import contextlib
import io
import json
import select
import socket
import time
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any, Callable, Dict, Generator, Mapping, Optional, Protocol, Tuple

from edgekit.errors import EdgekitError, SpecError

#: Between two requests; for all of one request to arrive; for an answer to be taken.
IDLE_S, REQUEST_S, WRITE_S = 30.0, 10.0, 10.0
#: What is read of a body that is refused, so that the refusal is not lost with the connection, and for how long.
DRAIN_BYTES, DRAIN_S = 4 << 20, 2.0
LONGEST_GIVEN = 200
JSON = "application/json"


@dataclass(frozen=True)
class Asked:
    """One request; ``local`` means that it came over the Unix socket. ``began`` on the monotonic clock. ``left`` tells
    whether its client has gone meanwhile, or will send no more, which looks the same."""

    method: str
    path: str
    headers: Message
    body: bytes
    local: bool
    began: float
    left: Callable[[], bool]


@dataclass(frozen=True)
class Answer:
    """With ``parts`` the body comes in those, and the connection ends with it; they are closed in any case."""

    status: int
    body: bytes
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Optional[Generator[bytes, None, None]] = None


class Refused(Exception):
    """A request that ends in an error: its status, and the error as the client is told it."""

    def __init__(self, status: int, error: EdgekitError, headers: Optional[Dict[str, str]] = None) -> None:
        super().__init__(error.message)
        self.answer = failed(status, error, headers)


def failed(status: int, error: EdgekitError, headers: Optional[Mapping[str, str]] = None) -> Answer:
    parts = error.to_json()
    # a client need not hear all of its own text again
    parts.update({name: parts[name][:LONGEST_GIVEN] for name in ("given", "where") if name in parts})
    text = json.dumps(parts, ensure_ascii=False)
    return Answer(status, text.encode("utf-8", "replace") + b"\n", JSON, headers or {})


class Site(Protocol):
    """What is served. ``ending``: the request under way is the last one of its connection."""

    ending: bool

    def admit(self, method: str, path: str, headers: Message, local: bool) -> int:
        """The bound of the body in bytes, told by the head alone. Raises Refused."""

    def respond(self, asked: Asked) -> Answer:
        """Answer a request that was admitted."""

    def sent(self, path: str, status: int) -> None:
        """An answer is on its way."""


class Arriving(io.RawIOBase):
    """What arrives at a socket, until ``deadline``: also bytes that come one by one must all be there by then."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0
        self.begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        try:
            count = self._connection.recv_into(buffer)
        except socket.timeout:
            raise TimeoutError from None  # they are two before Python 3.10
        if not self.begun:
            self.begun, self.deadline = True, time.monotonic() + REQUEST_S
        return count

    def rest(self) -> None:
        """Wait for the next request."""
        self.begun, self.deadline = False, time.monotonic() + IDLE_S


class Connection(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive, until the client ends it. The site decides; this class only carries."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, site: Site) -> None:
        self._site = site
        self._local = connection.family == socket.AF_UNIX
        self._unread = False
        self.path = ""
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]

    def setup(self) -> None:
        self.connection = self.request
        if not self._local:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._arriving = Arriving(self.connection)
        self.rfile = io.BufferedReader(self._arriving, 1 << 16)
        self.wfile = io.BytesIO()

    def handle(self) -> None:
        self.close_connection = False
        while not self.close_connection:
            self._arriving.rest()
            try:
                self._one()
            except OSError:
                # it went, or took too long; a timeout is one too
                return

    def finish(self) -> None:
        self.rfile.close()

    def _one(self) -> None:
        """Read one request and answer it. Raises OSError where the client is gone or slow."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
            return
        self._unread, self.command, self.path = True, "", ""
        try:
            if len(self.raw_requestline) > 65536:
                raise Refused(414, SpecError("the address is too long"))
            if not self.parse_request():
                return
            answer = self._site.respond(self._asked())
        except Refused as refused:
            answer = refused.answer
        except TimeoutError:
            self.close_connection = True
            answer = failed(408, SpecError("the request did not arrive in time", allowed="{:g} s".format(REQUEST_S)))
        self._send(answer)

    def _asked(self) -> Asked:
        """Raises Refused; what is left of a refused body is not read as a request."""
        path = self.path.partition("?")[0]
        bound = self._site.admit(self.command, path, self.headers, self._local)
        size = _size(self.headers, bound)
        if self.headers.get("Expect", "").lower() == "100-continue" and size:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionError("the body ended early")
        self._unread = False
        return Asked(self.command, path, self.headers, body, self._local, time.monotonic(), self._left)

    def _left(self) -> bool:
        if self._site.ending:
            # our own end has shut it for reading
            return False
        try:
            return bool(select.select([self.connection], [], [], 0)[0]) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def handle_expect_100(self) -> bool:
        """Not before the head is admitted."""
        return True

    def send_error(self, code: int, message: Optional[str] = None, explain: Optional[str] = None) -> None:
        """What the standard library refuses while it parses."""
        self._send(failed(int(code), SpecError(message or "not a request")))

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not logged: texts are nobody else's."""

    def _send(self, answer: Answer) -> None:
        if self._unread or self._site.ending or answer.parts is not None:
            self.close_connection = True
        lines = ["HTTP/1.1 {} {}".format(answer.status, self.responses.get(answer.status, ("",))[0])]
        headers = {"Content-Type": answer.kind, "X-Content-Type-Options": "nosniff", **answer.headers}
        if answer.parts is None:
            headers["Content-Length"] = str(len(answer.body))
        if self.close_connection:
            headers["Connection"] = "close"
        lines += ["{}: {}".format(name, value) for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        # counted first: who has the answer may look
        self._site.sent(self.path.partition("?")[0], answer.status)
        if answer.parts is None:
            self._write(head if self.command == "HEAD" else head + answer.body)
        else:
            with contextlib.closing(answer.parts) as parts:
                self._write(head)
                for part in parts:
                    self._write(part)
        if self._unread:
            self._drain()

    def _write(self, data: bytes) -> None:
        self.connection.settimeout(WRITE_S)
        self.connection.sendall(data)

    def _drain(self) -> None:
        """Closing with bytes unread would reset the connection, and take the answer with it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self._arriving.begun, self._arriving.deadline = True, time.monotonic() + DRAIN_S
            left = DRAIN_BYTES
            while left > 0:
                data = self.rfile.read1(1 << 16)
                if not data:
                    return
                left -= len(data)


def _size(headers: Message, bound: int) -> int:
    """Bytes of the body. Raises Refused where that is unclear, or over the bound."""
    if headers.get("Transfer-Encoding") is not None:
        raise Refused(411, SpecError("the body needs a length", allowed="Content-Length"))
    lengths = set(headers.get_all("Content-Length") or ["0"])
    text = lengths.pop()
    if lengths or not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Refused(400, SpecError("not a length", where="Content-Length", given=text[:40]))
    if int(text) > bound:
        given, allowed = "{} bytes".format(int(text)), "{} bytes".format(bound)
        raise Refused(413, SpecError("the body is too large", given=given, allowed=allowed))
    return int(text)


def origin(headers: Message) -> Tuple[str, str]:
    """The host it was sent to, and the one whose page sent it: empty where no page did, ``null`` where that one hides.
    In small letters, with their ports."""
    page = headers.get("Origin", "").lower()
    return headers.get("Host", "").lower(), page.partition("://")[2] or page
