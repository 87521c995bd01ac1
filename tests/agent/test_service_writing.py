"""A service that writes: real sockets, a real child, a made runtime that knows one circle of words."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import service_kit
import writing_kit
from service_kit import Serving, until
from writing_kit import CONTEXT, deploy, events, follow

from edgekit.agent import store
from edgekit.client import connect

pytest.importorskip("tokenizers", reason="needs the 'host' extra")
pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One service for all tests that leave it as it was."""
    root = tmp_path_factory.mktemp("served")
    store.prepare(root)
    deploy(root)
    with Serving(root) as serving:
        yield serving


def write(serving: Serving, prompt: str, **asked: Any) -> tuple[int, dict[str, Any]]:
    status, body, _ = serving.request("POST", "/generate", json.dumps({"prompt": prompt, **asked}).encode())
    return status, json.loads(body)


class Stream:
    """A text as it comes; leaves when told to."""

    def __init__(self, serving: Serving, prompt: str, headers: dict[str, str] | None = None, **asked: Any) -> None:
        self.connection = connect(f"unix:{serving.socket}", 60.0)
        stream = {} if headers else {"stream": True}
        self.connection.request(
            "POST", "/generate", json.dumps({"prompt": prompt, **stream, **asked}).encode(), headers or {}
        )
        self.response: http.client.HTTPResponse = self.connection.getresponse()
        self.events = events(iter(self.response.readline, b""))

    def leave(self) -> None:
        self.response.close()
        self.connection.close()


def test_a_text_is_written_as_one_answer(served: Serving) -> None:
    status, answer = write(served, "chess mail", max_tokens=5)
    assert status == 200
    assert answer["text"].split() == follow("chess mail", 5)
    assert (answer["stopped"], answer["prompt_tokens"], len(answer["token_ms"])) == ("max_tokens", 2, 4)
    assert len(answer["release"]) == 64
    assert write(served, "mail", max_tokens=9, stop=["plays"])[1]["stopped"] == "stop"


@pytest.mark.parametrize("headers", [None, {"Accept": "text/event-stream"}], ids=["by field", "by header"])
def test_a_text_comes_in_events_and_its_figures_last(served: Serving, headers: dict[str, str] | None) -> None:
    stream = Stream(served, "chess", headers, max_tokens=12)
    assert stream.response.getheader("Content-Type") == "text/event-stream"
    found = list(stream.events)
    assert [name for name, _ in found] == ["piece"] * 12 + ["done"]
    whole = found[-1][1]
    assert "".join(data["text"] for _, data in found[:-1]) == whole["text"]
    assert whole["text"].split() == follow("chess", 12)
    assert (len(whole["tokens"]), whole["stopped"]) == (12, "max_tokens")


def test_the_first_words_are_there_before_the_last_is_written(served: Serving) -> None:
    before = served.metric("edgekit_written_tokens_total")
    stream = Stream(served, "slow chess", max_tokens=2000, window=True)
    assert next(stream.events)[0] == "piece"
    assert served.metric("edgekit_written_tokens_total") < before + 2000
    stream.leave()
    assert write(served, "mail", max_tokens=1)[0] == 200


BAD = [
    (b"{", "not JSON"),
    (b"{}", "missing key 'prompt'"),
    (b'{"prompt": " "}', "a text is empty"),
    (b'{"prompt": "\\ud800"}', "surrogate"),
    (b'{"prompt": "a", "max_tokens": 0}', "too small"),
    (b'{"prompt": "a", "max_tokens": 5000}', "out of range"),
    (b'{"prompt": "a", "max_token": 5}', "unknown key"),
    (b'{"prompt": "a", "top_k": 5}', "at temperature 0"),
    (b'{"prompt": "a", "stop": [""]}', "a stop word is empty"),
    (b'{"prompt": "a", "stop": ["\\udfff"]}', "surrogate"),
    (json.dumps({"prompt": "a", "stop": ["x"] * 17}).encode(), "too many stop words"),
    (json.dumps({"prompt": "a", "stop": ["x" * 257]}).encode(), "too long"),
    (b'{"prompt": "a", "stream": 1}', "expected true or false"),
    (json.dumps({"prompt": "mail " * (CONTEXT + 1)}).encode(), "longer than the model's context"),
]


@pytest.mark.parametrize(("body", "said"), BAD, ids=[f"{n}-{said}" for n, (_, said) in enumerate(BAD)])
def test_a_bad_prompt_gets_its_error_also_where_events_were_asked_for(served: Serving, body: bytes, said: str) -> None:
    status, answer, response = served.request("POST", "/generate", body, {"Accept": "text/event-stream"})
    assert (status, response.getheader("Content-Type")) == (400, "application/json")
    assert said in json.loads(answer)["message"]
    assert write(served, "mail", max_tokens=1)[0] == 200


def test_with_a_window_a_prompt_may_be_longer(served: Serving) -> None:
    status, answer = write(served, "mail " * (CONTEXT + 1), max_tokens=3, window=True)
    assert (status, answer["text"].split()) == (200, follow("mail", 3))


def test_a_classifier_writes_nothing_and_says_so(root: Path) -> None:
    service_kit.deploy(root, service_kit.OLD_MODEL)
    with Serving(root) as serving:
        status, answer = write(serving, "chess")
        assert status == 409
        assert "not made to generate" in answer["message"]
        assert "convert.generation" in answer["mend"]
        assert serving.ask("chess")[0] == 200


