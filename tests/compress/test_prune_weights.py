from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pruning_kit import LENGTHS, logits  # noqa: E402

from edgekit.compress import apply  # noqa: E402
from edgekit.compress.encoded import batch, encode  # noqa: E402
from edgekit.compress.evaluate import nll  # noqa: E402
from edgekit.compress.pruning import groups, sparse, weights  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.progress import quiet  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402

pytestmark = pytest.mark.torch


def zeroed(teacher: Path, samples: Samples, options: Prune) -> checkpoint.Checkpoint:
    loaded = checkpoint.load(teacher)
    data = encode(samples.train, loaded, LENGTHS[-1])
    with sparse.prepared(loaded, options, data, 7, quiet) as zeros:
        zeros.close(1.0)
    return loaded


def matrices(loaded: checkpoint.Checkpoint) -> list[torch.Tensor]:
    return [one.weight.detach() for layer in groups.projections(loaded) for one in layer]


def shares(loaded: checkpoint.Checkpoint) -> list[float]:
    return [float((one == 0).float().mean()) for one in matrices(loaded)]


@pytest.fixture
def uneven(teacher: Path, tmp_path: Path) -> Path:
    """The teacher with the second layer's weights twice as large."""
    loaded = checkpoint.load(teacher)
    for one in groups.projections(loaded)[1]:
        one.weight.data *= 2
    checkpoint.save(loaded, tmp_path / "uneven")
    return tmp_path / "uneven"


def test_layer_wise_gives_every_matrix_the_same_share_and_global_the_small_weights_more(
    uneven: Path, samples: Samples
) -> None:
    layer = zeroed(uneven, samples, Prune(sparsity=0.5, criterion="magnitude", scope="layer"))
    everywhere = zeroed(uneven, samples, Prune(sparsity=0.5, criterion="magnitude", scope="global"))
    assert shares(layer) == [0.5] * 12
    assert max(shares(everywhere)[6:]) < 0.5 < min(shares(everywhere)[:6])
    zeros = sum(int((one == 0).sum()) for one in matrices(everywhere))
    assert zeros == round(0.5 * sum(one.numel() for one in matrices(everywhere)))


def test_magnitude_keeps_the_largest_weights_as_they_are(teacher: Path, samples: Samples) -> None:
    before = matrices(checkpoint.load(teacher))
    after = matrices(zeroed(teacher, samples, Prune(sparsity=0.75, criterion="magnitude", scope="global")))
    kept = torch.cat([whole[part != 0].abs() for whole, part in zip(before, after, strict=True)])
    gone = torch.cat([whole[part == 0].abs() for whole, part in zip(before, after, strict=True)])
    assert gone.max() <= kept.min()
    for whole, part in zip(before, after, strict=True):
        assert torch.equal(part[part != 0], whole[part != 0])


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "random"])
def test_blocks_go_whole(teacher: Path, samples: Samples, criterion: str) -> None:
    options = Prune(sparsity=0.5, criterion=criterion, block=(4, 8))  # type: ignore[arg-type]
    for one in matrices(zeroed(teacher, samples, options)):
        parts = weights.blocks(one == 0, (4, 8)).float().mean((1, 3))
        assert set(parts.unique().tolist()) == {0.0, 1.0}
        assert float(parts.mean()) == 0.5


def test_taylor_spares_small_weights_that_the_loss_needs(teacher: Path, samples: Samples) -> None:
    """A weight whose input is always zero has no slope, however large it is; magnitude does not see that."""
    loaded = checkpoint.load(teacher)
    both = loaded.family.feed_forward(loaded.family.layers(loaded.module)[0])
    both.up.weight.data[:8], both.up.bias.data[:8] = 0, 0
    both.down.weight.data[:, :8] = 10
    data = encode(samples.train, loaded, LENGTHS[-1])
    for criterion, dead in (("taylor", 1.0), ("magnitude", 0.0)):
        with sparse.prepared(loaded, Prune(sparsity=0.25, criterion=criterion), data, 7, quiet) as zeros:  # type: ignore[arg-type]
            zeros.close(1.0)
            closed = 1 - both.down.parametrizations.weight[0].open
            assert float(closed[:, :8].mean()) == dead
            zeros.close(0.0)


