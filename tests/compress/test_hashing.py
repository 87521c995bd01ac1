from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply, hashing  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError, SpecError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.parts import HashedEmbedding  # noqa: E402
from edgekit.models.structure import Hashing  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.shape import Hash  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)


@pytest.fixture
def wanted() -> torch.Tensor:
    return torch.randn(60, 8, generator=torch.Generator().manual_seed(2))


def test_a_perfect_hash_is_exact(wanted: torch.Tensor) -> None:
    one = HashedEmbedding(60, 8, buckets=60, hashes=1)
    one.rows = torch.randperm(60, generator=torch.Generator().manual_seed(1)).to(torch.int32).unsqueeze(1)
    hashing.fit(one, wanted, torch.ones(60))
    torch.testing.assert_close(one.weight, wanted)


def test_tokens_that_collide_share_their_weighed_mean(wanted: torch.Tensor) -> None:
    one = HashedEmbedding(60, 8, buckets=16, hashes=1)
    weights = torch.arange(1.0, 61.0)
    hashing.fit(one, wanted, weights)
    rows = one.rows[:, 0].tolist()
    assert len(set(rows)) <= 16
    for row in set(rows):
        mine = [token for token, place in enumerate(rows) if place == row]
        mean = (weights[mine, None] * wanted[mine]).sum(0) / weights[mine].sum()
        for token in mine:
            torch.testing.assert_close(one.weight[token], mean)


def test_several_rows_a_token_are_the_least_squares_fit(wanted: torch.Tensor) -> None:
    one = HashedEmbedding(60, 8, buckets=24, hashes=2)
    weights = torch.rand(60, generator=torch.Generator().manual_seed(3)) + 0.1
    hashing.fit(one, wanted, weights)
    matrix = torch.zeros(60, 24, dtype=torch.float64)
    for token, rows in enumerate(one.rows.tolist()):
        for row in rows:
            matrix[token, row] += 1
    scale = weights.double().sqrt().unsqueeze(1)
    best = torch.linalg.lstsq(scale * matrix, scale * wanted.double(), driver="gelsd").solution
    torch.testing.assert_close(one.weight, (matrix @ best).float(), rtol=1e-4, atol=1e-5)


def test_two_hashes_tell_apart_what_one_cannot() -> None:
    one, two = (HashedEmbedding(500, 8, buckets=128, hashes=count) for count in (1, 2))
    kinds = [len({tuple(sorted(rows)) for rows in table.rows.tolist()}) for table in (one, two)]
    assert kinds[0] <= 128
    assert kinds[1] > 480


def test_the_step_shrinks_the_model_and_recovers(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    before = checkpoint.load(teacher)
    reports = [
        apply(
            Step(hash=Hash(buckets=16, hashes=2, epochs=epochs, learning_rate=2e-3, batch=8)),
            teacher,
            teacher,
            samples,
            tmp_path / "out",
            lengths=LENGTHS,
            seed=7,
        )
        for epochs in (0, 6)
    ]
    again = checkpoint.load(tmp_path / "out")
    assert again.structure.hashing == Hashing("bert.embeddings.word_embeddings", 16, 2)
    assert again.structure.vocabulary == before.structure.vocabulary
    assert before.parameters - again.parameters == (68 - 16) * 32
    assert reports[1].validation_accuracy > reports[0].validation_accuracy
    assert "off the trained one" in reports[0].remarks[0]


def test_a_table_no_smaller_is_refused(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="saves nothing") as caught:
        apply(Step(hash=Hash(buckets=68)), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    assert caught.value.allowed == "8 to 67"


def test_a_hashed_table_is_not_hashed_again(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    apply(Step(hash=Hash(buckets=32, epochs=0)), teacher, teacher, samples, tmp_path / "one", lengths=LENGTHS, seed=7)
    with pytest.raises(BuildError, match="plain word embedding"):
        apply(
            Step(hash=Hash(buckets=16, epochs=0)),
            tmp_path / "one",
            teacher,
            samples,
            tmp_path / "two",
            lengths=LENGTHS,
            seed=7,
        )


@pytest.mark.parametrize("options", [{"buckets": 4}, {"hashes": 0}, {"hashes": 9}])
def test_bad_options(options: dict[str, int]) -> None:
    with pytest.raises(SpecError):
        Hash(**options)
