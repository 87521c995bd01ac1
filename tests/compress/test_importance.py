from __future__ import annotations

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pruning_kit import LENGTHS, best  # noqa: E402

from edgekit.compress.encoded import batch, encode  # noqa: E402
from edgekit.compress.pruning import groups, importance, proxy  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402

pytestmark = pytest.mark.torch
#: Neurons of a layer that a test plants something in.
PLANTED = (3, 17, 40)


def first(loaded: checkpoint.Checkpoint, kind: str) -> groups.Group:
    return groups.of(loaded, kind)[0]


def lowest(scores: torch.Tensor, count: int) -> set[int]:
    return set(range(len(scores))) - set(best(scores, len(scores) - count))


def test_taylor_is_the_slope_of_the_loss_along_a_gate(teacher: Path, samples: Samples) -> None:
    """Against finite differences: scale one part's contribution by 1 ± h, for one text."""
    loaded = checkpoint.load(teacher)
    data = encode(samples.train[:1], loaded, LENGTHS[-1])
    one = batch(data, [0])
    heads, ffn, hidden = (
        importance.taylor(loaded, groups.of(loaded, kind), data) for kind in ("heads", "ffn", "hidden")
    )
    loaded.module.double()
    layer = loaded.family.layers(loaded.module)[0]
    down, output = loaded.family.feed_forward(layer).down, loaded.family.attention(layer).output
    head = loaded.family.head(loaded.module)

    def loss() -> float:
        with torch.inference_mode():
            return torch.nn.functional.cross_entropy(
                loaded.module(one.input_ids, one.attention_mask).logits, one.labels
            ).item()

    def slope(weight: torch.Tensor, columns: slice) -> float:
        kept, values = weight.data.clone(), []
        for step in (1e-4, -1e-4):
            weight.data[:, columns] = kept[:, columns] * (1 + step)
            values.append(loss())
            weight.data = kept.clone()
        return abs(values[0] - values[1]) / 2e-4

    assert ffn[0][5].item() == pytest.approx(slope(down.weight, slice(5, 6)), rel=1e-2, abs=1e-6)
    assert heads[0][1].item() == pytest.approx(slope(output.weight, slice(8, 16)), rel=1e-2, abs=1e-6)
    # the head's own neurons are the second group of the hidden width
    assert hidden[1][5].item() == pytest.approx(slope(head.classifier.weight, slice(5, 6)), rel=1e-2, abs=1e-6)


