from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from edgekit.compress import apply, evaluate, qat  # noqa: E402
from edgekit.compress.encoded import encode  # noqa: E402
from edgekit.compress.fakequant import (  # noqa: E402
    Lsq,
    Observed,
    Pact,
    Product,
    Regrouped,
    StaticProduct,
    affine,
    rows,
    symmetric,
)
from edgekit.compress.observe import observe  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint, grid  # noqa: E402
from edgekit.spec.qat import Qat  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)
STATIC = Qat(epochs=2, batch=16, learning_rate=1e-3, samples=64, fidelity=0.0)


def values(count: int = 4096, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(1)) * scale


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.3, 1.5), (0.0, 2.0)])
def test_a_steps_gradient_is_the_papers(low: float, high: float) -> None:
    """Esser 2020, equation 3: round(v) - v inside, Q_N or Q_P beyond, v = x/s, times 1/√(N·Q_P)."""
    x, learned = values().requires_grad_(), Lsq(low, high)
    gradient = values(4096, 0.1).flip(0)
    scale, zero = learned.step(features=384)
    (learned.integers(x / scale, zero) * scale * gradient).sum().backward()
    least, most = -128 - zero, 127 - zero
    v = (x / scale).detach().double()
    inside = (v > least) & (v < most)
    slope = torch.where(inside, v.round() - v, torch.where(v <= least, least, most).double())
    wanted = (slope * gradient).sum() / math.sqrt(384 * 127)
    # ∂s/∂log(s) = s
    assert learned.ratio.grad.item() == pytest.approx((wanted * scale.detach()).item(), rel=1e-3)
    torch.testing.assert_close(x.grad, gradient * inside)
    assert 0.001 < (~inside).float().mean() < 0.8


def test_a_weights_step_has_the_papers_gradient() -> None:
    torch.manual_seed(2)
    product = Product(nn.Linear(384, 4), 4, True)
    product.ratio.data.fill_(-0.6)
    whole, scale = product.weights()
    gradient = torch.randn(4, 384)
    (whole * scale.unsqueeze(-1) * gradient).sum().backward()
    v = (product.weight / scale.unsqueeze(-1)).detach()
    inside = v.abs() < 7
    wanted = (torch.where(inside, v.round() - v, 7 * v.sign()) * gradient).sum(-1) / math.sqrt(384 * 7) * scale.detach()
    torch.testing.assert_close(product.ratio.grad, wanted, rtol=1e-4, atol=1e-6)
    assert not inside.all()


def test_a_threshold_clips_and_learns_from_what_it_clips() -> None:
    """Choi 2018: ∂ŷ/∂α is 1 beyond α and 0 before it."""
    x, learned = values().requires_grad_(), Pact(-0.8, 1.2)
    scale, zero = learned.step(features=1)
    result = learned.integers(x / scale, zero) * scale
    result.sum().backward()
    low, high = (one.item() for one in learned.range())
    assert result.min().item() == pytest.approx(low, abs=scale.item())
    assert result.max().item() == pytest.approx(high, abs=scale.item())
    beyond = ((x / scale < -128 - zero).sum().item(), (x / scale > 127 - zero).sum().item())
    assert min(beyond) > 100
    # ∂α/∂log(α) = α
    assert learned.ratios.grad.tolist() == pytest.approx([low * beyond[0], high * beyond[1]], rel=1e-4)
    assert x.grad.sum().item() == len(x) - sum(beyond)


def test_a_threshold_learns_to_leave_an_outlier_out() -> None:
    x = values()
    x[0] = 40.0
    learned = Pact(x.min().item(), 40.0)
    optimizer = torch.optim.Adam(learned.parameters(), lr=0.05)
    wide = affine(*learned.range())[0].item()
    for _ in range(150):
        scale, zero = learned.step(features=1)
        loss = (learned.integers(x / scale, zero) * scale - x).abs().clamp(max=3).sum() + 0.5 * learned.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    low, high = (one.item() for one in learned.range())
    assert high < 10
    assert low < -2
    assert affine(*learned.range())[0].item() < wide / 3


@pytest.mark.parametrize(("decay", "shrinks"), [(0.1, True), (0.0, False)])
def test_a_penalty_keeps_thresholds_small(decay: float, shrinks: bool) -> None:
    learned = Pact(-1.0, 3.0)
    before_step = qat._penalty(nn.Sequential(learned), Qat(clipping="pact", clip_decay=decay))
    optimizer = torch.optim.SGD(learned.parameters(), 0.1)
    before = torch.stack(learned.range()).detach()
    for step in range(10):
        optimizer.zero_grad()
        before_step(step, 10)
        optimizer.step()
    after = torch.stack(learned.range()).detach()
    assert bool((after.abs() < before.abs()).all()) == shrinks
    assert after[0] <= 0 <= after[1]


def test_the_calibrated_step_is_kept_when_nothing_was_learned() -> None:
    for one in (Observed(-0.7, 2.1), Lsq(-0.7, 2.1), Pact(-0.7, 2.1)):
        scale, zero = one.step(features=8)
        wanted = affine(torch.tensor(-0.7), torch.tensor(2.1))
        assert scale.item() == pytest.approx(wanted[0].item(), rel=1e-6)
        assert zero.item() == wanted[1].item()
        # what the range says is what is computed with, to the last bit
        again = affine(*(end.detach() for end in one.range()))
        assert (again[0].item(), again[1].item()) == (scale.item(), zero.item())


