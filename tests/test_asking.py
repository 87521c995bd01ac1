"""What share of labelled texts a release may keep to itself, at which accuracy; another service is better than it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_kit import LABELS, OLD_MODEL, WORDS, Serving, deploy, label_of

import edgekit
from edgekit.agent import store
from edgekit.asking import bounds
from edgekit.errors import DataError, UsageError
from edgekit.spec.wire import Prediction, Predictions, Score

pytest.importorskip("tokenizers", reason="needs the 'host' extra")
TEXTS = [f"{one} {two}" for one in WORDS[:8] for two in WORDS[:5]]


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that is always right."""
    root = tmp_path_factory.mktemp("better")
    store.prepare(root)
    deploy(root, OLD_MODEL)
    with Serving(root) as serving:
        yield f"unix:{serving.socket}"


@pytest.fixture
def held(tmp_path: Path) -> Path:
    file = tmp_path / "held.jsonl"
    rows = [{"text": one, "label": LABELS[label_of(one, OLD_MODEL)]} for one in TEXTS]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return file


@pytest.fixture
def weaker(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A device that is right where it is sure: of the n-th text with a probability that falls with n, and wrong from
    the 30th on; it calls itself unsure from the 20th on."""
    surest = [0.99 - number / 100 for number in range(len(TEXTS))]

    def predict_there(texts: list[str], **_: object) -> Predictions:
        made = []
        for number, text in enumerate(texts):
            label = (label_of(text, OLD_MODEL) + (number >= 30)) % len(LABELS)
            others = [Score(one, 0.001) for one in LABELS if one != LABELS[label]]
            scores = (Score(LABELS[label], surest[number]), *others)
            made.append(Prediction(text, label, scores, 2, 8, False, 0.1, number >= 20))
        return Predictions("here" * 16, "small", tuple(made))

    monkeypatch.setattr("edgekit.asking.predict_there", predict_there)
    return surest


def test_the_surer_the_texts_that_stay_the_more_of_them_are_right(held: Path, weaker: list[float], better: str) -> None:
    found = edgekit.assess(held, device="pi", fallback=better)
    assert (found.samples, found.artifact, found.fallback_accuracy) == (40, "small", 100.0)
    assert [one.local for one in found.rows] == [100.0, 95.0, 90.0, 80.0, 70.0, 60.0, 50.0, 25.0]
    assert found.rows[0].bound == 0.0
    for row in found.rows:
        kept = [number for number, one in enumerate(weaker) if one >= (row.bound or 0.0)]
        assert row.local == 100 * len(kept) / 40
        assert row.handed == 40 - len(kept)
        assert row.local_accuracy == pytest.approx(100 * sum(one < 30 for one in kept) / len(kept))
        assert row.together == pytest.approx(100 - 100 * sum(one >= 30 for one in kept) / 40)
        assert row.handed_accuracy == (100.0 if row.handed else None)
    assert found.own.bound is None
    assert (found.own.local, found.own.local_accuracy, found.own.handed, found.own.together) == (50.0, 100.0, 20, 100.0)


def test_without_another_service_it_says_what_stays_and_how_right_that_is(held: Path, better: str) -> None:
    found = edgekit.assess(held, url=better)
    # one probability for all: they stay together
    assert [(one.local, one.local_accuracy, one.handed, one.together) for one in found.rows] == [
        (100.0, 100.0, 0, None)
    ] * len(found.rows)
    assert found.fallback is None


def test_bounds_are_rounded_down_so_that_the_text_at_the_bound_stays() -> None:
    surest = [0.123456, 0.9, 0.55555, 0.55555]
    assert bounds(surest) == [0.0, 0.5555, 0.9]
    assert bounds([0.5]) == [0.0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("held.jsonl", '{"text": "chess", "label": "elsewhere"}', "does not know this label"),
        ("held.jsonl", '{"text": "chess"}', "no column 'label'"),
        ("held.csv", "text,label\n", "no texts"),
        ("held.txt", "chess", "not a file of labelled texts"),
        ("held.jsonl", "chess", "not valid JSON"),
    ],
)
def test_what_is_not_labelled_by_its_labels_is_refused(
    tmp_path: Path, better: str, name: str, text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(DataError, match=said) as refused:
        edgekit.assess(file, url=better)
    assert str(file) in str(refused.value)


def test_a_device_and_a_url_are_too_many(held: Path) -> None:
    with pytest.raises(UsageError, match="not both"):
        edgekit.assess(held, url="unix:/x", device="pi")