def test_taylor_is_a_mean_over_texts_whose_slopes_do_not_cancel_out(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    found = groups.of(loaded, "ffn")

    def asked(count: slice) -> torch.Tensor:
        return torch.cat(importance.taylor(loaded, found, encode(samples.train[count], loaded, LENGTHS[-1])))

    apart = torch.stack([asked(slice(one, one + 1)) for one in range(4)])
    torch.testing.assert_close(asked(slice(4)), apart.mean(0), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("criterion", ["taylor", "magnitude", "activation", "proxy"])
def test_neurons_without_weights_go_first(teacher: Path, samples: Samples, criterion: str) -> None:
    loaded = checkpoint.load(teacher)
    both = loaded.family.feed_forward(loaded.family.layers(loaded.module)[0])
    both.up.weight.data[list(PLANTED)] = 0
    both.up.bias.data[list(PLANTED)] = 0
    both.down.weight.data[:, list(PLANTED)] = 0
    data = encode(samples.train, loaded, LENGTHS[-1])
    (found, *_) = importance.scores(criterion, loaded, groups.of(loaded, "ffn"), data, 7)
    assert lowest(found, 3) == set(PLANTED)


@pytest.mark.parametrize("criterion", ["taylor", "magnitude"])
def test_an_element_of_the_stream_that_nobody_reads_goes_first(teacher: Path, samples: Samples, criterion: str) -> None:
    loaded = checkpoint.load(teacher)
    stream = first(loaded, "hidden")
    for one in stream.readers:
        one.weight.data[:, 9] = 0
    for one in stream.makers:
        weight = one.weight.data
        weight[(slice(None), 9) if isinstance(one, torch.nn.Embedding) else 9] = 0
    for one in stream.norms:
        one.weight.data[9] = one.bias.data[9] = 0
    data = encode(samples.train, loaded, LENGTHS[-1])
    assert lowest(importance.scores(criterion, loaded, [stream], data, 7)[0], 1) == {9}


def test_fpgm_picks_planted_duplicates_whatever_their_norm(teacher: Path) -> None:
    """The filters nearest to the geometric median go: copies of the centre, though their weights are not small."""
    loaded = checkpoint.load(teacher)
    group = first(loaded, "ffn")
    up = group.makers[0].weight.data
    up.normal_(generator=torch.Generator().manual_seed(0)).div_(up.norm(dim=1, keepdim=True))
    centre = up.mean(0) + 0.5
    up += centre
    up[list(PLANTED)] = centre
    assert lowest(importance.fpgm(group), 3) == set(PLANTED)
    up[list(PLANTED)] *= 100
    assert set(best(importance.fpgm(group), 3)) == set(PLANTED)


def test_magnitude_counts_what_is_made_and_what_is_read(teacher: Path) -> None:
    group = first(checkpoint.load(teacher), "ffn")
    up, down = group.makers[0].weight.detach(), group.readers[0].weight.detach()
    wanted = (up[5].square().sum() + down[:, 5].square().sum()).sqrt()
    assert importance.magnitude(group)[5].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_activation_picks_neurons_that_rarely_answer_however_large_their_weights(
    teacher: Path, samples: Samples
) -> None:
    loaded = checkpoint.load(teacher)
    up = first(loaded, "ffn").makers[0]
    up.weight.data[list(PLANTED)] *= 3
    # far below zero, where GELU is silent
    up.bias.data[list(PLANTED)] = -100.0
    data = encode(samples.train, loaded, LENGTHS[-1])
    (found, *_) = importance.activation(loaded, groups.of(loaded, "ffn"), data)
    assert lowest(found, 3) == set(PLANTED)
    assert found[list(PLANTED)].max() == 0.0
    assert found.max() <= 1.5


def test_activation_is_the_share_of_tokens_and_asks_no_padding(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    up = first(loaded, "ffn").makers[0]
    # always, and so strong that no other reaches a tenth of the mean square
    up.bias.data[0] = 1e5
    data = encode(samples.train[:8], loaded, LENGTHS[-1])
    assert len({len(one) for one in data.ids}) > 1
    (found, *_) = importance.activation(loaded, groups.of(loaded, "ffn"), data)
    assert 1.0 <= found[0].item() <= 1.0 + 1.0 / sum(len(one) for one in data.ids)
    assert found[1:].max() < 0.01


def test_random_follows_the_seed(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    data = encode(samples.train[:1], loaded, LENGTHS[-1])
    one, same, other = (
        importance.scores("random", loaded, groups.of(loaded, "ffn"), data, seed)[0] for seed in (7, 7, 8)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_proxy_asks_no_data_and_can_be_fitted_to_what_weights_tell(teacher: Path) -> None:
    """Of an importance that is a norm, a fit on one layer ranks the units of another right."""
    loaded = checkpoint.load(teacher)
    one, other = groups.of(loaded, "ffn")
    for group, seed in ((one, 1), (other, 2)):
        scale = torch.rand(group.units, 1, generator=torch.Generator().manual_seed(seed)) * 3 + 0.1
        group.makers[0].weight.data *= scale
    weights = proxy.fit([one], [one.makers[0].weight.detach().norm(dim=1)])
    predicted = proxy.features(other) @ torch.tensor(weights)
    truth = other.makers[0].weight.detach().norm(dim=1)
    assert len(set(best(predicted, 16)) & set(best(truth, 16))) >= 14
    assert max(range(5), key=lambda place: abs(weights[place])) == 0


def test_the_shipped_proxy_is_the_same_for_a_scaled_model(teacher: Path) -> None:
    """Its statistics are relative to the group's: it holds for models of other scales."""
    loaded = checkpoint.load(teacher)
    group = first(loaded, "ffn")
    before = proxy.scores(group)
    group.makers[0].weight.data *= 10
    group.readers[0].weight.data *= 0.1
    torch.testing.assert_close(proxy.scores(group), before, rtol=1e-4, atol=1e-4)
    order = list(range(64))
    random.Random(1).shuffle(order)
    group.makers[0].weight.data = group.makers[0].weight.data[order]
    group.makers[0].bias.data = group.makers[0].bias.data[order]
    group.readers[0].weight.data = group.readers[0].weight.data[:, order]
    torch.testing.assert_close(proxy.scores(group), before[order], rtol=1e-4, atol=1e-4)
