from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import apply, prune  # noqa: E402
from edgekit.compress.encoded import batch, encode  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.structure import Layer  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402

pytestmark = pytest.mark.torch
LENGTHS = (16, 24)


def logits(loaded: checkpoint.Checkpoint, samples: Samples) -> torch.Tensor:
    data = encode(samples.test, loaded, LENGTHS[-1])
    one = batch(data, list(range(len(data))))
    with torch.inference_mode():
        return loaded.module(one.input_ids, one.attention_mask).logits


def test_cut_is_masked(teacher: Path, samples: Samples) -> None:
    """A module without parts answers as one whose parts are silenced."""
    small, masked = checkpoint.load(teacher), checkpoint.load(teacher)
    options = Prune(heads=2, ffn=24)
    found = prune.importance(masked, encode(samples.train, masked, LENGTHS[-1]))
    size = masked.family.head_size(masked.module)
    for number, layer in enumerate(masked.family.layers(masked.module)):
        heads = prune.top(found.heads[number], 2)
        silent = [one for one in range(4 * size) if one // size not in heads]
        masked.family.attention(layer).output.weight.data[:, silent] = 0
        gone = [one for one in range(64) if one not in prune.top(found.ffn[number], 24)]
        masked.family.feed_forward(layer).down.weight.data[:, gone] = 0
    prune.cut(small, options, samples.train, LENGTHS[-1])
    torch.testing.assert_close(logits(small, samples), logits(masked, samples), rtol=1e-5, atol=1e-5)
    assert small.structure.layers == (Layer(2, 24), Layer(2, 24))


def test_importance_is_the_loss_gradient_of_a_gate(teacher: Path, samples: Samples) -> None:
    """Against finite differences: scale one part's contribution by 1 ± h, for one text."""
    loaded = checkpoint.load(teacher)
    loaded.module.double()
    data = encode(samples.train[:1], loaded, LENGTHS[-1])
    one = batch(data, [0])
    loaded.module.float()
    found = prune.importance(loaded, data)
    loaded.module.double()
    layer = next(iter(loaded.family.layers(loaded.module)))
    down = loaded.family.feed_forward(layer).down.weight
    output = loaded.family.attention(layer).output.weight

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

    assert found.ffn[0][5].item() == pytest.approx(slope(down, slice(5, 6)), rel=1e-2, abs=1e-6)
    assert found.heads[0][1].item() == pytest.approx(slope(output, slice(8, 16)), rel=1e-2, abs=1e-6)


def test_a_useless_part_goes_first(teacher: Path, samples: Samples) -> None:
    loaded = checkpoint.load(teacher)
    layers = list(loaded.family.layers(loaded.module))
    loaded.family.feed_forward(layers[1]).down.weight.data[:, 40:] = 0
    loaded.family.attention(layers[0]).output.weight.data[:, 16:24] = 0
    found = prune.importance(loaded, encode(samples.train, loaded, LENGTHS[-1]))
    assert max(prune.top(found.ffn[1], 40)) == 39
    assert prune.top(found.heads[0], 3) == [0, 1, 3]


def test_layers_go_whole(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    options = Prune(layers=1, heads=2, ffn=32, epochs=0, samples=32)
    done = apply(Step(prune=options), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    structure = checkpoint.read_structure(tmp_path / "out")
    assert structure.layers == (Layer(2, 32),)
    assert structure.teacher_layers in ((0,), (1,))
    assert done.epochs == 0
    assert done.parameters == checkpoint.load(tmp_path / "out").parameters


def test_recovery_brings_accuracy_back(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    raw = Prune(heads=1, ffn=8, epochs=0, samples=32)
    recovered = Prune(heads=1, ffn=8, epochs=4, learning_rate=2e-3, batch=8, samples=32)
    before, after = (
        apply(Step(prune=one), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
        for one in (raw, recovered)
    )
    assert after.losses[-1] < after.losses[0]
    assert after.validation_accuracy > before.validation_accuracy or after.validation_accuracy == 100.0


@pytest.mark.parametrize(
    ("options", "allowed"),
    [(Prune(heads=5), "1 to 4"), (Prune(ffn=72), "1 to 64"), (Prune(layers=3), "1 to 2")],
)
def test_more_than_there_is(teacher: Path, samples: Samples, tmp_path: Path, options: Prune, allowed: str) -> None:
    with pytest.raises(BuildError, match="than the model has") as caught:
        apply(Step(prune=options), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    assert caught.value.allowed == allowed
