"""A last layer that computes one token gives the same logits and the same gradients, and costs less."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.compress import accuracy, apply, distill, student  # noqa: E402
from edgekit.compress.reading import first_token_only  # noqa: E402
from edgekit.data.samples import Samples  # noqa: E402
from edgekit.models import checkpoint  # noqa: E402
from edgekit.models.checkpoint import Checkpoint  # noqa: E402
from edgekit.spec.distill import Distill, Student  # noqa: E402
from edgekit.spec.recipe import Step  # noqa: E402
from edgekit.spec.training import Losses  # noqa: E402

pytestmark = pytest.mark.torch
IDS = torch.tensor([[3, 7, 9, 12, 8, 4], [3, 5, 4, 0, 0, 0], [3, 11, 6, 4, 0, 0]])


def loaded(folder: Path) -> Checkpoint:
    torch.manual_seed(5)
    found = checkpoint.load(folder, ("a", "b", "c"))
    student.drop(found, 0.0)
    return found


def learned(one: Checkpoint, mask: Any) -> tuple[Any, dict[str, Any]]:
    """The logits, and every gradient of a loss of them."""
    one.module.train().zero_grad(set_to_none=True)
    logits = one.module(IDS, mask).logits
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2, 1])).backward()
    return logits.detach(), {
        name: part.grad.clone() for name, part in one.module.named_parameters() if part.grad is not None
    }


@pytest.mark.parametrize("padded", [True, False])
def test_logits_and_gradients_are_those_of_all_tokens(tiny_family: Path, padded: bool) -> None:
    one = loaded(tiny_family)
    mask = (IDS != 0).long() if padded else torch.ones_like(IDS)
    before, gradients = learned(one, mask)
    with first_token_only(one) as able:
        after, again = learned(one, mask)
    # a decoder reads its last token, and all of ALBERT's layers are one
    assert able == (tiny_family.name in ("bert", "distilbert", "roberta"))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)
    assert set(again) == set(gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-4, atol=1e-6)


def test_only_one_token_passes_the_last_layers_matrices(tiny_bert: Path) -> None:
    one = loaded(tiny_bert)
    layers = one.family.layers(one.module)
    seen = []
    for layer in layers:
        one.family.feed_forward(layer).up.register_forward_hook(
            lambda _, inputs, output: seen.append(inputs[0].shape[1])
        )
    mask = torch.ones_like(IDS)
    with first_token_only(one):
        one.module(IDS, mask)
    one.module(IDS, mask)
    assert seen == [6, 1, 6, 6]


def test_what_drops_out_or_was_replaced_computes_all_tokens(tiny_bert: Path) -> None:
    one = loaded(tiny_bert)
    student.drop(one, 0.1)
    with first_token_only(one) as able:
        assert not able
    student.drop(one, 0.0)
    last = one.family.layers(one.module)[-1]

    class Other(torch.nn.Linear):
        pass

    last.attention.self.key = Other(32, 32)
    with first_token_only(one) as able:
        assert not able


def test_the_layer_is_as_it_was_also_after_an_error(tiny_bert: Path) -> None:
    one = loaded(tiny_bert)
    with pytest.raises(KeyboardInterrupt), first_token_only(one):
        raise KeyboardInterrupt
    assert "forward" not in vars(one.family.layers(one.module)[-1])


@pytest.mark.parametrize(
    ("losses", "short"), [(Losses(), True), (Losses(hidden=1.0), False), (Losses(fold=1.0), False)]
)
def test_a_student_trains_so_where_no_loss_looks_inside(
    teacher: Path, samples: Samples, tmp_path: Path, losses: Losses, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    @contextlib.contextmanager
    def watched(one: Checkpoint) -> Any:
        with first_token_only(one) as able:
            told.append(able)
            yield able

    monkeypatch.setattr(distill, "first_token_only", watched)
    options = Distill(student=Student(dropout=0.0), epochs=1, batch=32, losses=losses, learning_rate=1e-3)
    done = apply(Step(distill=options), teacher, teacher, samples, tmp_path / "out", lengths=(16, 24), seed=7)
    assert told == ([True] if short else [])
    # judged by one token of the last layer, loaded again with all of them
    assert done.validation_accuracy == accuracy(tmp_path / "out", samples.validation, (24,))
