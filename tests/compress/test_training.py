from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import accuracy, apply, training  # noqa: E402
from edgekit.compress.encoded import Encoded, batch, in_order, shuffled  # noqa: E402
from edgekit.compress.optimizer import rate  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.spec.distill import Distill  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.steps import Finetune  # noqa: E402
from edgekit.spec.training import Training  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)
STEP = Step(finetune=Finetune(epochs=3, learning_rate=1e-3, batch=8, patience=3))


def finetune(tiny_bert: Path, samples: Samples, out: Path, **more: Any) -> Any:
    return apply(
        more.pop("step", STEP), tiny_bert, None, samples, out, lengths=LENGTHS, seed=more.pop("seed", 7), **more
    )


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_it_learns(tiny_bert: Path, teacher: Path, samples: Samples) -> None:
    assert accuracy(teacher, samples.test, LENGTHS) > 80.0


@pytest.mark.parametrize("stop", [3, 7, 12, 13, 20, 36])
def test_resumed_is_uninterrupted(
    tiny_bert: Path,
    samples: Samples,
    tmp_path: Path,
    stop_at: Callable[[int], Any],
    stop: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training.train, "__kwdefaults__", {**training.train.__kwdefaults__, "save_every": 5})
    whole = finetune(tiny_bert, samples, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_bert, samples, tmp_path / "cut", report=stop_at(stop))
    assert not (tmp_path / "cut").exists()
    steps: list[str] = []
    resumed = finetune(tiny_bert, samples, tmp_path / "cut", report=lambda message, _: steps.append(message))
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert replace(resumed, seconds=0) == replace(whole, seconds=0)
    # it did go on, not start again: 12 steps an epoch, a state every 5 and at each epoch's end
    saved = max(one for one in (0, 5, 10, 12, 17, 22, 24, 29, 34) if one < stop)
    assert len(steps) == 36 - saved
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cut", "whole"]


def test_a_state_of_other_options_is_not_gone_on_from(
    tiny_bert: Path, samples: Samples, tmp_path: Path, stop_at: Callable[[int], Any]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        finetune(tiny_bert, samples, tmp_path / "cut", seed=8, report=stop_at(15))
    finetune(tiny_bert, samples, tmp_path / "cut")
    finetune(tiny_bert, samples, tmp_path / "whole")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_divergence_keeps_the_last_good_state(tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    out = tmp_path / "out"
    module_of: list[float] = []

    def loss(values: Any) -> Any:
        module_of.append(0.0)
        kind = float("nan") if len(module_of) == 30 else 1.0
        return linear(torch.ones(len(values.rows), 4)).sum() * kind

    linear = _Answers()
    data = Encoded([[1, 2, 3]] * 96, [0, 1] * 48, 0)
    plan = Training(epochs=3, learning_rate=1e-3, batch=8, weight_decay=0.0)
    with pytest.raises(BuildError, match="epoch 3, step 6") as caught:
        training.train(linear, plan, data, data, loss, work=out, identity="x", seed=1)
    assert "learning_rate" in str(caught.value)
    state = torch.load(out / "state.pt", weights_only=True)
    assert state["progress"]["epoch"] == 2
    assert all(torch.isfinite(one).all() for one in state["module"].values())


class _Answers(torch.nn.Linear):
    """A module that evaluation can ask: ids in, logits out."""

    def __init__(self) -> None:
        super().__init__(4, 2)

    def forward(self, ids: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().forward(ids)
        return type("Output", (), {"logits": torch.zeros(len(ids), 2)})


def test_it_stops_early_and_keeps_the_best_epoch(tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    step = Step(finetune=Finetune(epochs=8, learning_rate=1e-8, batch=32, patience=2))
    done = finetune(tiny_bert, samples, tmp_path / "out", step=step)
    # nothing is learned at that rate: the first epoch stays the best
    assert done.epochs == 3
    assert done.validation_accuracy == accuracy(tmp_path / "out", samples.validation, LENGTHS)


def test_the_callers_random_state_is_left_alone(tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    finetune(tiny_bert, samples, tmp_path / "out")
    assert torch.equal(torch.get_rng_state(), before)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 7), st.integers(0, 3))
def test_an_epoch_has_every_text_once(counts: list[int], size: int, epoch: int) -> None:
    data = Encoded([[1] * count for count in counts], [0] * len(counts), 0)
    rows = [row for one in shuffled(data, size, 7, epoch) for row in one]
    assert sorted(rows) == list(range(len(counts)))
    assert sum(len(one.rows) for one in in_order(data, size)) == len(counts)


def test_batches_are_padded_to_their_longest() -> None:
    data = Encoded([[5, 6], [5, 6, 7], [8] * 9], [0, 1, 2], pad=4)
    found = batch(data, [0, 1])
    assert found.input_ids.tolist() == [[5, 6, 4], [5, 6, 7]]
    assert found.attention_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert found.labels.tolist() == [0, 1]


def test_lengths_are_alike_in_a_batch() -> None:
    draw = random.Random(2)
    data = Encoded([[1] * draw.randint(1, 100) for _ in range(400)], [0] * 400, 0)
    batches = [batch(data, rows).input_ids for rows in shuffled(data, 8, 7, 0)]
    padded = sum(one.numel() for one in batches)
    assert padded < 1.1 * sum(len(one) for one in data.ids)


def test_batches_of_like_lengths_come_in_any_order_and_never_the_same_again() -> None:
    """Short texts are not always first, and a text meets others in each epoch, also of its own length."""
    draw = random.Random(3)
    lengths = [draw.randint(5, 8) for _ in range(400)]
    data = Encoded([[1] * one for one in lengths], [0] * 400, 0)
    epochs = [shuffled(data, 8, 7, epoch) for epoch in range(20)]
    means = torch.tensor([[sum(lengths[row] for row in rows) / 8 for rows in one] for one in epochs])
    places = torch.arange(50.0).expand(20, 50)
    assert abs(torch.corrcoef(torch.stack([means.flatten(), places.flatten()]))[0, 1]) < 0.1
    made = [{frozenset(rows) for rows in one} for one in epochs]
    assert not made[0] & made[1]


def test_the_rate_rises_and_falls() -> None:
    rates = [rate(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10:] == pytest.approx([(100 - step) / 90 for step in range(10, 100)])
    assert max(rates) == rates[10] == 1.0
    assert 0 < rates[-1] < 0.02
    assert rate(0, 1, 0.0) == 1.0


def test_a_layer_the_model_lacks(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="layers 0 to 1") as caught:
        apply(
            Step(distill=Distill(layers=(0, 6))), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7
        )
    assert caught.value.given == "6"
    assert list(tmp_path.iterdir()) == []
