from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pruning_kit import LENGTHS, cut, logits, silenced  # noqa: E402

from edgekit.compress import apply  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402

pytestmark = pytest.mark.torch
OPTIONS = Prune(heads=2, ffn=32, hidden=24)


@pytest.fixture
def whole(tiny_family: Path, samples: Samples, tmp_path: Path) -> Path:
    """Each family with a classifier for the samples' labels."""
    torch.manual_seed(1)
    checkpoint.save(checkpoint.load(tiny_family, samples.labels), tmp_path / "whole")
    return tmp_path / "whole"


def test_every_family_is_cut_to_what_it_answers_behind_gates(whole: Path, samples: Samples, tmp_path: Path) -> None:
    small = checkpoint.load(whole)
    cut(small, OPTIONS, samples)
    wanted = silenced(checkpoint.load(whole), OPTIONS, samples)
    torch.testing.assert_close(logits(small, samples), wanted, rtol=1e-4, atol=1e-5)
    assert small.structure.hidden == 24
    assert all((one.heads, one.ffn) == (2, 32) for one in small.structure.layers)
    checkpoint.save(small, tmp_path / "small")
    torch.testing.assert_close(logits(checkpoint.load(tmp_path / "small"), samples), logits(small, samples))


@pytest.mark.parametrize("options", [Prune(layers=2, epochs=0), Prune(sparsity=0.5, epochs=0)], ids=["layers", "zeros"])
def test_every_family_loses_layers_and_weights(whole: Path, samples: Samples, tmp_path: Path, options: Prune) -> None:
    apply(Step(prune=options), whole, None, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    after = checkpoint.load(tmp_path / "out")
    assert len(after.structure.layers) == (options.layers or 3)
    if options.sparsity:
        layer = after.family.layers(after.module)[0]
        for one in (after.family.attention(layer).query, after.family.feed_forward(layer).down):
            assert int((one.weight == 0).sum()) == one.weight.numel() // 2
