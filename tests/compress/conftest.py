from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.data.samples import Sample, Samples

KINDS = (("cat", "dog", "cats", "dogs"), ("sun", "sunny", "rain", "rains"), ("run", "runs", "never"))


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Texts whose class is told by one word among noise: 96 train, 32 validation, 32 test."""
    draw = random.Random(1)

    def part(count: int) -> list[Sample]:
        return [_sample(draw, number % len(KINDS)) for number in range(count)]

    return Samples(
        tmp_path_factory.mktemp("samples"), ("animal", "weather", "motion"), "0" * 64, part(96), part(32), part(32)
    )


def _sample(draw: random.Random, kind: int) -> Sample:
    words = ["".join(draw.choices("abcxyz", k=draw.randint(1, 4))) for _ in range(draw.randint(0, 4))]
    words.insert(draw.randint(0, len(words)), draw.choice(KINDS[kind]))
    return Sample(" ".join(words), kind)


@pytest.fixture(scope="session")
def teacher(tiny_bert: Path, samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT, fine-tuned by the real step."""
    pytest.importorskip("torch")
    from edgekit.compress import apply
    from edgekit.spec.recipe import Step
    from edgekit.spec.steps import Finetune

    out = tmp_path_factory.mktemp("teacher") / "teacher"
    apply(
        Step(finetune=Finetune(epochs=12, learning_rate=2e-3, batch=8, patience=12)),
        tiny_bert,
        None,
        samples,
        out,
        lengths=(16, 24),
        seed=7,
    )
    return out


@pytest.fixture
def stop_at() -> Callable[[int], Callable[[str, float | None], None]]:
    """A report that interrupts, as a user would, at its n-th call."""

    def at(count: int) -> Callable[[str, float | None], None]:
        calls = iter(range(1, count + 1))

        def report(message: str, fraction: float | None) -> None:
            if next(calls, None) == count:
                raise KeyboardInterrupt

        return report

    return at
