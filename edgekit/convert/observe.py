"""What passes through the matrix products of a module while it reads calibration texts.

Texts are run without padding: what stands at padded positions is read by nobody and would only widen the ranges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from edgekit.convert.graph import linears
from edgekit.convert.histogram import Histogram
from edgekit.convert.module import Classifier
from edgekit.errors import MissingExtra
from edgekit.spec.progress import Report, quiet

try:
    import torch
except ImportError as error:
    raise MissingExtra("torch", "host") from error

#: Called with the module's name, its input [..., in] and its output [..., out].
Watcher = Callable[[str, torch.Tensor, torch.Tensor], None]


def batches(ids: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """int32 [texts, length]: all texts of one length together, shortest first."""
    by_length: dict[int, list[Sequence[int]]] = defaultdict(list)
    for one in ids:
        by_length[len(one)].append(one)
    return [torch.tensor(by_length[length], dtype=torch.int32) for length in sorted(by_length)]


def logits(classifier: Classifier, ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Logits float32 [texts, classes], the texts in the order of :func:`batches`; of a language model [tokens,
    classes], their tokens."""
    with torch.inference_mode():
        rows = [classifier(batch, torch.ones_like(batch)).flatten(0, -2).numpy() for batch in batches(ids)]
    found: np.ndarray = np.concatenate(rows)
    return found


def histograms(
    classifier: Classifier, ids: Sequence[Sequence[int]], report: Report = quiet
) -> tuple[dict[str, Histogram], dict[str, Histogram]]:
    """Histograms of what goes into every ``nn.Linear`` and of what comes out, by the module's name."""
    inputs: dict[str, Histogram] = defaultdict(Histogram)
    outputs: dict[str, Histogram] = defaultdict(Histogram)

    def count(name: str, entering: torch.Tensor, leaving: torch.Tensor) -> None:
        inputs[name].add(entering.numpy())
        outputs[name].add(leaving.numpy())

    with torch.inference_mode(), watching(classifier, count):
        for number, one in enumerate(ids, 1):
            batch = torch.tensor([list(one)], dtype=torch.int32)
            classifier(batch, torch.ones_like(batch))
            report(f"calibrating on {len(ids)} texts", number / len(ids))
    return dict(inputs), dict(outputs)


def moments(classifier: Classifier, ids: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """The mean of xᵀx [in, in] over all tokens, by the name of the ``nn.Linear`` that reads x."""
    sums: dict[str, torch.Tensor] = {}
    rows: dict[str, int] = defaultdict(int)

    def add(name: str, entering: torch.Tensor, leaving: torch.Tensor) -> None:
        x = entering.reshape(-1, entering.shape[-1])
        sums[name] = sums.get(name, 0.0) + x.T @ x
        rows[name] += len(x)

    watch(classifier, ids, add)
    return {name: one / rows[name] for name, one in sums.items()}


def watch(classifier: Classifier, ids: Sequence[Sequence[int]], watcher: Watcher) -> None:
    """Run the texts, a batch a length, past ``watcher``."""
    with torch.inference_mode(), watching(classifier, watcher):
        for batch in batches(ids):
            classifier(batch, torch.ones_like(batch))


@contextmanager
def watching(classifier: Classifier, watcher: Watcher) -> Iterator[None]:
    hooks = [
        one.register_forward_hook(lambda _, args, output, name=name: watcher(name, args[0], output))
        for name, one in linears(classifier).items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def channel_sizes(classifier: Classifier, ids: Sequence[Sequence[int]]) -> Mapping[str, torch.Tensor]:
    """The largest |x| of every input channel [in], by the name of the ``nn.Linear`` that reads x."""
    found: dict[str, torch.Tensor] = {}

    def widen(name: str, entering: torch.Tensor, leaving: torch.Tensor) -> None:
        sizes = entering.reshape(-1, entering.shape[-1]).abs().amax(0)
        found[name] = torch.maximum(found[name], sizes) if name in found else sizes

    watch(classifier, ids, widen)
    return found
