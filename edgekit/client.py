"""Ask a service elsewhere: ``Client("unix:/path/service.sock").predict(["a text"])``. Standard library only."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from edgekit.errors import EdgekitError, ProtocolError, SpecError, TransportError, UsageError, from_json
from edgekit.spec import codec
from edgekit.spec.prompt import DONE, ERROR, EVENTS, PIECE
from edgekit.spec.service import Answering, Options
from edgekit.spec.wire import Generate, Generated, Prediction, Predictions

T = TypeVar("T")
#: A service that is busy is asked again for this long, in seconds.
PATIENCE_S = 30.0
#: While a release changes, many texts may have to be asked anew.
ATTEMPTS = 3
#: Texts in one question: so many a slow board answers before the service's own patience ends.
AT_ONCE = 64
#: Bytes of texts in one question: what a service takes unless it was told otherwise, with room for the rest of it.
MOST_BYTES = Options.body - 256
#: Bytes in a line of an event: the last one holds the whole text, and a time for each token.
LONGEST_EVENT = 4 << 20


class Client:
    """A connection to a service, kept open between questions; for one thread.

    Args:
        url: ``unix:PATH``, ``http://HOST:PORT`` or ``https://…``.
        token: what a service in a network asks for. Over ``http`` it travels in the clear.
        timeout: seconds to wait for one answer.
        patience: seconds to go on asking a service that is busy, or whose runtime comes back after a crash.

    Raises:
        UsageError: ``url`` names no service, or ``token`` cannot be sent.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = 120.0, patience: float = PATIENCE_S
    ) -> None:
        if token is not None and not (token.isascii() and token.isprintable()):
            # told here, for what HTTP's own refusal shows is the token
            raise UsageError("the token cannot be sent", allowed="one line of printable ASCII characters")
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
        parts = list(_parts(texts))
        if not parts:
            raise UsageError("no text to ask about")
        for _ in range(ATTEMPTS):
            answers = [self._ask("POST", "/predict", {"texts": part, "top": top}, Predictions) for part in parts]
            if len({(one.release, one.artifact) for one in answers}) == 1:
                found: tuple[Prediction, ...] = sum((one.predictions for one in answers), ())
                return Predictions(answers[0].release, answers[0].artifact, found)
        raise ProtocolError("its release changes all the time", where=self.url)

    def follow(self, stream: str, text: str, *, after: int = 0, top: int = 3, end: bool = False) -> Prediction:
        """What ``stream``, a name of one's own, is about after its next ``text``, by all that it said so far; ``after``
        is what the answer before had ``read``, in tokens. With ``end`` it is forgotten there.

        Raises:
            SpecError: the service refuses the text. DeviceError: the release was not made to follow streams, or the
            stream is not where it is believed to be: it was forgotten (a crash, a new release, more streams than fit).
            TransportError, ProtocolError: as :meth:`predict`.
        """
        asked = {"text": text, "stream": stream, "after": after, "top": top, "end": end}
        return self._ask("POST", "/predict", asked, Predictions).predictions[0]

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 64,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        window: bool = False,
    ) -> Text:
        """The text that goes on with ``prompt``, piece by piece as it is written; settings as of ``edgekit.generate``.

        Raises:
            SpecError: a setting is out of range, or refused. DeviceError: the release was not made to generate, or the
            prompt is longer than its context. TransportError, ProtocolError: as :meth:`predict`.
        """
        asked = Generate(prompt, max_tokens, temperature, top_k, top_p, seed, tuple(stop), window)
        response = self._patiently("POST", "/generate", {**codec.encode(asked), "stream": True})
        if response.getheader("Content-Type") != EVENTS:
            raise _refusal(self.url, response.status, self._body(response))
        return Text(response, self.url)

    def health(self) -> Answering:
        """What the service says of itself, also when it does not answer questions. Raises as :meth:`predict`."""
        response = self._exchange("GET", "/health", b"")
        body = self._body(response)
        if response.status not in (200, 503):
            raise _refusal(self.url, response.status, body)
        return _decode(self.url, Answering, body)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, question: dict[str, Any], reply: type[T]) -> T:
        return _decode(self.url, reply, self._body(self._patiently(method, path, question)))

    def _patiently(self, method: str, path: str, question: dict[str, Any]) -> http.client.HTTPResponse:
        """An answer that is none of an error. Who is busy is asked again."""
        body = json.dumps(question).encode()
        deadline = time.monotonic() + self._patience
        while True:
            response = self._exchange(method, path, body)
            if response.status == 200:
                return response
            after = response.getheader("Retry-After", "1")
            again = float(after) if after.isdecimal() else 1.0
            answer = self._body(response)
            if response.status != 503 or time.monotonic() + again > deadline:
                raise _refusal(self.url, response.status, answer)
            time.sleep(again)

    def _exchange(self, method: str, path: str, body: bytes) -> http.client.HTTPResponse:
        """The head of an answer. A kept connection may have been closed meanwhile: then, once, over a new one."""
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        fresh = self._connection.sock is None
        try:
            self._connection.request(method, path, body, headers)
            return self._connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            self._connection.close()
            if fresh:
                raise _unreachable(self.url, error) from error
            return self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise _unreachable(self.url, error) from error

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise _unreachable(self.url, error) from error


