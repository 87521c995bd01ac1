from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pruning_kit import LENGTHS, cut, logits, silenced  # noqa: E402

from edgekit.compress import apply  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.structure import Layer  # noqa: E402
from edgekit.spec.prune import Prune  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_model_with_heads_and_neurons_cut_answers_as_one_with_their_weights_zero(
    teacher: Path, samples: Samples
) -> None:
    small, masked = checkpoint.load(teacher), checkpoint.load(teacher)
    cut(small, Prune(heads=2, ffn=24), samples)
    for ours, theirs in zip(small.family.layers(small.module), masked.family.layers(masked.module), strict=True):
        _zero_what_is_gone(
            small.family.attention(ours).output.weight, masked.family.attention(theirs).output.weight, 16
        )
        _zero_what_is_gone(
            small.family.feed_forward(ours).down.weight, masked.family.feed_forward(theirs).down.weight, 24
        )
    torch.testing.assert_close(logits(small, samples), logits(masked, samples), rtol=1e-5, atol=1e-5)
    assert small.structure.layers == (Layer(2, 24), Layer(2, 24))
    attention = small.family.attention(small.family.layers(small.module)[0])
    assert attention.query.weight.shape == attention.value.weight.shape == (16, 32)
    assert attention.output.weight.shape == (32, 16)


def _zero_what_is_gone(small: torch.Tensor, whole: torch.Tensor, columns: int) -> None:
    kept = {place for place in range(whole.shape[1]) for one in small.T if torch.equal(whole[:, place], one)}
    assert len(kept) == columns
    whole.data[:, [one for one in range(whole.shape[1]) if one not in kept]] = 0


@pytest.mark.parametrize("options", [Prune(heads=1, ffn=16), Prune(hidden=24), Prune(heads=2, ffn=32, hidden=16)])
def test_a_cut_model_answers_as_the_whole_one_with_its_gates_closed(
    teacher: Path, samples: Samples, options: Prune
) -> None:
    """For the stream that means: closed elements are written as zero, and norms ask the open ones only."""
    small, whole = checkpoint.load(teacher), checkpoint.load(teacher)
    cut(small, options, samples)
    torch.testing.assert_close(logits(small, samples), silenced(whole, options, samples), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(whole, samples), logits(checkpoint.load(teacher), samples))
    assert small.parameters < whole.parameters


def test_a_narrow_stream_narrows_every_matrix_on_it_and_loads_again(
    teacher: Path, samples: Samples, tmp_path: Path
) -> None:
    loaded = checkpoint.load(teacher)
    whole = {name: tuple(one.shape) for name, one in loaded.module.state_dict().items()}
    cut(loaded, Prune(hidden=16), samples)
    for name, one in loaded.module.state_dict().items():
        # 32 is the hidden width, and that of all heads together, which keep theirs
        inner = ("query", "key", "value")
        expected = [16 if width == 32 else width for width in whole[name]]
        if any(part in name for part in inner):
            expected[0] = 32
        if "attention.output.dense.weight" in name:
            expected = [16, 32]
        assert list(one.shape) == expected or "position_embeddings" in name, name
    assert loaded.structure.hidden == 16
    assert loaded.structure.head_size == 8
    checkpoint.save(loaded, tmp_path / "narrow")
    again = checkpoint.load(tmp_path / "narrow")
    assert again.structure == loaded.structure
    torch.testing.assert_close(logits(again, samples), logits(loaded, samples))


def test_layers_go_whole(teacher: Path, samples: Samples, tmp_path: Path) -> None:
    options = Prune(layers=1, heads=2, ffn=32, epochs=0, samples=32)
    done = apply(Step(prune=options), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    structure = checkpoint.read_structure(tmp_path / "out")
    assert structure.layers == (Layer(2, 32),)
    assert structure.teacher_layers in ((0,), (1,))
    assert done.epochs == 0
    assert done.parameters == checkpoint.load(tmp_path / "out").parameters
    assert any("ffn kept: 32 of 64" in one for one in done.remarks)


@pytest.mark.parametrize("criterion", ["taylor", "magnitude"])
def test_a_layer_that_does_nothing_goes_first(teacher: Path, samples: Samples, tmp_path: Path, criterion: str) -> None:
    loaded = checkpoint.load(teacher)
    for _, part in loaded.family.layers(loaded.module)[0].named_parameters():
        if part.dim() > 1:
            part.data.zero_()
    _pass_through(loaded, 0)
    checkpoint.save(loaded, tmp_path / "idle")
    before = logits(loaded, samples)
    options = Prune(layers=1, criterion=criterion, epochs=0, samples=64)  # type: ignore[arg-type]
    apply(Step(prune=options), tmp_path / "idle", None, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    after = checkpoint.load(tmp_path / "out")
    assert after.teacher_layers == (1,)
    torch.testing.assert_close(logits(after, samples), before, rtol=1e-3, atol=1e-3)


def _pass_through(loaded: checkpoint.Checkpoint, number: int) -> None:
    """A layer of which nothing but norms is left changes nothing where the norms before it were the same."""
    embeddings, layer = loaded.family.embeddings(loaded.module), loaded.family.layers(loaded.module)[number]
    for norm in (embeddings.norm, *vars(loaded.family.norms(layer)).values()):
        norm.weight.data.fill_(1)
        norm.bias.data.zero_()
    for one in (loaded.family.attention(layer), loaded.family.feed_forward(layer)):
        for part in (getattr(one, "output", None), getattr(one, "down", None)):
            if part is not None:
                part.bias.data.zero_()


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
    [
        (Prune(heads=5), "1 to 4"),
        (Prune(ffn=72), "1 to 64"),
        (Prune(hidden=40), "1 to 32"),
        (Prune(layers=3), "1 to 2"),
        (Prune(sparsity=0.5, block=(5, 1)), "divisors of 32 rows and 32 columns"),
    ],
)
def test_more_than_there_is(teacher: Path, samples: Samples, tmp_path: Path, options: Prune, allowed: str) -> None:
    with pytest.raises(BuildError, match=r"than the model has|does not divide") as caught:
        apply(Step(prune=options), teacher, teacher, samples, tmp_path / "out", lengths=LENGTHS, seed=7)
    assert caught.value.allowed == allowed
    assert not (tmp_path / "out").exists()
