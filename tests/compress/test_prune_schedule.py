from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pruning_kit import LENGTHS, logits  # noqa: E402

from edgekit.compress import apply  # noqa: E402
from edgekit.compress.encoded import batch, encode  # noqa: E402
from edgekit.compress.evaluate import nll  # noqa: E402
from edgekit.compress.pruning import gates, groups, schedule, sparse, weights, widths  # noqa: E402
from edgekit.compress.pruning.gates import gated  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.structure import Layer  # noqa: E402
from edgekit.spec.progress import Report, quiet  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.step import StepReport  # noqa: E402

pytestmark = pytest.mark.torch
RAMP = (0.1, 0.7)


def done(options: Prune, teacher: Path, samples: Samples, out: Path, report: Report = quiet) -> StepReport:
    return apply(Step(prune=options), teacher, None, samples, out, lengths=LENGTHS, seed=7, report=report)


def joint(**asked: object) -> Prune:
    return Prune(schedule="cubic", epochs=2, batch=16, learning_rate=1e-3, samples=32, **asked)  # type: ignore[arg-type]


def zeros(loaded: checkpoint.Checkpoint) -> list[torch.Tensor]:
    return [one.weight.detach() == 0 for layer in groups.projections(loaded) for one in layer]


def test_the_cubic_schedule_starts_at_nothing_slows_down_and_hits_its_target_exactly() -> None:
    steps = 1000
    shares = [schedule.share(schedule.level(step, steps, RAMP)) for step in range(steps + 1)]
    assert set(shares[:101]) == {0.0}
    assert set(shares[700:]) == {1.0}
    assert shares[699] < 1.0
    assert shares == sorted(shares)
    # Zhu & Gupta 2017: half of the time gives seven eighths
    assert shares[400] == 0.875
    assert len(set(shares)) == schedule.UPDATES + 1