class Text(Iterator[str]):
    """A text as it is written: its pieces. At their end, ``written`` is the whole with its figures. Who closes it
    earlier has the writing stopped.

    Raises:
        TransportError: it broke off, as where the runtime dies. DeviceError: the model fails.
    """

    def __init__(self, response: http.client.HTTPResponse, url: str) -> None:
        self.written: Generated | None = None
        self._response = response
        self._url = url

    def __next__(self) -> str:
        while self.written is None:
            name, data = self._event()
            if name == PIECE and isinstance(data.get("text"), str):
                return str(data["text"])
            if name == ERROR and data.get("error") == "Busy":
                raise self._broken(data.get("message"))
            if name == ERROR:
                raise from_json(data, self._url)
            if name == DONE:
                self.written = _decode(self._url, Generated, json.dumps(data).encode())
                self.close()
        raise StopIteration

    def whole(self) -> Generated:
        """The text with its figures, once what is left of it was read. Raises as reading does."""
        for _ in self:
            pass
        assert self.written is not None
        return self.written

    def _event(self) -> tuple[str, dict[str, Any]]:
        """Its name and data, as the service writes them: a line each, and an empty one."""
        try:
            lines = [self._response.readline(LONGEST_EVENT).decode() for _ in range(3)]
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise self._broken(error) from error
        if not lines[2]:
            raise self._broken("the connection ended")
        return lines[0].removeprefix("event: ").strip(), _decode(self._url, dict, lines[1].removeprefix("data: "))

    def _broken(self, said: object) -> TransportError:
        self.close()
        return TransportError(
            f"the text broke off: {said}", where=self._url, remedy="see whether it runs: edgekit status"
        )

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """As many texts at a time as one question holds; one that is too long by itself goes alone, to be refused."""
    part: list[str] = []
    left = MOST_BYTES
    for text in texts:
        size = len(json.dumps(text)) + len(", ")
        if part and (len(part) == AT_ONCE or size > left):
            yield part
            part, left = [], MOST_BYTES
        part.append(text)
        left -= size
    if part:
        yield part


def _unreachable(url: str, error: Exception) -> TransportError:
    if isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError):
        return ProtocolError(f"no HTTP is spoken there: {type(error).__name__}", where=url)
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return TransportError(
        f"the service cannot be reached: {said}", where=url, remedy="see whether it runs: edgekit status"
    )


def _refusal(url: str, status: int, body: bytes) -> EdgekitError:
    try:
        parts = json.loads(body)
    except ValueError:
        parts = None
    if not isinstance(parts, dict) or "message" not in parts:
        return ProtocolError("something else than edgekit's service answers", where=url, given=f"HTTP {status}")
    if status == 503:
        return TransportError(f"the service is busy: {parts['message']}", where=url, remedy="try again later")
    return from_json(parts, url)


def _decode(url: str, reply: type[T], body: bytes | str) -> T:
    try:
        return codec.loads(reply, body)
    except SpecError as error:
        raise ProtocolError(f"the answer does not fit: {error}", where=url) from error


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
