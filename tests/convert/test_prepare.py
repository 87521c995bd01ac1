"""What is decided about integers before a file is written, each method by what its paper says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ai_edge_quantizer")

import numpy as np
import torch
import toy

from edgekit.convert import faked, mixed, observe, prepare, ranges, rounding, smooth
from edgekit.convert.job import Job
from edgekit.convert.quantize import Plan
from edgekit.errors import BuildError
from edgekit.spec.quantize import Calibration, Mixed, Quantization

pytestmark = pytest.mark.torch


def calibrated(model: toy.Toy, asked: Quantization | None = None) -> Plan:
    entering, leaving = observe.histograms(model, toy.ids())
    return Plan(
        "w8_a8_static",
        asked or Quantization(),
        inputs={name: ranges.minmax(one) for name, one in entering.items()},
        outputs={name: ranges.minmax(one) for name, one in leaving.items()},
    )


def noise(model: toy.Toy, plan: Plan, *names: str) -> float:
    true = observe.logits(model, toy.ids())
    with faked.faked(model, {name: plan.precision(name) for name in names or ("first", "gate", "last")}, plan):
        return float(np.square(observe.logits(model, toy.ids()) - true).mean())


def test_only_what_takes_part_is_watched() -> None:
    model = toy.Toy()
    model.unused = torch.nn.Linear(3, 3)
    entering, leaving = observe.histograms(model, toy.ids(4))
    assert list(entering) == list(leaving) == ["first", "gate", "last"]
    assert entering["first"].counts.sum() == sum(len(one) for one in toy.ids(4)) * 32


def test_products_that_read_one_tensor_are_found() -> None:
    assert smooth.readers(toy.Toy(), toy.ids()) == [["first", "gate"], ["last"]]


def outlying() -> toy.Toy:
    """Two input channels 60 times as large as the rest; their weights are as much smaller."""
    model = toy.Toy()
    model.norm.weight[:2] *= 60
    for one in (model.first, model.gate):
        one.weight[:, :2] /= 60
    return model


def test_smoothing_changes_nothing_in_float_and_lowers_the_error_of_int8() -> None:
    plain, smoothed = outlying(), outlying()
    smooth.smooth_(smoothed, toy.ids(), 0.5, ["first", "gate", "last"])
    assert observe.logits(smoothed, toy.ids()) == pytest.approx(observe.logits(plain, toy.ids()), abs=1e-5)
    assert not torch.equal(smoothed.first.weight, plain.first.weight)
    assert noise(smoothed, calibrated(smoothed)) < noise(plain, calibrated(plain)) / 4


def test_products_that_share_an_input_share_their_divisor() -> None:
    before, after = outlying(), outlying()
    smooth.smooth_(after, toy.ids(), 0.7, ["first", "gate"])
    first, gate = ((getattr(after, n).weight / getattr(before, n).weight).mean(0) for n in ("first", "gate"))
    assert torch.allclose(first, gate, rtol=1e-4)
    assert first[:2].min() > 5 * first[2:].max()
    assert torch.equal(before.last.weight, after.last.weight)


def weight_and_moment() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(9)
    # inputs that are correlated: only then does the best choice for one weight depend on its neighbours'
    x = torch.randn(4000, 6, generator=draw) @ torch.randn(6, 32, generator=draw) + 0.5
    return torch.randn(16, 32, generator=draw), x.T @ x / len(x)


def test_learned_rounding_beats_nearest_in_what_the_layer_gives() -> None:
    weight, moment = weight_and_moment()
    scale = weight.abs().amax(1) / 7
    chosen, plain = rounding.learned(weight, scale, moment), rounding.nearest(weight, scale)
    assert rounding.loss(weight, chosen, moment).sum() < 0.5 * rounding.loss(weight, plain, moment).sum()
    assert (rounding.loss(weight, chosen, moment) <= rounding.loss(weight, plain, moment)).all()
    # each weight went to one of its two neighbours on the grid
    steps = chosen / scale[:, None]
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert ((chosen - weight).abs() <= scale[:, None] * 1.001).all()


def test_stochastic_rounding_is_unbiased_and_nearest_is_not() -> None:
    weight, scale = torch.full((400, 50), 0.3), torch.ones(400)
    generator = torch.Generator().manual_seed(4)
    assert rounding.stochastic(weight, scale, generator).mean() == pytest.approx(0.3, abs=0.015)
    assert rounding.nearest(weight, scale).mean() == 0.0


def prepared(
    model: toy.Toy, asked: Quantization, monkeypatch: pytest.MonkeyPatch, scheme: str = "w8_a8_static", seed: int = 0
) -> prepare.Prepared:
    monkeypatch.setattr(prepare, "tokenize", lambda *_: toy.ids())
    calibration, nowhere = Calibration(ranges="minmax"), Path("nowhere")
    job = Job(nowhere, scheme, (16,), ("a text",), calibration, nowhere, quantization=asked, seed=seed)
    return prepare.prepare(job, model)


@pytest.mark.parametrize(("scheme", "weight"), [("w8_a32_dynamic", 0.0104), ("w4_a32_dynamic", 0.2)])
def test_bias_correction_removes_a_planted_shift_of_the_mean(
    scheme: str, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toy.Toy()
    # every weight of the rows a little over a step of their grid: rounding shifts what they give by a mean
    model.last.weight[:] = weight
    model.last.weight[:, 0] = 1.0
    model.first.bias[:] = 3.0

    def shift(given: toy.Toy, plan: Plan) -> float:
        with faked.faked(given, {"last": "dynamic"}, plan):
            return float((observe.logits(given, toy.ids()) - true).mean())

    true = observe.logits(model, toy.ids())
    asked = Quantization(bias_correction=True)
    plain = shift(model, Plan(scheme, asked))
    made = prepared(model, asked, monkeypatch, scheme=scheme)
    assert made.changed
    assert abs(plain) > 0.05
    assert abs(shift(model, made.plan)) < abs(plain) / 10


def test_a_product_that_int8_spoils_is_kept_in_float_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy.Toy()
    # one row of each kind so large that a scale a tensor drowns the others, in weights and in activations
    model.gate.weight[0] *= 300
    asked = Quantization(weights="tensor", mixed=Mixed(fidelity=0.0, sensitivity=30.0))
    before = calibrated(model, asked)
    true = float(np.square(observe.logits(model, toy.ids())).mean())
    assert 10 * np.log10(true / noise(model, before)) < 30.0
    made = prepared(model, asked, monkeypatch)
    assert made.plan.precision("gate") == "float"
    assert made.plan.precision("first") == "static"
    assert 10 * np.log10(true / noise(model, made.plan)) >= 30.0


def test_a_sensitivity_out_of_reach_says_what_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Quantization(mixed=Mixed(sensitivity=80.0))
    model = toy.Toy()
    monkeypatch.setattr(mixed, "_finer", lambda precision: ("dynamic",) if precision == "static" else ())
    with pytest.raises(BuildError, match="cannot be reached") as caught:
        prepared(model, asked, monkeypatch)
    assert caught.value.given == "80 dB"
    assert "up to" in str(caught.value.allowed)


def test_what_would_keep_too_little_goes_dynamic(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy.Toy()
    model.first.bias[0] = 5000.0
    assert prepared(model, Quantization(), monkeypatch).plan.precisions == {}
    drowning = Quantization(mixed=Mixed(fidelity=50.0))
    assert "first" in prepared(model, drowning, monkeypatch).plan.precisions


def test_names_are_patterns_and_an_unknown_one_is_refused_with_the_nearest() -> None:
    modules = ["layer.0.first", "layer.0.gate", "layer.1.first", "classifier"]
    found = mixed.named(modules, Mixed(float32=("classifier",), dynamic=("*.first",)))
    assert found == {"classifier": "float", "layer.0.first": "dynamic", "layer.1.first": "dynamic"}
    with pytest.raises(BuildError, match="no matrix product") as caught:
        mixed.named(modules, Mixed(float32=("clasifier",)))
    assert "did you mean 'classifier'" in str(caught.value)
    with pytest.raises(BuildError, match="not both"):
        mixed.named(modules, Mixed(float32=("layer.0.*",), dynamic=("*.first",)))


def test_stochastic_rounding_follows_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(seed: int) -> torch.Tensor:
        model = toy.Toy()
        prepared(model, Quantization(rounding="stochastic"), monkeypatch, scheme="w8_a32_dynamic", seed=seed)
        return model.first.weight

    assert torch.equal(rounded(1), rounded(1))
    assert not torch.equal(rounded(1), rounded(2))
