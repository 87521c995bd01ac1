"""The sensitivity scan changes one layer at a time, and leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from edgekit.compress import encoded, evaluate  # noqa: E402
from edgekit.data.samples import Sample  # noqa: E402
from edgekit.exploration import sensitivity  # noqa: E402
from edgekit.models import checkpoint as checkpoints  # noqa: E402
from edgekit.models.checkpoint import Checkpoint  # noqa: E402

pytestmark = pytest.mark.torch
WORDS = ("cat", "dog", "sun", "rain", "run", "never", "used")
SAMPLES = [Sample(f"{one} {other}", number % 3) for number, one in enumerate(WORDS) for other in WORDS]


@pytest.fixture
def loaded(tiny_bert: Path) -> Checkpoint:
    torch.manual_seed(1)
    return checkpoints.load(tiny_bert, ["a", "b", "c"])


@pytest.fixture
def texts(loaded: Checkpoint) -> encoded.Encoded:
    return encoded.encode(SAMPLES, loaded, 16)


@pytest.mark.parametrize("method", sensitivity.METHODS)
def test_every_method_changes_the_answers_and_puts_the_layer_back(
    loaded: Checkpoint, texts: encoded.Encoded, method: str
) -> None:
    before, print_before = evaluate.logits(loaded.module, texts), checkpoints.fingerprint(loaded)
    with torch.no_grad(), sensitivity.METHODS[method](loaded, 1, texts):
        changed = evaluate.logits(loaded.module, texts)
    assert not torch.equal(changed, before)
    assert torch.equal(evaluate.logits(loaded.module, texts), before)
    assert checkpoints.fingerprint(loaded) == print_before


def test_fewer_bits_and_activations_in_int8_cost_more(loaded: Checkpoint, texts: encoded.Encoded) -> None:
    before = evaluate.logits(loaded.module, texts)

    def off(method: str) -> float:
        with torch.no_grad(), sensitivity.METHODS[method](loaded, 0, texts):
            return float((evaluate.logits(loaded.module, texts) - before).norm())

    assert off("int8 weights") < off("int4 weights") < off("layer dropped")
    assert off("int8 weights") < off("int8 static")
    assert off("int8 dynamic") < off("int8 static"), "a range of its own for every token"


def test_half_the_heads_are_really_silent(loaded: Checkpoint, texts: encoded.Encoded) -> None:
    layer = next(iter(loaded.family.layers(loaded.module)))
    size = loaded.family.head_size(loaded.module)
    with torch.no_grad(), sensitivity.METHODS["half the heads"](loaded, 0, texts):
        columns = loaded.family.attention(layer).output.weight.reshape(-1, 4, size)
        assert int((columns.abs().sum(dim=(0, 2)) == 0).sum()) == 2


def test_a_scan_has_a_cell_for_each_method_and_layer(loaded: Checkpoint, tmp_path: Path) -> None:
    checkpoints.save(loaded, tmp_path / "saved")
    accuracy, cells = sensitivity.scan(tmp_path / "saved", SAMPLES, SAMPLES, 16)
    assert [(one.method, one.layer) for one in cells] == [(m, n) for m in sensitivity.METHODS for n in (0, 1)]
    whole = evaluate.accuracy(loaded.module, encoded.encode(SAMPLES, loaded, 16))
    assert accuracy == whole
    layers = list(loaded.family.layers(loaded.module))
    loaded.family.set_layers(loaded.module, layers[1:])
    without = evaluate.accuracy(loaded.module, encoded.encode(SAMPLES, loaded, 16))
    dropped = next(one for one in cells if (one.method, one.layer) == ("layer dropped", 0))
    assert dropped.drop == pytest.approx(whole - without, abs=1e-3)


def test_the_only_layer_cannot_be_dropped(loaded: Checkpoint, tmp_path: Path) -> None:
    loaded.family.set_layers(loaded.module, list(loaded.family.layers(loaded.module))[:1])
    loaded.teacher_layers = (0,)
    checkpoints.save(loaded, tmp_path / "saved")
    _, cells = sensitivity.scan(tmp_path / "saved", SAMPLES, SAMPLES, 16)
    dropped = next(one for one in cells if one.method == "layer dropped")
    assert (dropped.drop, dropped.reason) == (None, "it is the only layer")
