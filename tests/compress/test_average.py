"""The mean of the weights while they train: what it is, when it is kept, and that it survives an interruption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import accuracy, apply, memory, training  # noqa: E402
from edgekit.compress.average import Average  # noqa: E402
from edgekit.compress.encoded import Encoded  # noqa: E402
from edgekit.compress.optimizer import adamw  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import SpecError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.distill import Distill  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.shape import Cluster  # noqa: E402
from edgekit.spec.steps import Finetune  # noqa: E402
from edgekit.spec.training import Training  # noqa: E402

pytestmark = pytest.mark.torch
TASK: Any = {"lengths": (16, 24), "seed": 7}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_mean_is_exponential_and_soon_forgets_where_it_started() -> None:
    one = torch.nn.Linear(1, 1, bias=False)
    one.weight.data.fill_(100.0)
    average = Average(one, 0.5)
    mean, values = 100.0, [4.0, 2.0, 6.0, 1.0, 3.0, 9.0, 5.0, 8.0, 7.0, 2.0, 4.0]
    for step, value in enumerate(values):
        one.weight.data.fill_(value)
        average.follow(step)
        stays = min(0.5, (1 + step) / (10 + step))
        mean = stays * mean + (1 - stays) * value
    assert average.means["weight"].item() == pytest.approx(mean)
    # eleven steps on, no trace of the start is left, however slow the mean
    slow, still = torch.nn.Linear(1, 1, bias=False), 1000
    slow.weight.data.fill_(100.0)
    other = Average(slow, 0.9999)
    slow.weight.data.fill_(1.0)
    for step in range(still):
        other.follow(step)
    assert other.means["weight"].item() == pytest.approx(1.0, abs=1e-3)


def test_within_the_module_computes_with_the_mean_and_afterwards_with_its_weights() -> None:
    one = torch.nn.Linear(1, 1, bias=False)
    one.weight.data.fill_(2.0)
    average = Average(one, 0.9)
    one.weight.data.fill_(4.0)
    average.follow(0)
    optimizer = torch.optim.AdamW(one.parameters(), lr=0.5)
    with average.in_place():
        assert one.weight.item() == pytest.approx(0.1 * 2 + 0.9 * 4)
    assert one.weight.item() == 4.0
    one(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert one.weight.item() < 4.0
    assert average.means["weight"].item() == pytest.approx(3.8)


def test_epochs_are_judged_by_the_mean_and_it_is_kept(tmp_path: Path) -> None:
    """Weights that go 0, 1, 2, … by one a step: the result is their mean, not where they ended."""
    module = _Counting()
    data = Encoded([[1, 2]] * 12, [0] * 12, 0)
    judged: list[float] = []

    def score() -> float:
        judged.append(module.weight.item())
        return len(judged)

    def count(step: int, steps: int) -> None:
        module.weight.data.fill_(step + 1.0)

    plan = Training(epochs=3, batch=4, learning_rate=1e-3, average=0.5)
    loss = lambda one: module.weight.sum() * 0.0  # noqa: E731
    training.train(module, plan, data, data, loss, work=tmp_path, identity="x", seed=1, score=score, after_step=count)
    mean, expected = 0.0, []
    for step in range(9):
        stays = min(0.5, (1 + step) / (10 + step))
        mean = stays * mean + (1 - stays) * (step + 1)
        if step % 3 == 2:
            expected.append(mean)
    assert judged == pytest.approx(expected)
    assert module.weight.item() == pytest.approx(expected[-1])
    assert expected[-1] < 9


class _Counting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize("stop", [3, 17])
def test_resumed_is_uninterrupted(
    tiny_bert: Path,
    samples: Samples,
    tmp_path: Path,
    stop_at: Callable[[int], Any],
    stop: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training.train, "__kwdefaults__", {**training.train.__kwdefaults__, "save_every": 5})
    plan = Finetune(epochs=2, learning_rate=1e-3, batch=8, average=0.9)
    step = Step(finetune=plan)
    apply(step, tiny_bert, None, samples, tmp_path / "whole", **TASK)
    with pytest.raises(KeyboardInterrupt):
        apply(step, tiny_bert, None, samples, tmp_path / "cut", report=stop_at(stop), **TASK)
    done = apply(step, tiny_bert, None, samples, tmp_path / "cut", **TASK)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert done.validation_accuracy == accuracy(tmp_path / "cut", samples.validation, (24,))
    apply(Step(finetune=replace(plan, average=0.0)), tiny_bert, None, samples, tmp_path / "plain", **TASK)
    assert weights(tmp_path / "plain") != weights(tmp_path / "whole")


def test_a_seed_of_its_own_stands_for_the_recipes(tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    plan = Finetune(epochs=1, learning_rate=1e-3, batch=32)
    for name, seed, own in (("a", 7, None), ("b", 8, 7), ("c", 8, None)):
        step = Step(finetune=replace(plan, seed=own))
        apply(step, tiny_bert, None, samples, tmp_path / name, lengths=(24,), seed=seed)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_the_betas_are_adamws(tiny_bert: Path) -> None:
    module = checkpoint.load(tiny_bert, ["a", "b"]).module
    optimizer = adamw(module, list(module.parameters()), Training(betas=(0.9, 0.98)))
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.98)}
    for betas in ((0.9,), (0.9, 1.0), (-0.1, 0.9)):
        with pytest.raises(SpecError, match="two betas"):
            Training(betas=betas)


def test_the_mean_takes_memory_too(teacher: Path) -> None:
    loaded = checkpoint.load(teacher)
    with_mean, without = (
        memory.estimate(loaded.structure, loaded.parameters, Training(average=one), 24) for one in (0.9, 0.0)
    )
    assert with_mean - without == 4 * loaded.parameters


def test_steps_whose_weights_are_not_to_be_averaged_refuse() -> None:
    """Each of two clusters' values would be a mean of numbers that were never one codebook."""
    assert Cluster(average=0.9, epochs=0)
    assert Prune(ffn=8, average=0.9)
    for bad in (lambda: Cluster(average=0.9), lambda: Prune(ffn=8, schedule="cubic", average=0.9)):
        with pytest.raises(SpecError, match="a mean of") as caught:
            bad()
        assert caught.value.where == "$.average"
    with pytest.raises(SpecError, match="out of range"):
        Distill(average=1.0)