def test_tensors_that_products_share_have_one_range(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    products = {name: one for name, one in loaded.module.named_modules() if isinstance(one, nn.Linear)}
    data = encode(samples.train, loaded, LENGTHS[-1])
    seen = observe(loaded.module, data, products, {})
    inputs = [{name for name, end in one.ends if end == "input"} for one in seen]
    names = ("query", "key", "value")
    assert {f"bert.encoder.layer.0.attention.self.{one}" for one in names} in inputs
    # two layers with four inputs of their own, pooler and classifier; and fourteen results
    assert len(seen) == 10 + 14
    assert not any(one._forward_hooks for one in loaded.module.modules())
    for one in seen:
        assert one.low <= 0 <= one.high
        assert one.fidelity > 20


def test_every_product_is_replaced_and_comes_back(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    names = [name for name, _ in loaded.module.named_parameters()]
    data = encode(samples.test, loaded, LENGTHS[-1])
    before = evaluate.logits(loaded.module, data)
    qat.prepare(loaded, STATIC, data)
    kinds = [type(one) for one in loaded.module.modules() if isinstance(one, nn.Linear)]
    assert (kinds.count(StaticProduct), kinds.count(Regrouped), len(kinds)) == (14, 0, 14)
    on_grid = evaluate.logits(loaded.module, data)
    assert 0 < (on_grid - before).abs().max() < 0.1 * before.abs().max()
    qat.bake(loaded, STATIC)
    assert [name for name, _ in loaded.module.named_parameters()] == names
    for name, one in loaded.module.named_modules():
        if type(one) is nn.Linear and name in loaded.grid.products:
            steps = one.weight / symmetric(one.weight, 8)
            assert (steps - steps.round()).abs().max() < 1e-3
    table = loaded.family.word_embedding(loaded.module)
    assert not table._forward_hooks
    torch.testing.assert_close(rows(table.weight, 8), table.weight)


def test_products_under_the_least_fidelity_are_spared(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    data = encode(samples.train, loaded, LENGTHS[-1])
    products = {name: one for name, one in loaded.module.named_modules() if isinstance(one, nn.Linear)}
    first = "bert.encoder.layer.0."
    early = {name: one for name, one in products.items() if name.startswith(first)}
    seen = sorted(observe(loaded.module, data, early, {}), key=lambda one: one.fidelity)
    least = (seen[0].fidelity + seen[1].fidelity) / 2
    options = Qat(fidelity=least, samples=64)
    qat.prepare(loaded, options, data)
    spared = qat.bake(loaded, options)
    assert {one for one in spared if one.startswith(first)} == {name for name, _ in seen[0].ends}
    assert set(spared) <= set(loaded.grid.spared)
    assert not set(spared) & set(loaded.grid.products)


def _plant(loaded: checkpoint.Checkpoint, size: float) -> None:
    """In each layer, one value channel that is always large and never used: the function stays, int8 grows coarse."""
    for layer in loaded.family.layers(loaded.module):
        attention = loaded.family.attention(layer)
        with torch.no_grad():
            attention.value.bias[5] = size
            attention.value.weight[5] = 0
            attention.output.weight[:, 5] = 0


@pytest.mark.slow
@pytest.mark.parametrize("clipping", ["lsq", "pact"])
def test_training_on_the_grid_brings_back_what_outliers_cost(
    clipping: str, teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    planted = tmp_path / "planted"
    loaded = checkpoint.load(teacher)
    _plant(loaded, 800.0)
    checkpoint.save(loaded, planted)
    reached = {}
    for epochs in (0, 8):
        options = replace(STATIC, clipping=clipping, epochs=epochs, learning_rate=1e-2, patience=8)  # type: ignore[arg-type]
        out = tmp_path / f"{clipping}-{epochs}"
        done = apply(Step(qat=options), planted, teacher, samples, out, lengths=LENGTHS, seed=7)
        reached[epochs] = done.validation_accuracy
    assert reached[0] < 80
    assert reached[8] >= reached[0] + 10


def test_a_resumed_step_gives_the_same_checkpoint(
    teacher: Path, samples: Samples, tmp_path: Path, stop_at: Callable[[int], Callable[[str, float | None], None]]
) -> None:
    step = Step(qat=STATIC)
    apply(step, teacher, teacher, samples, tmp_path / "whole", lengths=LENGTHS, seed=7)
    with pytest.raises(KeyboardInterrupt):
        apply(step, teacher, teacher, samples, tmp_path / "parts", lengths=LENGTHS, seed=7, report=stop_at(12))
    assert not (tmp_path / "parts").exists()
    apply(step, teacher, teacher, samples, tmp_path / "parts", lengths=LENGTHS, seed=7)
    for name in ("model.safetensors", "quantization.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    learned, bare = grid.read(tmp_path / "whole"), tmp_path / "bare"
    apply(Step(qat=Qat(epochs=0, samples=64, fidelity=0.0)), teacher, teacher, samples, bare, lengths=LENGTHS, seed=7)
    assert learned != grid.read(bare)


def test_four_bits_learn_what_rounding_lost(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    options = replace(STATIC, scheme="w4_a32_dynamic", epochs=3)
    apply(Step(qat=options), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    loaded = checkpoint.load(tmp_path / "out")
    assert loaded.grid is None
    weight = loaded.family.feed_forward(next(iter(loaded.family.layers(loaded.module)))).up.weight
    assert max(len(row.unique()) for row in weight) <= 15
