"""Streams that a classifier follows: what it keeps of each, and what it says when it kept nothing."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest

tokenizers = pytest.importorskip("tokenizers")

from edgekit.agent import pipeline, tasks  # noqa: E402
from edgekit.agent.follow import AFTER, BESIDE, Follower  # noqa: E402
from edgekit.errors import DeviceError, SpecError  # noqa: E402
from edgekit.spec.service import Question  # noqa: E402

LETTERS = "abcdef"
LABELS = ("zero", "one", "two")
MODEL = tasks.Model("tflite", "none", "none", (8,), unsure_below=0.5)


class Tally:
    """Its logits: how many of the letters that it remembers are of each class, a letter's being its number by 3."""

    def __init__(self, context: int, rolls: bool) -> None:
        self.context, self.rolls, self.filled = context, rolls, 0
        self.known: list[int] = []
        self.fed = 0

    def feed(self, ids: Sequence[int]) -> None:
        assert ids
        assert self.rolls or self.filled + len(ids) <= self.context
        self.known = [*self.known, *ids][-self.context :]
        self.filled += len(ids)
        self.fed += len(ids)

    def keep(self, tokens: int) -> int:
        kept = tokens if tokens == self.filled or not self.rolls else 0
        self.known, self.filled = self.known[:kept], kept
        return kept

    def saved(self) -> tuple[Any, int]:
        return (self.filled, list(self.known)), 1000

    def restore(self, saved: Any) -> None:
        self.filled, known = saved
        self.known = list(known)

    def likeliest(self, count: int | None) -> tuple[list[int], list[float]]:
        logits = [float(sum(one % 3 == kind for one in self.known)) for kind in range(3)]
        order = sorted(range(3), key=lambda one: -logits[one])[:count]
        return order, [logits[one] for one in order]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Tokenizer:
    made = tokenizers.Tokenizer(tokenizers.models.BPE({one: number for number, one in enumerate(LETTERS)}, []))
    file = tmp_path_factory.mktemp("letters") / "tokenizer.json"
    made.save(str(file))
    return pipeline.Tokenizer(str(file), None)


def ask(follower: Follower, stream: str, text: str, **others: Any) -> Any:
    return follower.follow(tasks.Follow(MODEL, stream, text, LABELS, 3, **others))


def winner(letters: str) -> str:
    return LABELS[max(range(3), key=lambda kind: sum(LETTERS.index(one) % 3 == kind for one in letters))]


@pytest.mark.parametrize("rolls", [True, False])
def test_streams_that_take_turns_are_each_answered_by_all_they_said(tokenizer: pipeline.Tokenizer, rolls: bool) -> None:
    model, draw = Tally(1000, rolls), random.Random(4)
    follower = Follower(tokenizer, model)
    said = {"a": "", "b": "", "c": ""}
    for _ in range(60):
        name = draw.choice("abc")
        text = "".join(draw.choices(LETTERS, k=draw.randint(1, 9)))
        said[name] += text
        found = ask(follower, name, text, after=len(said[name]) - len(text))
        assert found.scores[0].label == winner(said[name])
        assert (found.tokens, found.read) == (len(text), len(said[name]))
    assert model.fed == sum(map(len, said.values())), "nothing is ever read twice"


def test_a_full_table_of_positions_goes_on_with_its_newest_half(tokenizer: pipeline.Tokenizer) -> None:
    model = Tally(8, rolls=False)
    follower = Follower(tokenizer, model)
    ask(follower, "s", "aaaaaaaa")
    found = ask(follower, "s", "bbb")
    assert [one % 3 for one in model.known] == [0] * 4 + [1] * 3
    assert (found.read, found.scores[0].label) == (11, "zero")
    assert ask(follower, "s", "b" * 30).scores[0].label == "one", "one text may be longer than the context"
    assert model.known == [1] * len(model.known)


def test_a_rolling_memory_forgets_by_itself(tokenizer: pipeline.Tokenizer) -> None:
    model = Tally(4, rolls=True)
    follower = Follower(tokenizer, model)
    ask(follower, "s", "aaaa")
    ask(follower, "t", "c")
    assert ask(follower, "s", "bbb").scores[0].label == "one"
    assert model.known == [0, 1, 1, 1]
    assert model.fed == 8