def test_the_taylor_score_of_a_block_is_the_slope_of_the_loss_along_its_mask(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    data = encode(samples.train[:8], loaded, LENGTHS[-1])
    one = batch(data, list(range(8)))
    up = loaded.family.feed_forward(loaded.family.layers(loaded.module)[0]).up
    with weights.masked([up], (4, 8)) as masks:
        (found,) = weights.scores("taylor", loaded, [up], masks, data, 7)
        row, column = divmod(int(found.argmax()), found.shape[1])  # the steepest: the loss itself is a float32
        loaded.module.double()

        def loss(step: float) -> float:
            masks[0].open[row, column] += step
            with torch.inference_mode():
                return nll(loaded.module(one.input_ids, one.attention_mask).logits, one.labels).sum().item()

        slope = (loss(1e-2) - loss(-2e-2)) / 2e-2
    assert found[row, column].item() == pytest.approx(abs(slope), rel=1e-2)
    assert abs(slope) > 1e-2


def test_a_sensitive_layer_keeps_more(teacher: Path, samples: Samples) -> None:
    """The first layer's projections feed nothing but zeros: all of it can go at no loss."""
    loaded = checkpoint.load(teacher)
    layer = loaded.family.layers(loaded.module)[0]
    for part in (loaded.family.attention(layer).output, loaded.family.feed_forward(layer).down):
        part.weight.data *= 1e-6
        part.bias.data.zero_()
    data = encode(samples.train, loaded, LENGTHS[-1])
    options = Prune(sparsity=0.45, criterion="magnitude", scope="sensitivity")
    with sparse.prepared(loaded, options, data, 7, quiet) as zeros:
        removed = [one.removed / one.blocks for one in zeros.pools]
        assert sum(one.removed for one in zeros.pools) == round(0.45 * sum(one.blocks for one in zeros.pools))
    assert removed[0] > 0.8
    assert removed[1] < 0.1


def test_zeros_stay_zero_through_recovery_and_the_file_deflates(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    options = Prune(sparsity=0.75, criterion="magnitude", epochs=2, batch=16, learning_rate=1e-3, samples=32)
    done = apply(Step(prune=options), teacher, None, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    after = checkpoint.load(tmp_path / "out")
    assert shares(after) == [0.75] * 12
    assert after.structure == checkpoint.load(teacher).structure
    moved = zeroed(teacher, samples, options)
    assert any(not torch.equal(one, other) for one, other in zip(matrices(after), matrices(moved), strict=True))
    size, packed = sparse.deflated(tmp_path / "out")
    assert packed < 0.8 * sparse.deflated(teacher)[1]
    assert size > packed
    first, second = done.remarks
    assert first == "75.00 % of the layers' weights are zero; dense kernels compute no faster from it"
    assert "for transfer" in second


def test_a_masked_model_computes_with_its_masked_weights(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    data = encode(samples.train, loaded, LENGTHS[-1])
    with sparse.prepared(loaded, Prune(sparsity=0.5, criterion="magnitude"), data, 7, quiet) as zeros:
        zeros.close(1.0)
        inside = logits(loaded, samples)
        assert zeros.share == 0.5
    torch.testing.assert_close(logits(loaded, samples), inside)


def test_learned_scores_get_the_slope_of_closed_weights_too(teacher: Path, samples: Samples) -> None:
    """Straight-through: ∂loss/∂score = ∂loss/∂(masked weight) · weight, open or closed; closed weights get none."""
    weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    mask = weights.Mask(2, 2, (1, 1), learned=True)
    mask.open.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    slope = torch.tensor([[1.0, 10.0], [-1.0, 0.5]])
    (mask(weight) * slope).sum().backward()
    assert mask.scores is not None
    assert torch.equal(mask.scores.grad, slope * weight.detach())
    assert torch.equal(weight.grad, slope * mask.open)


def test_the_lowest_go_to_the_block_and_the_first_among_equals() -> None:
    masks = [weights.Mask(1, 3, (1, 1), False), weights.Mask(1, 2, (1, 1), False)]
    scores = [torch.tensor([[1.0, 5.0, 1.0]]), torch.tensor([[0.0, 1.0]])]
    weights.keep_highest(scores, masks, 3)
    assert [one.open.tolist() for one in masks] == [[[0.0, 1.0, 0.0]], [[0.0, 1.0]]]
    weights.keep_highest(scores, masks, 0)
    assert all(one.open.all() for one in masks)
