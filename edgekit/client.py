"""Ask a service elsewhere: ``Client("unix:/path/service.sock").predict(["a text"])``. Standard library only."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Sequence
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from edgekit.errors import EdgekitError, ProtocolError, SpecError, TransportError, UsageError, from_json
from edgekit.spec import codec
from edgekit.spec.service import MOST_TEXTS, Answering
from edgekit.spec.wire import Prediction, Predictions

T = TypeVar("T")
#: A service that is busy is asked again for this long, in seconds.
PATIENCE_S = 30.0
#: While a release changes, many texts may have to be asked anew.
ATTEMPTS = 3


class Client:
    """A connection to a service, kept open between questions; for one thread.

    Args:
        url: ``unix:PATH``, ``http://HOST:PORT`` or ``https://…``.
        token: what a service in a network asks for. Over ``http`` it travels in the clear.
        timeout: seconds to wait for one answer.
        patience: seconds to go on asking a service that is busy, or whose runtime comes back after a crash.

    Raises:
        UsageError: ``url`` names no service.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = 120.0, patience: float = PATIENCE_S
    ) -> None:
        self.url = url
        self._token = token
        self._patience = patience
        self._connection = connect(url, timeout)

    def predict(self, texts: Sequence[str], top: int = 3) -> Predictions:
        """Answers in the texts' order, all by one release.

        Raises:
            SpecError: the service refuses a text. DeviceError: its model fails. TransportError: it cannot be reached,
            or is busy for longer than our patience. ProtocolError: something else answers there.
        """
        parts = [list(texts[start : start + MOST_TEXTS]) for start in range(0, len(texts), MOST_TEXTS)]
        if not parts:
            raise UsageError("no text to ask about")
        for _ in range(ATTEMPTS):
            answers = [self._ask("POST", "/predict", {"texts": part, "top": top}, Predictions) for part in parts]
            if len({(one.release, one.artifact) for one in answers}) == 1:
                found: tuple[Prediction, ...] = sum((one.predictions for one in answers), ())
                return Predictions(answers[0].release, answers[0].artifact, found)
        raise ProtocolError("its release changes all the time", where=self.url)

    def health(self) -> Answering:
        """What the service says of itself, also when it does not answer questions. Raises as :meth:`predict`."""
        status, body, _ = self._exchange("GET", "/health", b"")
        if status not in (200, 503):
            raise self._refusal(status, body)
        return self._decode(Answering, body)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, question: dict[str, Any], reply: type[T]) -> T:
        body = json.dumps(question).encode()
        deadline = time.monotonic() + self._patience
        while True:
            status, answer, again = self._exchange(method, path, body)
            if status == 200:
                return self._decode(reply, answer)
            if status != 503 or time.monotonic() + again > deadline:
                raise self._refusal(status, answer)
            time.sleep(again)

    def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes, float]:
        """Status, body, and seconds to wait before asking again. A kept connection may have been closed meanwhile:
        then, once, over a new one."""
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        fresh = self._connection.sock is None
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            after = response.getheader("Retry-After", "1")
            return response.status, response.read(), float(after) if after.isdecimal() else 1.0
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            self._connection.close()
            if fresh:
                raise self._unreachable(error) from error
            return self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> TransportError:
        if isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError):
            return ProtocolError(f"no HTTP is spoken there: {type(error).__name__}", where=self.url)
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return TransportError(
            f"the service cannot be reached: {said}", where=self.url, remedy="see whether it runs: edgekit status"
        )

    def _refusal(self, status: int, body: bytes) -> EdgekitError:
        try:
            parts = json.loads(body)
        except ValueError:
            parts = None
        if not isinstance(parts, dict) or "message" not in parts:
            return ProtocolError(
                "something else than edgekit's service answers", where=self.url, given=f"HTTP {status}"
            )
        if status == 503:
            return TransportError(f"the service is busy: {parts['message']}", where=self.url, remedy="try again later")
        return from_json(parts, self.url)

    def _decode(self, reply: type[T], body: bytes) -> T:
        try:
            return codec.loads(reply, body)
        except SpecError as error:
            raise ProtocolError(f"the answer does not fit: {error}", where=self.url) from error


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connect(url: str, timeout: float) -> http.client.HTTPConnection:
    """A connection that opens with its first request. Raises UsageError where ``url`` names no service."""
    if url.startswith("unix:") and len(url) > len("unix:"):
        return _Unix(url.removeprefix("unix:"), timeout)
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    kinds: dict[str, type[http.client.HTTPConnection]] = {
        "http": http.client.HTTPConnection,
        "https": http.client.HTTPSConnection,
    }
    if parts.scheme not in kinds or not host or parts.path not in ("", "/") or parts.query:
        raise UsageError("not the address of a service", given=url, allowed="unix:PATH, http://HOST:PORT, https://HOST")
    return kinds[parts.scheme](host, port, timeout=timeout)
