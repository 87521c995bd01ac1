from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from edgekit.compress import apply, factor  # noqa: E402
from edgekit.compress.factor import Moments  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError, SpecError  # noqa: E402
from edgekit.models import checkpoint, parts  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.shape import Factor  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)


def moments(inputs: torch.Tensor) -> Moments:
    exact = inputs.double()
    return Moments(len(exact), exact.sum(0), exact.T @ exact)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(11)


@pytest.mark.parametrize("known", [False, True])
def test_full_rank_is_exact(known: bool) -> None:
    plain, inputs = nn.Linear(24, 40), torch.randn(500, 24)
    made = factor.linear(plain, 24, moments(inputs) if known else None)
    torch.testing.assert_close(made(inputs), plain(inputs), rtol=1e-4, atol=1e-5)
    words = nn.Embedding(100, 24)
    torch.testing.assert_close(
        factor.table(words, 24, torch.rand(100) if known else None).weight, words.weight, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("known", [False, True])
def test_a_matrix_of_rank_8_is_recovered_exactly_at_rank_8(known: bool) -> None:
    plain, inputs = nn.Linear(24, 40), torch.randn(500, 24) + 3
    plain.weight.data = torch.randn(40, 8) @ torch.randn(8, 24) / 5
    made = factor.linear(plain, 8, moments(inputs) if known else None)
    torch.testing.assert_close(made(inputs), plain(inputs), rtol=1e-4, atol=1e-4)
    words = nn.Embedding(100, 24)
    words.weight.data = torch.randn(100, 8) @ torch.randn(8, 24) / 5
    torch.testing.assert_close(factor.table(words, 8).weight, words.weight, rtol=1e-4, atol=1e-5)


def test_by_outputs_is_the_best_there_is_for_these_inputs() -> None:
    """Truncated SVD is the best for white inputs; for others, whitening is, and nothing of that rank is better."""
    plain = nn.Linear(24, 40)
    # inputs that vary in few directions, around a mean far from 0, as hidden states do
    turned = torch.linalg.qr(torch.randn(24, 24)).Q
    inputs = torch.randn(2000, 24) * torch.logspace(0, -2, 24) @ turned + torch.randn(24)
    with torch.no_grad():
        wanted = plain(inputs)

    def missed(made: nn.Module) -> float:
        with torch.no_grad():
            return float((made(inputs) - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum())

    by_weights = missed(factor.linear(plain, 8))
    made = factor.linear(plain, 8, moments(inputs))
    by_outputs = missed(made)
    assert by_outputs < by_weights / 10
    # Eckart-Young on the outputs themselves: no map of rank 8 and a free bias comes nearer
    values = torch.linalg.svdvals((wanted - wanted.mean(0)).double())
    bound = float(values[8:].square().sum() / values.square().sum())
    assert by_outputs == pytest.approx(bound, rel=1e-3)


def test_rows_of_frequent_tokens_are_kept_best() -> None:
    words = nn.Embedding(200, 24)
    counts = torch.zeros(200)
    counts[:20] = 1000.0
    weighed, even = factor.table(words, 16, counts), factor.table(words, 16)

    def missed(made: nn.Module, rows: slice) -> float:
        return (made.weight[rows] - words.weight[rows]).square().sum().item()

    assert missed(weighed, slice(0, 20)) < missed(even, slice(0, 20)) / 10
    assert missed(weighed, slice(20, 200)) > missed(even, slice(20, 200))


def test_moments_are_those_of_real_tokens_only(teacher: Path, samples: Samples) -> None:
    from edgekit.compress.encoded import encode, in_order

    loaded = checkpoint.load(teacher)
    name = "bert.encoder.layer.1.attention.self.query"
    one = parts.part(loaded.module, name)
    data = encode(samples.train[:12], loaded, LENGTHS[-1])
    found = factor.measured(loaded.module, {name: one}, in_order(data, 5))[name]
    assert found.count == sum(len(ids) for ids in data.ids)
    seen: list[torch.Tensor] = []
    hook = one.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        for ids in data.ids:
            loaded.module(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))
    hook.remove()
    tokens = torch.cat([each[0] for each in seen]).double()
    torch.testing.assert_close(found.mean, tokens.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.spread(True), torch.cov(tokens.T, correction=0), rtol=1e-3, atol=1e-4)


def test_factors_shrink_the_model_come_back_and_recover(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    before = checkpoint.load(teacher)
    reports = [
        apply(
            Step(
                factor=Factor(embedding=8, attention=8, ffn=8, samples=32, epochs=epochs, learning_rate=3e-3, batch=8)
            ),
            teacher,
            teacher,
            samples,
            tmp_path / "out",
            lengths=LENGTHS,
            seed=7,
        )
        for epochs in (0, 3)
    ]
    again = checkpoint.load(tmp_path / "out")
    assert len(again.structure.factors) == 1 + 2 * 6
    assert {one.rank for one in again.structure.factors} == {8}
    # per layer four of 32 x 32 and two of 32 x 64, and a table of 68 x 32
    saved = 2 * (4 * (32 * 32 - 8 * 64) + 2 * (32 * 64 - 8 * 96)) + 68 * 32 - 8 * 100
    assert before.parameters - again.parameters == saved
    assert reports[1].losses[-1] < reports[1].losses[0]
    assert reports[1].validation_accuracy > reports[0].validation_accuracy


def test_a_rank_that_saves_nothing_is_refused(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    step = Step(factor=Factor(attention=16))
    with pytest.raises(BuildError, match="no fewer weights") as caught:
        apply(step, teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    assert caught.value.allowed == "8 to 8"
    assert "32 × 32" in str(caught.value.where)


def test_a_factored_matrix_is_not_factored_again(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    step = Step(factor=Factor(ffn=8, samples=8, epochs=0))
    apply(step, teacher, teacher, samples, tmp_path / "one", lengths=LENGTHS, seed=7)
    with pytest.raises(BuildError, match="already"):
        apply(step, tmp_path / "one", teacher, samples, tmp_path / "two", lengths=LENGTHS, seed=7)


@pytest.mark.parametrize("options", [{}, {"ffn": 12}, {"embedding": 0}, {"ffn": 8, "samples": 2}])
def test_bad_options(options: dict[str, int]) -> None:
    with pytest.raises(SpecError):
        Factor(**options)