def test_who_is_behind_is_told(tokenizer: pipeline.Tokenizer) -> None:
    follower = Follower(tokenizer, Tally(16, rolls=True))
    ask(follower, "s", "ab", after=0)
    for after in (0, 1, 3):
        with pytest.raises(DeviceError, match="not where it is believed") as caught:
            ask(follower, "s", "c", after=after)
        assert (caught.value.where, caught.value.given, caught.value.allowed) == (AFTER, after, 2)
    assert ask(follower, "s", "c", after=2).read == 3, "what was refused was not read"
    with pytest.raises(DeviceError, match="not known any more"):
        ask(follower, "other", "c", after=2)


def test_an_ended_stream_begins_again(tokenizer: pipeline.Tokenizer) -> None:
    follower = Follower(tokenizer, Tally(16, rolls=True))
    ask(follower, "s", "aaa")
    assert ask(follower, "s", "a", end=True).read == 4
    found = ask(follower, "s", "b", after=0)
    assert (found.read, found.scores[0].label) == (1, "one")


def test_the_longest_unused_stream_makes_room(tokenizer: pipeline.Tokenizer) -> None:
    follower = Follower(tokenizer, Tally(16, rolls=True), room=2500 + 2 * BESIDE)
    for name in "pqrs":
        ask(follower, name, "a")
    # q and r wait, s is in the model; p had to go
    for name in "qrs":
        assert ask(follower, name, "b", after=1).read == 2
    with pytest.raises(DeviceError, match="not known any more"):
        ask(follower, "p", "b", after=1)


def test_a_failure_forgets_the_stream_it_happened_to_and_no_other(tokenizer: pipeline.Tokenizer) -> None:
    class Failing(Tally):
        def feed(self, ids: Sequence[int]) -> None:
            super().feed(ids)
            if 5 in ids:
                raise RuntimeError("no memory")

    follower = Follower(tokenizer, Failing(16, rolls=True))
    ask(follower, "good", "ab")
    ask(follower, "bad", "ab")
    with pytest.raises(RuntimeError, match="no memory"):
        ask(follower, "bad", "f")
    assert ask(follower, "good", "c", after=2).read == 3
    assert ask(follower, "bad", "b", after=0).read == 1


def test_answers_are_calibrated_and_may_be_unsure(tokenizer: pipeline.Tokenizer) -> None:
    follower = Follower(tokenizer, Tally(16, rolls=True))
    plain = ask(follower, "s", "aab")
    warm = tasks.Follow(dataclasses.replace(MODEL, temperature=4.0), "t", "aab", LABELS, 3)
    found = follower.follow(warm)
    assert found.scores[0].probability < plain.scores[0].probability
    assert (plain.unsure, found.unsure) == (False, True)
    assert sum(one.probability for one in found.scores) == pytest.approx(1)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"text": "a", "after": 3}, "$"),
        ({"text": "a", "end": True}, "$"),
        ({"texts": ("a", "b"), "stream": "s"}, "$.texts"),
        ({"text": "a", "stream": ""}, "$.stream"),
        ({"text": "a", "stream": "s" * 129}, "$.stream"),
        ({"text": "a", "stream": "\ud800"}, "$.stream"),
        ({"text": "a", "stream": "s", "after": -1}, "$.after"),
    ],
)
def test_questions_that_make_no_sense_are_refused(asked: dict[str, Any], where: str) -> None:
    with pytest.raises(SpecError) as caught:
        Question(**asked)
    assert caught.value.where == where


def test_a_text_that_would_take_too_long_is_refused_and_the_stream_goes_on(tokenizer: pipeline.Tokenizer) -> None:
    model = Tally(16, rolls=True)
    follower = Follower(tokenizer, model)
    ask(follower, "s", "a" * 512)
    with pytest.raises(DeviceError, match="too long to be read at once") as caught:
        ask(follower, "s", "a" * 513)
    assert (caught.value.where, model.fed) == ("$.text", 512)
    assert ask(follower, "s", "b", after=512).read == 513
