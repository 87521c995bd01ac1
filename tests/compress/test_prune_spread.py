from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pruning_kit import LENGTHS, cut, logits  # noqa: E402

from edgekit.compress import apply, evaluate  # noqa: E402
from edgekit.compress.encoded import batch, encode  # noqa: E402
from edgekit.compress.pruning import budget, candidates, sensitivity, widths  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.progress import quiet  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def lopsided(teacher: Path, tmp_path: Path) -> Path:
    """The teacher, whose first layer's neurons but eight do nothing: all that is needed is in the second."""
    loaded = checkpoint.load(teacher)
    first, second = (loaded.family.feed_forward(one) for one in loaded.family.layers(loaded.module))
    first.down.weight.data[:, 8:] *= 1e-6
    second.down.weight.data *= 3
    checkpoint.save(loaded, tmp_path / "lopsided")
    return tmp_path / "lopsided"


def ffn(loaded: checkpoint.Checkpoint) -> list[int]:
    return [one.ffn for one in loaded.structure.layers]


@pytest.mark.parametrize(("scope", "kept"), [("layer", [40, 40]), ("global", [16, 64]), ("sensitivity", [16, 64])])
def test_the_same_total_goes_where_it_costs_least(
    lopsided: Path, samples: Samples, scope: str, kept: list[int]
) -> None:
    loaded = checkpoint.load(lopsided)
    before = logits(loaded, samples)
    cut(loaded, Prune(ffn=40, scope=scope), samples)  # type: ignore[arg-type]
    assert ffn(loaded) == kept
    harm = (logits(loaded, samples) - before).abs().max()
    assert harm < 1e-3 if scope != "layer" else harm > 1e-3


def test_heads_are_spread_by_what_they_do(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    loaded.family.attention(loaded.family.layers(loaded.module)[1]).output.weight.data[:, 8:] = 0
    cut(loaded, Prune(heads=2, scope="global"), samples)
    assert [one.heads for one in loaded.structure.layers] == [3, 1]


def test_a_spread_keeps_one_chunk_a_layer_multiples_of_the_step_and_the_total() -> None:
    scores = [torch.arange(64.0), torch.arange(60.0) / 1000, torch.zeros(64)]
    removed = budget.by_scores(scores, 8, 188 - 3 * 24)
    assert sum(removed) == 188 - 3 * 24
    # 60 is no multiple of 8: the four too many go in any case
    assert [len(one) - gone for one, gone in zip(scores, removed, strict=True)] == [56, 8, 8]


def test_equal_costs_are_shared_alike() -> None:
    assert budget.by_scores([torch.zeros(64), torch.zeros(64)], 8, 64) == [32, 32]


def test_loss_curves_decide_and_a_falling_loss_counts_as_none() -> None:
    steep, flat, falling = [1.0, 2.0, 3.0], [1.0, 1.01, 1.02], [1.0, 0.9, 5.0]
    removed = budget.by_losses([steep, flat, falling], [24, 24, 24], 8, 24)
    assert removed == [0, 16, 8]


def test_random_spreads_differ_and_keep_the_total() -> None:
    draw = random.Random(1)
    drawn = [budget.drawn([64] * 4, 8, 128, draw) for _ in range(20)]
    assert {sum(one) for one in drawn} == {128}
    assert all(gone % 8 == 0 and gone <= 56 for one in drawn for gone in one)
    assert len({tuple(one) for one in drawn}) > 10


def test_the_best_candidate_is_the_planted_one(teacher: Path, samples: Samples) -> None:
    """The first layer's neurons do nothing, and nobody knows which of the second's do more than others."""
    loaded = checkpoint.load(teacher)
    first, second = (loaded.family.feed_forward(one) for one in loaded.family.layers(loaded.module))
    first.down.weight.data *= 1e-6
    second.down.weight.data *= 10
    data = encode(samples.train, loaded, LENGTHS[-1])
    # what it answers is the truth here, so that to stay as it was is best
    data = replace(data, labels=evaluate.logits(loaded.module, data).argmax(-1).tolist())
    options = Prune(ffn=40, candidates=12, criterion="random")
    with widths.prepared(loaded, options, data, 7, quiet) as planned:
        losses = candidates.choose(loaded, planned, data, 12, 7, quiet)
        kept = [len(gate.kept) for gate in planned.gates]
        assert sensitivity.loss(loaded, data) == min(losses) < losses[0]
    # every other spread takes more neurons from the second layer, and loses
    assert kept == [24, 56]


def test_the_candidate_that_is_chosen_was_adapted_and_stays_so(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    data = encode(samples.train[: candidates.TEXTS], loaded, LENGTHS[-1])
    few = batch(data, list(range(len(data))))
    usual = candidates.statistics(loaded.module, few)
    options = Prune(ffn=16, candidates=2, criterion="random")
    with widths.prepared(loaded, options, data, 7, quiet) as planned:
        losses = candidates.choose(loaded, planned, data, 2, 7, quiet)
        assert sensitivity.loss(loaded, data) == min(losses)
        adapted = candidates.statistics(loaded.module, few)
    for key, (mean, deviation) in usual.items():
        torch.testing.assert_close(adapted[key][0], mean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(adapted[key][1], deviation, rtol=1e-3, atol=1e-3)


def test_adapting_gives_each_channel_the_mean_and_deviation_it_had(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    data = encode(samples.train, loaded, LENGTHS[-1])
    few = batch(data, list(range(32)))
    usual = candidates.statistics(loaded.module, few)
    cut(loaded, Prune(ffn=16, heads=2, criterion="random"), samples)
    raw = candidates.statistics(loaded.module, few)
    candidates.adapt(loaded.module, few, usual)
    adapted = candidates.statistics(loaded.module, few)
    for key, (mean, deviation) in usual.items():
        torch.testing.assert_close(adapted[key][0], mean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(adapted[key][1], deviation, rtol=1e-3, atol=1e-3)
    assert any((raw[key][0] - mean).abs().max() > 0.05 for key, (mean, _) in usual.items())


def test_the_chosen_candidate_is_cut_and_told(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    options = Prune(ffn=32, heads=2, candidates=4, epochs=0, samples=64)
    done = apply(Step(prune=options), teacher, None, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    structure = checkpoint.read_structure(tmp_path / "out")
    assert sum(one.ffn for one in structure.layers) == 64
    assert sum(one.heads for one in structure.layers) == 4
    assert "ffn kept: {} of 64, 64".format(", ".join(str(one.ffn) for one in structure.layers)) in done.remarks
