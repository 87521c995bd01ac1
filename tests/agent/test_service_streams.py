"""Streams over the service: real sockets, a real child, a made runtime."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import service_kit
from service_kit import Serving, until
from writing_kit import CIRCLE, confirm, stage_following

import edgekit
from edgekit.agent import store
from edgekit.errors import DeviceError, SpecError

pytest.importorskip("tokenizers", reason="needs the 'host' extra")
pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    root = tmp_path_factory.mktemp("streams")
    store.prepare(root)
    confirm(root, stage_following(root))
    with Serving(root) as serving:
        yield serving


def ask(serving: Serving, **asked: Any) -> tuple[int, dict[str, Any]]:
    status, body, _ = serving.request("POST", "/predict", json.dumps(asked).encode())
    return status, json.loads(body)


def test_streams_of_several_clients_do_not_mix(served: Serving) -> None:
    with (
        edgekit.Client(f"unix:{served.socket}") as one,
        edgekit.Client(f"unix:{served.socket}") as other,
    ):
        read = {"one": 0, "other": 0}
        for number in range(12):
            for name, client in (("one", one), ("other", other)):
                words = CIRCLE[: 1 + (number + len(name)) % 4]
                found = client.follow(name, " ".join(words), after=read[name], top=1)
                read[name] += len(words)
                assert found.read == read[name]
                assert found.scores[0].label == f"after {(len(words) - 1 + 1) % len(CIRCLE)}"
        assert one.follow("one", "chess", after=read["one"], end=True).read == read["one"] + 1
        assert one.follow("one", "chess").read == 1, "it was forgotten, and begins anew"


def test_texts_by_themselves_are_answered_beside_streams(served: Serving) -> None:
    before = served.metric("edgekit_cache_misses_total")
    assert ask(served, text="chess mail", stream="beside")[0] == 200
    assert ask(served, text="chess mail", stream="beside")[1]["predictions"][0]["read"] == 4
    assert served.metric("edgekit_cache_misses_total") == before, "a stream's answer is its own, and is not kept"
    status, answer = ask(served, text="chess mail")
    assert (status, answer["predictions"][0].get("read")) == (200, None)


def test_who_is_not_where_the_stream_is_gets_a_conflict(served: Serving) -> None:
    assert ask(served, text="chess", stream="mine")[0] == 200
    status, answer = ask(served, text="mail", stream="mine", after=7)
    assert status == 409
    assert (answer["where"], "given 7, allowed 1" in answer["message"]) == ("$.after", True)
    with edgekit.Client(f"unix:{served.socket}") as client:
        with pytest.raises(DeviceError, match="not where it is believed"):
            client.follow("mine", "mail", after=0)
        with pytest.raises(SpecError, match="empty"):
            client.follow("mine", "   ", after=1)
        assert client.follow("mine", "mail", after=1).read == 2


def test_a_dead_runtime_costs_the_streams_and_says_so(served: Serving) -> None:
    with edgekit.Client(f"unix:{served.socket}") as client:
        read = client.follow("long", "chess mail music").read
        assert read == 3
        os.kill(served.health().runtime, signal.SIGKILL)
        until(lambda: served.health().ok)
        with pytest.raises(DeviceError, match="not known any more") as caught:
            client.follow("long", "kernel", after=read)
        assert "begin it again" in (caught.value.remedy or "")
        assert client.follow("long", "kernel").read == 1


def test_a_release_that_keeps_nothing_refuses_streams(tmp_path: Path) -> None:
    store.prepare(tmp_path)
    service_kit.deploy(tmp_path, service_kit.OLD_MODEL)
    with Serving(tmp_path) as serving:
        status, answer = ask(serving, text="chess", stream="mine")
        assert status == 409
        assert "not made to follow a stream" in answer["message"]
        status, answer = ask(serving, texts=["a", "b"], stream="mine")
        assert (status, answer["where"]) == (400, "$.texts")
