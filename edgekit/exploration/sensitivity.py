"""The sensitivity scan: what each method alone costs at each layer, without retraining.

One layer is changed at a time, in place, the validation texts are answered, and the layer is put back: what is lost
says where that method must not go, and where it is free. Cuts are made by setting to zero what would be cut, which
answers the same; of heads and neurons the half goes whose weights' norms multiply to least.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit.compress import encoded, evaluate
from edgekit.convert.faked import snapped
from edgekit.data.samples import Sample
from edgekit.errors import MissingExtra
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.progress import Report, quiet
from edgekit.spec.trial import Cell

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtra("torch", "host") from error

#: Training texts that the ranges of static activations are taken from.
CALIBRATION = 64
Projections = dict[str, Any]


class DoesNotApply(Exception):
    """This method has no meaning at this layer; the message says why."""


def scan(
    folder: Path,
    train: Sequence[Sample],
    validation: Sequence[Sample],
    length: int,
    report: Report = quiet,
) -> tuple[float, tuple[Cell, ...]]:
    """The accuracy of the checkpoint in per cent, and a cell for each method and layer, method by method."""
    loaded = checkpoints.load(folder)
    data = encoded.encode(validation, loaded, length)
    seen = encoded.encode(list(train[:CALIBRATION]), loaded, length)
    whole = evaluate.accuracy(loaded.module, data)
    layers = list(loaded.family.layers(loaded.module))
    cells = []
    for place, (method, change) in enumerate(METHODS.items()):
        for number in range(len(layers)):
            report(f"{method}, layer {number}", (place * len(layers) + number) / (len(METHODS) * len(layers)))
            cells.append(_cell(loaded, method, change, number, seen, data, whole))
    return whole, tuple(cells)


def _cell(loaded: Checkpoint, method: str, change: Any, number: int, seen: Any, data: Any, whole: float) -> Cell:
    try:
        with torch.no_grad(), change(loaded, number, seen):
            return Cell(method, number, round(whole - evaluate.accuracy(loaded.module, data), 4))
    except DoesNotApply as reason:
        return Cell(method, number, None, str(reason))


def _projections(loaded: Checkpoint, number: int) -> Projections:
    layer = list(loaded.family.layers(loaded.module))[number]
    attention, feed_forward = loaded.family.attention(layer), loaded.family.feed_forward(layer)
    found = {name: getattr(attention, name) for name in ("query", "key", "value", "output")}
    found |= {name: getattr(feed_forward, name) for name in ("up", "down")}
    for name, one in found.items():
        if not isinstance(one, nn.Linear):
            raise DoesNotApply(f"its {name} projection is a {type(one).__name__}")
    return found


@contextlib.contextmanager
def _put_back(parts: Projections) -> Iterator[None]:
    kept = {name: one.weight.detach().clone() for name, one in parts.items()}
    try:
        yield
    finally:
        for name, one in parts.items():
            one.weight.data.copy_(kept[name])


@contextlib.contextmanager
def _half_the_heads(loaded: Checkpoint, number: int, seen: Any) -> Iterator[None]:
    parts = _projections(loaded, number)
    size = loaded.family.head_size(loaded.module)
    heads = parts["query"].out_features // size
    if heads < 2:
        raise DoesNotApply("it has one head")
    norms = parts["value"].weight.reshape(heads, -1).norm(dim=1)
    norms = norms * parts["output"].weight.reshape(-1, heads, size).norm(dim=(0, 2))
    with _put_back(parts):
        for head in norms.argsort()[: heads // 2].tolist():
            parts["output"].weight[:, head * size : (head + 1) * size] = 0
        yield


@contextlib.contextmanager
def _half_the_neurons(loaded: Checkpoint, number: int, seen: Any) -> Iterator[None]:
    parts = _projections(loaded, number)
    norms = parts["up"].weight.norm(dim=1) * parts["down"].weight.norm(dim=0)
    with _put_back(parts):
        parts["down"].weight[:, norms.argsort()[: len(norms) // 2]] = 0
        yield


@contextlib.contextmanager
def _without_the_layer(loaded: Checkpoint, number: int, seen: Any) -> Iterator[None]:
    layers = list(loaded.family.layers(loaded.module))
    if len(layers) < 2:
        raise DoesNotApply("it is the only layer")
    loaded.family.set_layers(loaded.module, layers[:number] + layers[number + 1 :])
    try:
        yield
    finally:
        loaded.family.set_layers(loaded.module, layers)


@contextlib.contextmanager
def _half_the_rank(loaded: Checkpoint, number: int, seen: Any) -> Iterator[None]:
    """Each matrix becomes the product of two that hold half as many weights (truncated SVD)."""
    parts = _projections(loaded, number)
    with _put_back(parts):
        for one in parts.values():
            rows, columns = one.weight.shape
            rank = max(1, rows * columns // (2 * (rows + columns)))
            left, values, right = torch.linalg.svd(one.weight.detach(), full_matrices=False)
            one.weight.data.copy_(left[:, :rank] * values[:rank] @ right[:rank])
        yield


@contextlib.contextmanager
def _half_the_weights(loaded: Checkpoint, number: int, seen: Any) -> Iterator[None]:
    """The half of each matrix with the least magnitudes becomes zero."""
    parts = _projections(loaded, number)
    with _put_back(parts):
        for one in parts.values():
            flat = one.weight.detach().abs().flatten()
            one.weight.data[one.weight.abs() <= flat.kthvalue(flat.numel() // 2).values] = 0
        yield


def _weights(bits: int) -> Callable[..., contextlib.AbstractContextManager[None]]:
    """Weights in so many bits, symmetric, one scale an output channel; activations stay float."""

    @contextlib.contextmanager
    def change(loaded: Checkpoint, number: int, seen: Any) -> Iterator[None]:
        parts = _projections(loaded, number)
        with _put_back(parts):
            for one in parts.values():
                one.weight.data.copy_(_rounded(one.weight.detach(), one.weight.abs().amax(1, keepdim=True), bits))
            yield

    return change


@contextlib.contextmanager
def _dynamic(loaded: Checkpoint, number: int, seen: Any) -> Iterator[None]:
    """Int8 weights, and inputs in int8 over each token's own range, as the kernels have them."""

    def hook(_: Any, inputs: Any) -> Any:
        low, high = inputs[0].amin(-1, keepdim=True), inputs[0].amax(-1, keepdim=True)
        return (snapped(inputs[0], low.clamp_max(0.0), high.clamp_min(0.0)), *inputs[1:])

    parts = _projections(loaded, number)
    with _weights(8)(loaded, number, seen), _hooked([one.register_forward_pre_hook(hook) for one in parts.values()]):
        yield