@pytest.mark.parametrize("epochs", range(1, 12))
@pytest.mark.parametrize("end", [0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_an_epoch_that_may_be_the_best_ends_with_the_whole_share_masked(epochs: int, end: float) -> None:
    first = schedule.first_whole((0.0, end), epochs)
    for batches in (1, 7, 375):
        reached = [
            schedule.level((one + 1) * batches, epochs * batches, (0.0, end)) == schedule.UPDATES
            for one in range(epochs)
        ]
        assert all(reached[first:])
        assert not any(reached[:first])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_sparsity_trained_on_a_schedule_is_exact(teacher: Path, samples: Samples, tmp_path: Path, scope: str) -> None:
    options = joint(sparsity=0.6, criterion="magnitude", scope=scope, block=(4, 4))
    report = done(options, teacher, samples, tmp_path / "out")
    found = zeros(checkpoint.load(tmp_path / "out"))
    blocks = [weights.blocks(one, (4, 4)).float().mean((1, 3)) for one in found]
    assert {value for one in blocks for value in one.unique().tolist()} == {0.0, 1.0}
    if scope == "layer":
        assert all(int(one.sum()) == round(0.6 * one.numel()) for one in blocks)
    else:
        assert sum(int(one.sum()) for one in blocks) == round(0.6 * sum(one.numel() for one in blocks))
    assert report.epochs == 2


@pytest.mark.parametrize("criterion", ["taylor", "movement"])
def test_widths_masked_gradually_are_cut_in_the_end(
    teacher: Path, samples: Samples, tmp_path: Path, criterion: str
) -> None:
    options = joint(heads=2, ffn=24, hidden=24, criterion=criterion)
    report = done(options, teacher, samples, tmp_path / "out")
    after = checkpoint.load(tmp_path / "out")
    assert after.structure.layers == (Layer(2, 24), Layer(2, 24))
    assert after.structure.hidden == 24
    assert report.parameters == after.parameters
    # what was trained behind gates is what stands in the file: the same answers, so the same accuracy
    data = encode(samples.validation, after, LENGTHS[-1])
    from edgekit.compress import evaluate

    assert evaluate.accuracy(after.module, data) == report.validation_accuracy


def test_a_model_trained_behind_gates_answers_the_same_when_cut(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    found = [one for kind in widths.KINDS for one in groups.of(loaded, kind)]
    with gated(loaded, found) as carried:
        for gate in carried:
            gate.close(range(0, gate.group.units, 2))
        before = logits(loaded, samples)
        chosen = [(gate.group, gate.kept) for gate in carried]
    widths.shrink(loaded, chosen)
    torch.testing.assert_close(logits(loaded, samples), before, rtol=1e-5, atol=1e-5)


def test_what_a_diverged_training_leaves_loads_again(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    loaded = checkpoint.load(teacher)
    with gated(loaded, groups.of(loaded, "ffn")) as (gate, _):
        gate.close([1])
        gates.save(loaded, tmp_path / "gated")
        assert len(gate.kept) == 63
    torch.testing.assert_close(logits(checkpoint.load(tmp_path / "gated"), samples), logits(loaded, samples))
    data = encode(samples.train, loaded, LENGTHS[-1])
    with sparse.prepared(loaded, Prune(sparsity=0.5, criterion="magnitude"), data, 7, quiet) as zeros_:
        zeros_.close(1.0)
        weights.save(loaded, tmp_path / "masked")
        inside = logits(loaded, samples)
    torch.testing.assert_close(logits(checkpoint.load(tmp_path / "masked"), samples), inside)


def test_movement_keeps_what_grows_and_magnitude_what_is_large() -> None:
    """Two weights of a regression: a large one that the target wants gone, a small one that it wants large."""
    weight = torch.nn.Parameter(torch.tensor([[1.0, 0.1]]))
    mask = weights.Mask(1, 2, (1, 1), learned=True)
    assert mask.scores is not None
    optimizer = torch.optim.AdamW([weight, mask.scores], lr=0.01)
    inputs = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
    for _ in range(30):
        loss = ((mask(weight) * inputs).sum(1) - inputs @ torch.tensor([0.0, 2.0])).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights.keep_highest([mask.scores.detach()], [mask], 1)
    assert mask.open.tolist() == [[0.0, 1.0]]
    assert weight[0, 0].abs() > weight[0, 1].abs()


@pytest.mark.parametrize("unit", [3, 5], ids=["closed", "open"])
def test_a_learned_gate_has_the_slope_of_the_loss_along_it_and_so_rises_where_to_open_it_helps(
    teacher: Path, samples: Samples, unit: int
) -> None:
    loaded = checkpoint.load(teacher)
    one = batch(encode(samples.train[:8], loaded, LENGTHS[-1]), list(range(8)))
    with gated(loaded, groups.of(loaded, "ffn"), learned=True) as (gate, _):
        gate.close([3])
        assert gate.scores is not None

        def loss() -> torch.Tensor:
            return nll(loaded.module(one.input_ids, one.attention_mask).logits, one.labels).sum()

        loss().backward()
        slope = gate.scores.grad[unit].item()
        values = []
        loaded.module.double()
        for step in (1e-3, -2e-3):
            gate.open[unit] += step
            values.append(loss().item())
    assert slope == pytest.approx((values[0] - values[1]) / 2e-3, rel=1e-2, abs=1e-6)
    assert abs(slope) > 1e-5


def test_movement_differs_from_magnitude_on_a_real_model(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    for criterion in ("movement", "magnitude"):
        done(joint(sparsity=0.5, criterion=criterion), teacher, samples, tmp_path / criterion)
    moved, large = (zeros(checkpoint.load(tmp_path / one)) for one in ("movement", "magnitude"))
    assert all(int(one.sum()) == round(0.5 * one.numel()) for one in moved)
    assert sum(int((one != other).sum()) for one, other in zip(moved, large, strict=True)) > 1000


@pytest.mark.parametrize(
    ("options", "call"),
    [
        (joint(sparsity=0.5, criterion="movement", block=(4, 4), scope="global"), 6),
        (joint(ffn=24, heads=2, criterion="taylor", scope="global"), 8),
    ],
    ids=["movement", "widths"],
)
def test_a_resumed_schedule_equals_an_uninterrupted_one(
    teacher: Path,
    samples: Samples,
    tmp_path: Path,
    stop_at: Callable[[int], Report],
    monkeypatch: pytest.MonkeyPatch,
    options: Prune,
    call: int,
) -> None:
    """Stopped while the masks rise: the next run goes on with the masks as they were."""
    from edgekit.compress import distill, training

    def often(*args: object, **named: object) -> object:
        return training.train(*args, **{**named, "save_every": 1})  # type: ignore[arg-type]

    monkeypatch.setattr(distill, "train", often)
    done(options, teacher, samples, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        done(options, teacher, samples, tmp_path / "halved", stop_at(call))
    assert (tmp_path / "halved.work" / "state.pt").is_file()
    done(options, teacher, samples, tmp_path / "halved")
    whole, halved = (tmp_path / one / "model.safetensors" for one in ("whole", "halved"))
    assert whole.read_bytes() == halved.read_bytes()
