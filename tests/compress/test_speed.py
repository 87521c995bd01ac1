"""What makes training faster, or keeps it from ending badly, changes nothing else of what it comes to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.nn.functional import cross_entropy  # noqa: E402

from edgekit.compress import accuracy, apply, augment, devices, losses, memory, training  # noqa: E402
from edgekit.compress.encoded import Batch, Encoded, batch, encode  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.distill import Distill, Student  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.step import thinned  # noqa: E402
from edgekit.spec.steps import Finetune  # noqa: E402
from edgekit.spec.training import Losses, Training  # noqa: E402

pytestmark = pytest.mark.torch
TASK: Any = {"lengths": (16, 24), "seed": 7}
ALL = Losses(*[0.3, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])


def trained(teacher: Path, samples: Samples, work: Path, plan: Training, **more: Any) -> tuple[Any, Any]:
    """Train the tiny teacher on, without dropout; the module and its progress."""
    loaded = checkpoint.load(teacher)
    for part in loaded.module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    data = encode(samples.train[:40], loaded, 24)

    def loss(one: Batch) -> Any:
        return cross_entropy(loaded.module(one.input_ids, one.attention_mask).logits, one.labels)

    loss_of = more.pop("loss", lambda module: loss)(loaded.module)
    with training.settled(7):
        progress = training.train(loaded.module, plan, data, data, loss_of, work=work, identity="x", seed=7, **more)
    return loaded, progress


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_accumulated_batches_are_one_big_batch(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    plan = Training(epochs=2, learning_rate=1e-3, batch=16)
    big, at_once = trained(teacher, samples, tmp_path / "a", plan)
    small, in_parts = trained(teacher, samples, tmp_path / "b", replace(plan, batch=4, accumulate=4))
    # 40 texts: two whole steps and one that is short
    assert len(at_once.curve) == len(in_parts.curve) == 6
    assert in_parts.curve == pytest.approx(at_once.curve, rel=1e-4)
    for mine, theirs in zip(big.module.parameters(), small.module.parameters(), strict=True):
        # Adam makes a step of full size of a gradient that is only rounding (a key's bias has none)
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("scores", "best"), [((1.0, 3.0, 2.0), 1), ((2.0, 2.0, 2.0), 0), ((1.0, 2.0, 3.0), 2)])
def test_it_ends_with_the_weights_of_its_best_epoch(
    teacher: Path, samples: Samples, tmp_path: Path, scores: tuple[float, ...], best: int
) -> None:
    seen: list[list[Any]] = []

    def judged(module: Any) -> Callable[[], float]:
        def score() -> float:
            seen.append([one.detach().clone() for one in module.parameters()])
            return scores[len(seen) - 1]

        return score

    loaded = checkpoint.load(teacher)
    data = encode(samples.train[:16], loaded, 24)

    def loss(one: Batch) -> Any:
        return cross_entropy(loaded.module(one.input_ids, one.attention_mask).logits, one.labels)

    plan, more = Training(epochs=3, learning_rate=1e-3, batch=8), {"work": tmp_path, "identity": "x", "seed": 7}
    with training.settled(7):
        progress = training.train(loaded.module, plan, data, data, loss, score=judged(loaded.module), **more)
    assert progress.best == best
    assert all(torch.equal(*pair) for pair in zip(loaded.module.parameters(), seen[best], strict=True))
    assert not torch.equal(seen[0][0], seen[2][0])


def test_bfloat16_multiplies_in_16_bits_keeps_weights_in_32_and_stays_close(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    plan = Training(epochs=2, learning_rate=1e-3, batch=8)
    _, exact = trained(teacher, samples, tmp_path / "a", plan)
    seen: set[Any] = set()

    def watched(module: Any) -> Callable[[Batch], Any]:
        module.bert.pooler.dense.register_forward_hook(
            lambda *parts: seen.add(parts[2].dtype) if module.training else None
        )
        return lambda one: cross_entropy(module(one.input_ids, one.attention_mask).logits.float(), one.labels)

    half, rough = trained(teacher, samples, tmp_path / "b", replace(plan, precision="bfloat16"), loss=watched)
    assert seen == {torch.bfloat16}
    assert {one.dtype for one in half.module.parameters()} == {torch.float32}
    assert rough.curve != exact.curve
    assert rough.curve == pytest.approx(exact.curve, abs=0.05)


def test_a_cpu_does_not_train_in_float16(tiny_bert: Path, samples: Samples, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU does")
    step = Step(finetune=Finetune(precision="float16"))
    with pytest.raises(BuildError, match="float16") as caught:
        apply(step, tiny_bert, None, samples, tmp_path / "out", **TASK)
    assert caught.value.remedy == "precision: bfloat16"


@pytest.mark.parametrize(("precision", "stop"), [("float32", 6), pytest.param("bfloat16", 9, marks=pytest.mark.slow)])
def test_resumed_is_uninterrupted_with_every_option(
    teacher: Path,
    samples: Samples,
    tmp_path: Path,
    stop_at: Callable[[int], Any],
    precision: Any,
    stop: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Projections, auxiliary heads, the snapshot, the mean, accumulated batches, changed texts: all is in the state."""
    monkeypatch.setattr(training.train, "__kwdefaults__", {**training.train.__kwdefaults__, "save_every": 2})
    few = replace(samples, train=samples.train[:24], unlabeled=["never used rains", "cats run"])
    options = Distill(
        student=Student(hidden=16, ffn=32),
        epochs=2,
        batch=4,
        accumulate=2,
        precision=precision,
        losses=ALL,
        augment=1,
        average=0.9,
        learning_rate=1e-3,
    )

    def run(name: str, report: Any = lambda message, _: None) -> Any:
        return apply(Step(distill=options), teacher, teacher, few, tmp_path / name, report=report, **TASK)

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("cut", stop_at(stop))
    heard: list[str] = []
    resumed = run("cut", lambda message, _: heard.append(message))
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert replace(resumed, seconds=0) == replace(whole, seconds=0)
    # 26 texts and 22 changed ones that are not held out: 6 steps an epoch; it went on, and asked the teacher no more
    assert len(heard) < 12
    assert not [one for one in heard if one.startswith("teacher")]
    assert len(resumed.curve) == 12
    assert math.fsum(resumed.curve[:6]) / 6 == pytest.approx(resumed.losses[0])


