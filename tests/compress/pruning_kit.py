"""What the tests of pruning share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgekit.data.samples import Samples
from edgekit.spec.prune import Prune

LENGTHS = (16, 24)


def logits(loaded: Any, samples: Samples) -> Any:
    """What the model answers on the test texts, [texts, classes]."""
    import torch

    from edgekit.compress.encoded import batch, encode

    data = encode(samples.test, loaded, LENGTHS[-1])
    one = batch(data, list(range(len(data))))
    with torch.inference_mode():
        return loaded.module(one.input_ids, one.attention_mask).logits


def cut(loaded: Any, options: Prune, samples: Samples) -> None:
    """Cut the widths at once, in place."""
    from edgekit.compress.encoded import encode
    from edgekit.compress.pruning import widths
    from edgekit.spec.progress import quiet

    data = encode(samples.train, loaded, LENGTHS[-1])
    with widths.prepared(loaded, options, data, 7, quiet) as planned:
        planned.close(1.0)
        chosen = [(gate.group, gate.kept) for gate in planned.gates]
    widths.shrink(loaded, chosen)


def silenced(loaded: Any, options: Prune, samples: Samples) -> Any:
    """The logits on the test texts of the model with its gates closed, uncut."""
    from edgekit.compress.encoded import encode
    from edgekit.compress.pruning import widths
    from edgekit.spec.progress import quiet

    data = encode(samples.train, loaded, LENGTHS[-1])
    with widths.prepared(loaded, options, data, 7, quiet) as planned:
        planned.close(1.0)
        return logits(loaded, samples)


def best(scores: Any, count: int) -> Sequence[int]:
    """The places of the ``count`` highest scores, rising."""
    return sorted(sorted(range(len(scores)), key=lambda one: -scores[one].item())[:count])
