"""``edgekit.Client`` against a running service, and against what is none."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import writing_kit
from service_kit import LABELS, OLD_MODEL, Serving, deploy, label_of

import edgekit
from edgekit.agent import store
from edgekit.errors import DeviceError, ProtocolError, SpecError, TransportError, UsageError

pytest.importorskip("tokenizers", reason="needs the 'host' extra")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    root = tmp_path_factory.mktemp("served")
    store.prepare(root)
    deploy(root, OLD_MODEL)
    with Serving(root) as serving:
        yield serving


def test_it_asks_and_is_answered(served: Serving) -> None:
    with edgekit.Client(f"unix:{served.socket}") as client:
        answers = client.predict(["chess plays", "mail"], top=1)
        assert [one.label for one in answers.predictions] == [
            label_of(one, OLD_MODEL) for one in ("chess plays", "mail")
        ]
        assert answers.predictions[0].scores[0].label in LABELS
        assert client.health().release == answers.release


def test_more_texts_than_one_question_holds_are_several(served: Serving) -> None:
    texts = [f"chess {'mail ' * (n % 5)}" for n in range(600)]
    with edgekit.Client(f"unix:{served.socket}") as client:
        answers = client.predict(texts, top=1)
    assert [one.text for one in answers.predictions] == texts
    assert [one.label for one in answers.predictions] == [label_of(one, OLD_MODEL) for one in texts]


@pytest.mark.parametrize("word", ["mail ", "süß "])
def test_long_texts_are_several_questions_that_fit(served: Serving, word: str) -> None:
    texts = [f"chess {word * 300}{n}" for n in range(256)]
    with edgekit.Client(f"unix:{served.socket}") as client:
        answers = client.predict(texts, top=1)
    assert [one.text for one in answers.predictions] == texts


def test_a_refusal_is_raised_as_the_error_it_was(served: Serving) -> None:
    with edgekit.Client(f"unix:{served.socket}") as client:
        with pytest.raises(SpecError, match="a text is empty") as caught:
            client.predict(["chess", " "])
        assert "$.texts[1]" in str(caught.value.where)
        with pytest.raises(SpecError, match="too large"):
            client.predict(["a " * 500_000])
        with pytest.raises(UsageError, match="no text"):
            client.predict([])
        assert client.predict(["chess"]).predictions


def test_it_outlasts_a_runtime_that_dies(served: Serving) -> None:
    with edgekit.Client(f"unix:{served.socket}") as client:
        client.predict(["chess"])
        served.kill_runtime()
        assert client.predict(["the mail reads a chess kernel"]).predictions


def test_a_connection_that_was_closed_meanwhile_is_opened_again(served: Serving) -> None:
    with edgekit.Client(f"unix:{served.socket}") as client:
        client.predict(["chess"])
        assert client._connection.sock is not None
        client._connection.sock.shutdown(socket.SHUT_RDWR)
        assert client.predict(["mail"]).predictions


@pytest.mark.parametrize(
    "url", ["", "unix:", "service.sock", "ftp://x", "http://", "http://x:y", "http://x/predict", "http://x:99999"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a service"):
        edgekit.Client(url)


@pytest.mark.parametrize("token", ["a-secret\nanother", "a-secret\r", "ä-secret"])
def test_a_token_that_no_header_carries_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(UsageError, match="cannot be sent") as refused:
        edgekit.Client("http://127.0.0.1:9", token)
    assert "secret" not in str(refused.value)


def test_where_nobody_is_it_says_so(tmp_path: Path) -> None:
    with edgekit.Client(f"unix:{tmp_path}/nothing") as client, pytest.raises(TransportError, match="cannot be reached"):
        client.predict(["chess"])


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """``answering(data)``: a server that answers everything with ``data``; its URL."""
    listeners: list[socket.socket] = []

    def start(data: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    # closing with bytes unread would reset the connection, and take the answer with it
                    while connection.recv(1 << 16):
                        pass

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for one in listeners:
        one.shutdown(socket.SHUT_RDWR)
        one.close()


def reply(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"220 mail.example ESMTP\r\n", ProtocolError, "no HTTP"),
        (reply(200, b"<html>"), ProtocolError, "does not fit"),
        (reply(404, b"<html>"), ProtocolError, "something else"),
        (reply(503, json.dumps({"error": "Busy", "message": "full"}).encode()), TransportError, "busy: full"),
    ],
)
def test_what_is_no_service_is_told(
    answering: Callable[[bytes], str], data: bytes, kind: type[Exception], said: str
) -> None:
    with edgekit.Client(answering(data), patience=0.0) as client, pytest.raises(kind, match=said):
        client.predict(["chess"])


def test_the_unsure_are_handed_to_another_service_and_counted(served: Serving) -> None:
    from edgekit.asking import _handed
    from edgekit.spec.wire import Prediction, Predictions, Score

    def guess(text: str, unsure: bool) -> Prediction:
        return Prediction(text, 99, (Score("local", 0.4),), 1, 8, False, 0.1, unsure)

    texts = ["chess plays", "mail", "music"]
    local = Predictions("here", "tiny", tuple(guess(one, one != "mail") for one in texts))
    merged = _handed(local, f"unix:{served.socket}", None, 1, lambda *_: None)
    assert merged.handed == (0, 2)
    assert [one.text for one in merged.predictions] == texts
    assert merged.predictions[1] == local.predictions[1]
    assert merged.predictions[0].label == label_of("chess plays", OLD_MODEL)
    # nobody is asked where all are sure
    sure = Predictions("here", "tiny", (guess("mail", False),))
    assert _handed(sure, "unix:/nowhere", None, 1, lambda *_: None) == sure


def test_predict_asks_a_url_instead_of_a_device(served: Serving) -> None:
    answers = edgekit.predict(["chess"], url=f"unix:{served.socket}")
    assert answers.predictions[0].label == label_of("chess", OLD_MODEL)
    with pytest.raises(UsageError, match="not both"):
        edgekit.predict(["chess"], url="unix:/x", device="pi")


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    root = tmp_path_factory.mktemp("writes")
    store.prepare(root)
    writing_kit.deploy(root)
    with Serving(root) as serving:
        yield serving


def test_a_text_comes_in_pieces_and_as_a_whole(writes: Serving) -> None:
    with edgekit.Client(f"unix:{writes.socket}") as client:
        text = client.generate("chess", max_tokens=5)
        pieces = list(text)
        assert len(pieces) == 5
        assert text.written is not None
        assert "".join(pieces) == text.written.text == text.whole().text
        assert text.written.text.split() == writing_kit.follow("chess", 5)
        # several at once, and whoever only wants the end
        whole = client.generate("mail", max_tokens=2, stop=["kernel"]).whole()
        assert (whole.stopped, whole.text.split()) == ("stop", ["music"])


def test_a_text_may_be_left_in_the_middle(writes: Serving) -> None:
    with edgekit.Client(f"unix:{writes.socket}") as client:
        with client.generate("slow chess", max_tokens=4096, window=True) as text:
            assert next(text).strip() == "mail"
        assert text.written is None
        assert client.generate("mail", max_tokens=1).whole().text == "music"
        assert writes.metric("edgekit_written_tokens_total") < 4000


def test_a_text_that_breaks_off_raises_what_broke_it(writes: Serving) -> None:
    with edgekit.Client(f"unix:{writes.socket}") as client:
        text = client.generate("slow chess", max_tokens=400)
        assert next(text)
        writes.kill_runtime()
        with pytest.raises(TransportError, match="the text broke off: the runtime died"):
            list(text)
        assert client.generate("mail", max_tokens=1).whole().text == "music"


def test_what_cannot_be_written_is_refused(writes: Serving, served: Serving) -> None:
    with edgekit.Client(f"unix:{writes.socket}") as client:
        with pytest.raises(SpecError, match="at temperature 0"):
            client.generate("a", top_k=3)
        with pytest.raises(SpecError, match="a text is empty"):
            client.generate(" ")
        with pytest.raises(DeviceError, match="longer than the model's context"):
            client.generate("mail " * (writing_kit.CONTEXT + 1))
    with edgekit.Client(f"unix:{served.socket}") as client, pytest.raises(DeviceError, match="not made to generate"):
        client.generate("a")


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("text/html", b"<html>", "something else"),
        ("text/event-stream", b'event: piece\ndata: {"text": "a"}\n\n', "the connection ended"),
        ("text/event-stream", b"event: piece\ndata: nonsense\n\n", "does not fit"),
        ("text/event-stream", b'event: done\ndata: {"text": "a"}\n\n', "does not fit"),
    ],
)
def test_what_is_no_text_is_told(answering: Callable[[bytes], str], kind: str, body: bytes, said: str) -> None:
    data = b"HTTP/1.1 200 X\r\nContent-Type: %s\r\nConnection: close\r\n\r\n" % kind.encode() + body
    with edgekit.Client(answering(data)) as client, pytest.raises(TransportError, match=said):
        client.generate("a").whole()


def test_generate_asks_a_url_instead_of_a_device(writes: Serving) -> None:
    pieces: list[str] = []
    found = edgekit.generate("chess", url=f"unix:{writes.socket}", max_tokens=3, tell=pieces.append)
    assert found.text.split() == writing_kit.follow("chess", 3)
    assert "".join(pieces) == found.text
    with pytest.raises(UsageError, match="not both"):
        edgekit.generate("chess", url="unix:/x", device="pi")