def test_hooks_are_told_every_step_and_what_they_change_is_resumed(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    """A mask put on after each step holds at the end, and an interrupted training meets the same steps."""
    told: list[tuple[int, int]] = []
    plan = Training(epochs=2, learning_rate=1e-3, batch=8, patience=2)

    def hooks(stop: int | None = None) -> dict[str, Any]:
        held: list[Any] = []

        def loss(module: Any) -> Callable[[Batch], Any]:
            held.append(module)
            return lambda one: cross_entropy(module(one.input_ids, one.attention_mask).logits, one.labels)

        def before(step: int, steps: int) -> None:
            if step == stop:
                raise KeyboardInterrupt
            assert held[0].classifier.weight.grad is not None
            held[0].classifier.weight.grad[0] += 0.1 * step

        def after(step: int, steps: int) -> None:
            told.append((step, steps))
            held[0].bert.pooler.dense.weight.data[:step] = 0

        return {"loss": loss, "before_step": before, "after_step": after, "save_every": 2}

    whole, _ = trained(teacher, samples, tmp_path / "a", plan, first=1, **hooks())
    assert told == [(step, 10) for step in range(10)]
    assert not whole.module.bert.pooler.dense.weight[:9].any()
    with pytest.raises(KeyboardInterrupt):
        trained(teacher, samples, tmp_path / "b", plan, first=1, **hooks(7))
    again, _ = trained(teacher, samples, tmp_path / "b", plan, first=1, **hooks())
    for mine, theirs in zip(whole.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_an_epoch_before_the_first_that_may_is_never_the_best(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    scores = iter([99.0, 98.0, 10.0, 20.0])
    plan = Training(epochs=4, learning_rate=1e-4, batch=40, patience=2)
    _, progress = trained(teacher, samples, tmp_path, plan, first=2, score=lambda: next(scores))
    assert progress.best == 3
    assert len(progress.accuracies) == 4


@pytest.mark.parametrize("bad", [2, 9])
def test_a_training_that_diverges_leaves_the_last_good_weights_as_a_checkpoint(
    teacher: Path, samples: Samples, tmp_path: Path, bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1000))

    def broken(logits: Any, labels: Any) -> Any:
        return surprise(logits, labels) * (float("nan") if next(calls) == bad else 1.0)

    surprise = losses.surprise
    monkeypatch.setattr(losses, "surprise", broken)
    step = Step(finetune=Finetune(epochs=3, batch=16, learning_rate=1e-4))
    with pytest.raises(BuildError, match="diverged") as caught:
        apply(step, teacher, None, samples, tmp_path / "out", **TASK)
    assert caught.value.where == ("epoch 1, step 3" if bad == 2 else "epoch 2, step 4")
    assert not (tmp_path / "out").exists()
    good = tmp_path / "out.work" / "last-good"
    assert str(good) in str(caught.value)
    assert accuracy(good, samples.test, (24,)) > 80.0
    whole = checkpoint.load(teacher).module.classifier.weight
    assert torch.equal(checkpoint.load(good).module.classifier.weight, whole) == (bad == 2)
    # the same step goes on from there, and comes to its end where nothing is wrong
    done = apply(step, teacher, None, samples, tmp_path / "out", **TASK)
    assert done.epochs == 3


def test_a_gradient_that_is_no_number_does_not_reach_the_weights(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    def loss(module: Any) -> Callable[[Batch], Any]:
        # finite itself, its slope at 0 is not
        return lambda one: module(one.input_ids, one.attention_mask).logits.mul(0).abs().sqrt().sum()

    with pytest.raises(BuildError, match="gradient"):
        trained(teacher, samples, tmp_path, Training(epochs=1, learning_rate=1e-4, batch=8), loss=loss)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(torch.isfinite(one).all() for one in state["module"].values())


def test_the_loss_curve_is_thinned_to_means() -> None:
    assert thinned([1.0, 2.0, 3.0], 5) == (1.0, 2.0, 3.0)
    assert thinned([1.0, 3.0, 5.0, 7.0, 9.0], 3) == (2.0, 6.0, 9.0)
    assert len(thinned([0.5] * 9999)) <= 200
    assert thinned([]) == ()


def test_the_memory_estimate_is_what_a_pass_really_keeps(tiny_bert: Path) -> None:
    """Within a third, against what autograd holds for a batch of full length."""
    loaded = checkpoint.load(tiny_bert, ["a", "b", "c"])
    loaded.module.train()
    one = batch(Encoded([[5] * 24] * 16, [0] * 16, 0), list(range(16)))
    weights = {id(part) for part in loaded.module.parameters()} | {
        part.data_ptr() for part in loaded.module.parameters()
    }
    kept: dict[int, int] = {}

    def pack(value: Any) -> Any:
        if value.data_ptr() not in weights:
            kept[value.data_ptr()] = max(kept.get(value.data_ptr(), 0), value.numel() * value.element_size())
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        loss = loaded.module(one.input_ids, one.attention_mask).logits.sum()
    plan = Training(batch=16)
    estimated = 16 * memory.each(loaded.structure, plan, 24)
    assert sum(kept.values()) == pytest.approx(estimated, rel=0.33)
    assert torch.isfinite(loss)
    whole = memory.estimate(loaded.structure, loaded.parameters, plan, 24)
    assert whole == estimated + 12 * loaded.parameters


def test_what_does_not_fit_into_memory_is_refused_with_a_batch_that_does(
    tiny_bert: Path, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 3_000_000)
    step = Step(finetune=Finetune(epochs=1, batch=512))
    with pytest.raises(BuildError, match="does not fit into memory") as caught:
        apply(step, tiny_bert, None, samples, tmp_path / "out", **TASK)
    assert "batch 512" in str(caught.value.given)
    assert caught.value.remedy is not None
    fitting = int(caught.value.remedy.split()[3])
    apply(Step(finetune=Finetune(epochs=1, batch=fitting)), tiny_bert, None, samples, tmp_path / "out", **TASK)
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(BuildError, match="does not fit") as caught:
        apply(step, tiny_bert, None, samples, tmp_path / "none", **TASK)
    assert "more memory" in str(caught.value.remedy)


def test_available_memory_is_the_least_of_machine_and_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CONTROL", tmp_path)
    machine = memory.available()
    assert machine is None or machine > 0
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.stat").write_text("anon 350\nfile 250\n")
    if not torch.cuda.is_available():
        assert memory.available() == 650
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() is None or memory.available() > 1000


def test_changed_texts_are_the_same_each_time_and_never_empty() -> None:
    texts = ["a fast small library", "tool", "the other package of games and sounds"]
    made = augment.copies(texts, 3, 7)
    assert made == augment.copies(texts, 3, 7) != augment.copies(texts, 3, 8)
    assert len(made) == 9
    assert all(made)
    words = {word for text in texts for word in text.split()}
    assert {word for text in made for word in text.split()} <= words
    many = augment.copies(texts, 400, 7)
    lengths = sum(len(text.split()) for text in many[2::3]) / 400
    assert len({tuple(one.split()) for one in many}) > 100
    assert 0 < lengths < 8
    assert augment.copies([], 2, 7) == []


def test_one_device_of_accelerate_comes_to_the_same_weights(
    teacher: Path, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("accelerate")
    plan = Training(epochs=2, learning_rate=1e-3, batch=8)
    plain, _ = trained(teacher, samples, tmp_path / "a", plan)
    monkeypatch.setattr(devices, "run", lambda work: devices.accelerated(work, True))
    placed, _ = trained(teacher, samples, tmp_path / "b", plan)
    for mine, theirs in zip(plain.module.parameters(), placed.module.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.slow
def test_two_processes_come_to_what_one_does(
    teacher: Path, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes half of every step's texts; their gradients add up to the whole step's."""
    accelerate = pytest.importorskip("accelerate")
    plan = Training(epochs=2, learning_rate=1e-3, batch=8)
    alone, one = trained(teacher, samples, tmp_path / "a", plan)
    monkeypatch.setattr(
        devices, "run", lambda work: accelerate.debug_launcher(devices.accelerated, (work, True), num_processes=2)
    )
    # what one process said of itself before would be inherited
    accelerate.state.AcceleratorState._reset_state(True)
    torch.set_num_threads(1)
    shared, two = trained(teacher, samples, tmp_path / "b", plan)
    assert two.curve == pytest.approx(one.curve, rel=1e-4)
    for mine, theirs in zip(alone.module.parameters(), shared.module.parameters(), strict=True):
        # Adam makes a step of full size of a gradient that is only rounding (a key's bias has none)
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