@contextlib.contextmanager
def _static(loaded: Checkpoint, number: int, seen: Any) -> Iterator[None]:
    """Int8 weights, and inputs and outputs in int8 between the extremes of a few training texts."""
    parts = _projections(loaded, number)
    reach: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def watch(name: str) -> Any:
        def hook(_: Any, inputs: Any, output: Any) -> None:
            for side, one in (("in", inputs[0]), ("out", output)):
                low, high = reach.get(f"{name} {side}", (torch.zeros(()), torch.zeros(())))
                reach[f"{name} {side}"] = torch.minimum(low, one.min()), torch.maximum(high, one.max())

        return hook

    def rounded(name: str) -> Any:
        return lambda _, inputs: (snapped(inputs[0], *reach[f"{name} in"]), *inputs[1:])

    def rounded_out(name: str) -> Any:
        return lambda _, inputs, output: snapped(output, *reach[f"{name} out"])

    with _hooked([one.register_forward_hook(watch(name)) for name, one in parts.items()]):
        evaluate.told(loaded.module, seen)
    hooks = [one.register_forward_pre_hook(rounded(name)) for name, one in parts.items()]
    hooks += [one.register_forward_hook(rounded_out(name)) for name, one in parts.items()]
    with _weights(8)(loaded, number, seen), _hooked(hooks):
        yield


@contextlib.contextmanager
def _hooked(hooks: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _rounded(values: torch.Tensor, most: torch.Tensor, bits: int) -> torch.Tensor:
    """On a symmetric grid of ``bits`` that reaches to ``most``."""
    steps = 2 ** (bits - 1) - 1
    scale = most.clamp_min(1e-12) / steps
    return torch.clamp(torch.round(values / scale), -steps, steps) * scale


METHODS: dict[str, Any] = {
    "half the heads": _half_the_heads,
    "half the neurons": _half_the_neurons,
    "layer dropped": _without_the_layer,
    "half the rank": _half_the_rank,
    "half the weights": _half_the_weights,
    "int8 weights": _weights(8),
    "int4 weights": _weights(4),
    "int8 dynamic": _dynamic,
    "int8 static": _static,
}
