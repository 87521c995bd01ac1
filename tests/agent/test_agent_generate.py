"""Writing with a language model: what is read, what is known from before, where it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_releases import send_release
from running_agents import Running

from edgekit.agent import generate, pipeline, release, runtimes, tasks
from edgekit.agent.generate import Writer
from edgekit.errors import DeviceError, SpecError
from edgekit.spec.progress import quiet
from edgekit.spec.wire import Generate

tokenizers = pytest.importorskip("tokenizers")
LETTERS = "abcdefghij"


class Alphabet:
    """A model that says the next letter of the alphabet, by the last one it read. It counts what it is fed."""

    def __init__(self, context: int, rolls: bool = False) -> None:
        self.context, self.rolls, self.filled = context, rolls, 0
        self.known: list[int] = []
        self.fed: list[list[int]] = []

    def feed(self, ids: Sequence[int]) -> None:
        assert ids
        assert self.rolls or self.filled + len(ids) <= self.context
        self.fed.append(list(ids))
        self.known += ids
        self.filled += len(ids)

    def keep(self, tokens: int) -> int:
        kept = tokens if tokens == self.filled or not self.rolls else 0
        self.known, self.filled = self.known[:kept], kept
        return kept

    def likeliest(self, count: int | None) -> tuple[list[int], list[float]]:
        following = (self.known[-1] + 1) % len(LETTERS)
        order = [following, *(one for one in range(len(LETTERS)) if one != following)][:count]
        return order, [-float(place) for place in range(len(order))]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Tokenizer:
    made = tokenizers.Tokenizer(tokenizers.models.BPE({one: number for number, one in enumerate(LETTERS)}, []))
    made.decoder = tokenizers.decoders.Fuse()
    file = tmp_path_factory.mktemp("letters") / "tokenizer.json"
    made.save(str(file))
    return pipeline.Tokenizer(str(file), None)


def written(writer: Writer, prompt: str, **asked: Any) -> Any:
    pieces: list[str] = []
    found = writer.write(Generate(prompt, **asked), pieces.append)
    assert "".join(pieces) == found.text, "what was streamed is what is answered"
    assert math.isfinite(found.prefill_ms)
    return found


def test_it_goes_on_until_it_has_written_what_was_asked(tokenizer: pipeline.Tokenizer) -> None:
    model = Alphabet(64)
    found = written(Writer(tokenizer, model), "cd", max_tokens=5)
    assert (found.text, found.stopped, found.prompt_tokens) == ("efghi", "max_tokens", 2)
    assert len(found.tokens) == 5
    assert len(found.token_ms) == 4, "the first token is told by the prompt"
    assert model.fed == [[2, 3], [4], [5], [6], [7]], "the last one is never read"


def test_a_stop_word_of_several_tokens_ends_it(tokenizer: pipeline.Tokenizer) -> None:
    found = written(Writer(tokenizer, Alphabet(64)), "a", stop=["fgh", "zz"])
    assert (found.text, found.stopped) == ("bcde", "stop")


def test_a_prompt_is_read_from_where_it_parts_with_the_last_text(tokenizer: pipeline.Tokenizer) -> None:
    model = Alphabet(64)
    writer = Writer(tokenizer, model)
    first = written(writer, "abc", max_tokens=3)
    model.fed.clear()
    second = written(writer, "abcdefab", max_tokens=2)
    assert (first.text, second.text) == ("def", "cd")
    assert (first.reused, second.reused) == (0, 5), "a, b, c, d and e; f was told, and not yet read"
    assert model.fed[0] == [5, 0, 1]
    model.fed.clear()
    assert written(writer, "abcdefab", max_tokens=1).reused == 7
    assert model.fed == [[1]], "the last token is read again, for what follows it"
    assert written(writer, "bc", max_tokens=1).reused == 0


def test_a_full_context_ends_the_text(tokenizer: pipeline.Tokenizer) -> None:
    found = written(Writer(tokenizer, Alphabet(6)), "abcd", max_tokens=50)
    assert (found.text, found.stopped) == ("efg", "context"), "two more are read, and tell a third"


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(tokenizer: pipeline.Tokenizer) -> None:
    with pytest.raises(DeviceError) as refused:
        written(Writer(tokenizer, Alphabet(6)), "abcdefgh")
    assert (refused.value.given, refused.value.allowed) == ("8 tokens", "up to 6 tokens")
    assert "--window" in str(refused.value.remedy)


def test_with_a_window_the_oldest_tokens_fall_out(tokenizer: pipeline.Tokenizer) -> None:
    model = Alphabet(6)
    found = written(Writer(tokenizer, model), "abcdefgh", max_tokens=12, window=True)
    assert found.text == "ijabcdefghij"
    assert model.fed[0] == [5, 6, 7], "the newest half"
    assert [len(one) for one in model.fed] == [3, 1, 1, 1, 3, 1, 1, 1, 3, 1, 1, 1], "and half again when it is full"


def test_a_cache_that_rolls_has_no_end_and_is_known_only_as_a_whole(tokenizer: pipeline.Tokenizer) -> None:
    model = Alphabet(4, rolls=True)
    writer = Writer(tokenizer, model)
    assert written(writer, "abcdefgh", max_tokens=30).stopped == "max_tokens"
    model.fed.clear()
    assert written(writer, "abcd", max_tokens=1).reused == 0
    assert written(writer, "abcde", max_tokens=1).reused == 4
    assert model.fed == [[0, 1, 2, 3], [4]]


def test_a_failure_in_mid_prompt_leaves_nothing_half_known(
    tokenizer: pipeline.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Alphabet(64)
    writer = Writer(tokenizer, model)
    written(writer, "abc", max_tokens=1)

    def fail(ids: Sequence[int]) -> None:
        model.known, model.filled = [9], 1
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(model, "feed", fail)
        with pytest.raises(RuntimeError):
            written(writer, "abcd")
    assert written(writer, "abc", max_tokens=2).text == "de"


def test_a_prompt_without_tokens_is_refused(tokenizer: pipeline.Tokenizer) -> None:
    with pytest.raises(DeviceError, match="no tokens"):
        written(Writer(tokenizer, Alphabet(6)), "...")


def test_the_end_token_ends_it_and_is_taken_off_a_prompt(tmp_path: Path) -> None:
    names = {one: number for number, one in enumerate(LETTERS[:-1])} | {"</s>": 9}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(names, []))
    made.decoder = tokenizers.decoders.Fuse()
    made.add_special_tokens(["</s>"])
    made.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 9)])
    made.save(str(tmp_path / "tokenizer.json"))
    model = Alphabet(64)
    found = written(Writer(pipeline.Tokenizer(str(tmp_path / "tokenizer.json"), None), model), "de")
    assert (found.text, found.stopped, found.prompt_tokens) == ("fghi", "end", 2)
    assert model.fed[0] == [3, 4]


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"max_tokens": 0}, "$.max_tokens"),
        ({"temperature": -1.0}, "$.temperature"),
        ({"temperature": 1.0, "top_p": 1.5}, "$.top_p"),
        ({"temperature": 1.0, "top_k": 0}, "$.top_k"),
        ({"stop": ("a", "")}, "$.stop"),
        ({"top_k": 5}, "$.temperature"),
    ],
)
def test_settings_out_of_range_are_refused_where_they_stand(asked: Any, where: str) -> None:
    with pytest.raises(SpecError) as refused:
        Generate("a", **asked)
    assert refused.value.where == where


def test_a_runtime_that_cannot_generate_says_so() -> None:
    with pytest.raises(DeviceError, match="does not generate") as refused:
        runtimes.generating("ptl")
    assert refused.value.allowed == ["onnx", "tflite"]


def test_a_release_that_only_scores_refuses_to_write_before_anything_is_loaded(root: Path) -> None:
    request = send_release(root)
    release.stage(root, request)
    with Running(root) as agent:
        agent.hello()
        none = agent.call("generate", prompt="a")["error"]
        assert none["mend"] == "deploy one: edgekit deploy"
        release.activate(root, request.release)
        refused = agent.call("generate", prompt="a")["error"]
        assert (refused["error"], refused["exit_code"]) == ("DeviceError", 5)
        assert "convert.generation" in refused["mend"]
        assert agent.call("generate", prompt="a", top_k=0, temperature=1.0)["error"]["where"] == "$.args.top_k"


def test_a_text_goes_on_a_token_at_a_time_and_may_be_ended(
    tokenizer: pipeline.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Alphabet(64)
    monkeypatch.setattr(generate, "load", lambda _: Writer(tokenizer, model))
    writers = generate.Writers()
    with pytest.raises(DeviceError, match="no text was begun"):
        writers.go_on(tasks.GoOn(), quiet)
    described = tasks.Model("tflite", "", "", (8,))
    asked = tasks.Write(described, Generate("ab", 9))
    assert writers.begin(asked, quiet) == tasks.Piece("c")
    assert model.fed == [[0, 1]], "no token is read before it is asked for"
    assert writers.go_on(tasks.GoOn(), quiet) == tasks.Piece("d")
    ended = writers.go_on(tasks.GoOn(end=True), quiet).written
    assert ended is not None
    assert (ended.text, ended.stopped) == ("cd", "time")
    with pytest.raises(DeviceError, match="no text was begun"):
        writers.go_on(tasks.GoOn(), quiet)
    # one that is given up is no longer written, and what it read is known to the next
    assert writers.begin(asked, quiet).text == "c"
    assert writers.go_on(tasks.GoOn(), quiet).text == "d"
    assert writers.begin(tasks.Write(described, Generate("abce", 1)), quiet).text == "f"
    found = writers.go_on(tasks.GoOn(), quiet).written
    assert found is not None
    assert (found.text, found.reused, found.stopped) == ("f", 3, "max_tokens")


def test_what_was_held_back_comes_with_the_whole(
    tokenizer: pipeline.Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "load", lambda _: Writer(tokenizer, Alphabet(64)))
    writers = generate.Writers()
    asked = tasks.Write(tasks.Model("tflite", "", "", (8,)), Generate("a", 2, stop=("cx",)))
    assert [writers.begin(asked, quiet).text, writers.go_on(tasks.GoOn(), quiet).text] == ["b", ""]
    last = writers.go_on(tasks.GoOn(), quiet)
    assert last.written is not None
    assert (last.text, last.written.text) == ("c", "bc")
