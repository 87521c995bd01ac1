"""``edgekit generate``: the text streams to stdout, all else goes to stderr."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import DeviceError
from edgekit.spec import codec
from edgekit.spec.wire import Generated

ANSWER = Generated(
    text="games for dogs 😀",
    tokens=(5, 6, 7, 8),
    prompt_tokens=3,
    reused=2,
    stopped="max_tokens",
    prefill_ms=12.0,
    token_ms=(4.0, 5.0, 6.0),
    release="cd" * 32,
    artifact="tflite-w8_a32_dynamic",
)


def streaming(prompt: str, *, tell: Any, report: Any, **asked: Any) -> Generated:
    report("loading the model", None)
    if tell is not None:
        for piece in ("games ", "for dogs", " 😀"):
            tell(piece)
    return ANSWER


def test_the_text_alone_is_on_stdout_and_the_figures_on_stderr(cli: Any, answers: Any) -> None:
    calls = answers("generate", streaming)
    ran = cli("generate", "a set of", "--device", "pi", "--max-tokens", "4", "--stop", "END", "--stop", ".", "--window")
    assert (ran.code, ran.out) == (0, "games for dogs 😀\n")
    for said in ("4 tokens", "stopped by max tokens", "3 of the prompt (2 known)", "5.00 ms a token", "cdcdcdcdcdcd"):
        assert said in ran.err
    assert calls[0].args == ("a set of",)
    asked = {key: calls[0].kwargs[key] for key in ("device", "max_tokens", "temperature", "top_k", "stop", "window")}
    assert asked == {
        "device": "pi", "max_tokens": 4, "temperature": 0.0, "top_k": None, "stop": ["END", "."], "window": True
    }  # fmt: skip


def test_as_json_it_is_one_document(cli: Any, answers: Any) -> None:
    calls = answers("generate", streaming)
    ran = cli("generate", "a", "--temperature", "0.8", "--top-k", "40", "--top-p", "0.9", "--seed", "3", "--json")
    assert ran.json == codec.encode(ANSWER) | {"tokens": [5, 6, 7, 8], "token_ms": [4.0, 5.0, 6.0]}
    assert calls[0].kwargs["tell"] is None
    asked = tuple(calls[0].kwargs[key] for key in ("temperature", "top_k", "top_p", "seed"))
    assert asked == (0.8, 40, 0.9, 3)


def test_the_prompt_may_come_from_stdin(cli: Any, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("two lines\nof it"))
    calls = answers("generate", dataclasses.replace(ANSWER, token_ms=()))
    ran = cli("generate", "-", "-q")
    assert (ran.code, ran.err) == (0, "")
    assert calls[0].args == ("two lines\nof it",)


def test_a_service_is_asked_by_its_url(cli: Any, answers: Any) -> None:
    calls = answers("generate", streaming)
    assert cli("generate", "a", "--url", "http://127.0.0.1:1", "--token-file", "token").code == 0
    assert (calls[0].kwargs["url"], calls[0].kwargs["token_file"]) == ("http://127.0.0.1:1", Path("token"))


@pytest.mark.parametrize("flags", [("--max-tokens", "0"), ("--temperature", "-1"), ("--top-p", "x"), ("--top-k", "0")])
def test_what_is_no_such_number_is_refused(cli: Any, flags: tuple[str, str]) -> None:
    ran = cli("generate", "a", *flags)
    assert ran.code == 2
    assert flags[0] in ran.err


def test_a_refusal_of_the_device_is_told(cli: Any, answers: Any) -> None:
    answers(
        "generate", DeviceError("the prompt is longer than the model's context", given="9 tokens", remedy="--window")
    )
    ran = cli("generate", "a")
    assert (ran.code, ran.out) == (5, "")
    assert "--window" in ran.err