def test_a_language_model_asked_to_predict_tells_the_next_token(served: Serving) -> None:
    status, answer = served.ask("chess mail", top=1)
    assert status == 200
    assert answer["predictions"][0]["scores"][0]["label"] == "music"


def test_tokens_and_their_rate_are_counted(served: Serving) -> None:
    before = served.metric("edgekit_written_tokens_total")
    write(served, "slow mail", max_tokens=7)
    assert served.metric("edgekit_written_tokens_total") == before + 7
    assert 0 < served.metric("edgekit_tokens_per_second") <= 50
    assert served.metric("edgekit_writing_seconds_total") > 0.1
    assert served.metric('edgekit_requests_total{path="/generate",code="200"}') > 0


def test_a_runtime_killed_in_mid_text_ends_the_text_with_an_error_and_is_replaced(served: Serving) -> None:
    restarts = served.health().restarts
    stream = Stream(served, "slow chess", max_tokens=400)
    first = [next(stream.events) for _ in range(3)]
    served.kill_runtime()
    rest = list(stream.events)
    assert {name for name, _ in first + rest[:-1]} == {"piece"}
    name, error = rest[-1]
    assert (name, error["error"], error["message"]) == (
        "error", "Busy", "the runtime died: SIGKILL (out of memory?)"
    )  # fmt: skip
    # asked at once: waits for the new one
    assert write(served, "mail", max_tokens=2)[1]["text"].split() == follow("mail", 2)
    assert served.health().restarts == restarts + 1


def test_a_runtime_that_dies_of_the_prompt_is_a_503(served: Serving) -> None:
    status, answer = write(served, "die", stream=True)
    assert (status, "the runtime died" in answer["message"]) == (503, True)
    assert write(served, "mail", max_tokens=2)[0] == 200


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_is_written_for_no_longer(served: Serving, stream: bool) -> None:
    connection = connect(f"unix:{served.socket}", 60.0)
    # a context's worth of slow tokens takes seconds, windows without end
    body = json.dumps({"prompt": "slow chess", "max_tokens": 4096, "window": True, "stream": stream}).encode()
    before = served.metric("edgekit_written_tokens_total")
    connection.request("POST", "/generate", body)
    until(lambda: served.metric("edgekit_written_tokens_total") > before + 2)
    assert connection.sock is not None
    connection.sock.close()
    connection.close()
    assert write(served, "mail", max_tokens=2)[0] == 200
    after = served.metric("edgekit_written_tokens_total")
    assert after < before + 4000
    time.sleep(0.1)
    assert served.metric("edgekit_written_tokens_total") == after


def test_a_new_release_waits_until_the_text_that_began_is_written(root: Path) -> None:
    old = deploy(root)
    with Serving(root) as serving:
        stream = Stream(serving, "slow chess", max_tokens=50)
        begun = [next(stream.events)]
        new = deploy(root, step=3)
        found = begun + list(stream.events)
        assert found[-1][1]["release"] == old
        assert found[-1][1]["text"].split() == follow("chess", 50)
        until(lambda: serving.health().release == new)
        answer = write(serving, "chess", max_tokens=4)[1]
        assert (answer["release"], answer["text"].split()) == (new, follow("chess", 4, step=3))


def test_a_text_has_its_time_and_then_others_have_theirs(root: Path) -> None:
    deploy(root)
    with Serving(root, "--writing=1", "--prompts=1") as serving:
        long = Stream(serving, "slow chess", max_tokens=4096, window=True)
        assert next(long.events)[0] == "piece"
        waiting: list[Any] = []
        thread = threading.Thread(target=lambda: waiting.append(write(serving, "mail", max_tokens=3)))
        thread.start()
        until(lambda: serving.metric("edgekit_queue_prompts") == 1)
        status, answer = write(serving, "mail")
        assert (status, "too many prompts wait" in answer["message"]) == (503, True)
        whole = list(long.events)[-1][1]
        thread.join()
        assert (whole["stopped"], 1 < len(whole["tokens"]) < 4096) == ("time", True)
        assert whole["text"].split() == follow("chess", len(whole["tokens"]))
        assert waiting[0][1]["text"].split() == follow("mail", 3)


def test_the_end_lets_a_text_that_began_be_written(root: Path) -> None:
    deploy(root)
    serving = Serving(root)
    stream = Stream(serving, "slow chess", max_tokens=40)
    begun = [next(stream.events)]
    serving.process.send_signal(signal.SIGTERM)
    found = begun + list(stream.events)
    assert (found[-1][0], len(found)) == ("done", 41)
    assert serving.end() == 0


def test_readers_that_come_and_go_get_their_own_texts(served: Serving) -> None:
    """12 of them; some leave in mid-text, some never read, one kills the runtime."""
    before, wrong = served.threads(), []

    def client(number: int) -> None:
        pick = random.Random(number)
        for turn in range(6):
            prompt = pick.choice(writing_kit.CIRCLE)
            count = pick.randint(1, 30)
            try:
                if number == 0 and turn == 3:
                    served.kill_runtime()
                stream = Stream(served, prompt, max_tokens=count)
                if stream.response.status == 503:
                    stream.leave()
                    continue
                if pick.random() < 0.4:
                    next(stream.events)
                    stream.leave()
                    continue
                found = list(stream.events)
                if found[-1][0] == "error":
                    continue
                if found[-1][1]["text"].split() != follow(prompt, count):
                    wrong.append((prompt, found))
            except (OSError, StopIteration) as error:
                wrong.append((prompt, error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []
    until(lambda: served.threads() <= before)
    until(lambda: served.health().ok)
    assert os.path.exists(f"/proc/{served.health().runtime}")
