"""The recipe's pruning: what is cut, by which measure, on which schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from edgekit.errors import SpecError
from edgekit.spec.bounds import at_least
from edgekit.spec.training import Recovery


@dataclass(frozen=True)
class Prune(Recovery):
    """Cut heads, feed-forward neurons and whole layers by first-order Taylor importance (Michel 2019), then recover.

    ``heads``, ``ffn`` and ``layers`` say how many each layer (the model, for ``layers``) keeps; left out means all.
    ``samples`` texts are what importance is measured on.
    """

    heads: Optional[int] = None
    ffn: Optional[int] = None
    layers: Optional[int] = None
    samples: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads is None and self.ffn is None and self.layers is None:
            raise SpecError("nothing to prune", where="$", allowed="heads, ffn, layers", remedy="ffn: 768")
        if self.ffn is not None and (self.ffn < 8 or self.ffn % 8):
            raise SpecError("widths are multiples of 8, as the kernels work", where="$.ffn", given=self.ffn)
        for name in ("heads", "layers"):
            if getattr(self, name) is not None:
                at_least(getattr(self, name), 1, name)
        at_least(self.samples, 8, "samples")
