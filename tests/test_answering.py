"""How sure the shipped file is, with answers made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgekit import answering
from edgekit.errors import GateMissed
from edgekit.spec.answers import Answers

pytestmark = pytest.mark.torch
pytest.importorskip("torch", reason="needs the 'host' extra")


@dataclass(frozen=True)
class Text:
    text: str
    label: int


MADE: Any = SimpleNamespace(
    file=Path("model.tflite"),
    tokenizer=Path("tokenizer.json"),
    artifact=SimpleNamespace(format="tflite", lengths=(8,), accuracy=25.0, tags=()),
)


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Four texts in each part; the file says class 0 of all, surest of the first."""
    found = np.array([[4.0, 0.0], [3.0, 0.0], [2.0, 0.0], [1.0, 0.0]], np.float32)
    monkeypatch.setattr("edgekit.convert.confidence.logits", lambda *_: found)
    labels = [1, 0, 1, 1]
    return SimpleNamespace(**{part: [Text("a", one) for one in labels] for part in ("validation", "test")})


def test_a_bound_that_nothing_reaches_is_a_gate_missed(samples: Any) -> None:
    with pytest.raises(GateMissed, match="not right often enough") as caught:
        answering._measured(MADE, Answers(sure_accuracy=80), samples)
    assert caught.value.given == 80
    assert "25 % of the texts" in (caught.value.remedy or "")


def test_what_is_sure_is_counted_on_the_held_out_texts(samples: Any) -> None:
    found = answering._measured(MADE, Answers(calibrate=False, unsure_below=0.94), samples)
    assert (found.temperature, found.unsure_below) == (1.0, 0.94)
    assert (found.sure, found.sure_accuracy) == (50.0, 50.0)
    none = answering._measured(MADE, Answers(calibrate=False, unsure_below=1.0), samples)
    assert (none.sure, none.sure_accuracy) == (0.0, None)


def test_an_overconfident_file_is_warmed(samples: Any) -> None:
    found = answering._measured(MADE, Answers(), samples)
    assert found.temperature > 1
    assert found.error_after < found.error_before
