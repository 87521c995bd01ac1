"""SmoothQuant (Xiao 2023): large channels of an activation are divided down, and the weights that read them take it up.

s = max|x|^α / max|w|^(1-α) for every input channel; x/s and w·s give the same product in float. Products that read one
tensor share their s. The paper puts 1/s into the layer norm before; in a post-norm model (BERT) that norm's output also
goes into the residual sum, which must not change, so the division stays an operator of its own: one pass over the
activation, 1 % of the product's work. It is a division because the converter would fold a multiplication back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from edgekit.convert import observe
from edgekit.convert.graph import linears
from edgekit.convert.module import Classifier
from edgekit.errors import MissingExtra

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtra("torch", "host") from error

LEAST = 1e-5


def smooth_(classifier: Classifier, ids: Sequence[Sequence[int]], alpha: float, names: Sequence[str]) -> None:
    """Smooth the products called ``names``, in place; float results stay the same but for rounding."""
    modules = {name: one for name, one in linears(classifier).items() if name in names}
    sizes = observe.channel_sizes(classifier, ids)
    for group in readers(classifier, ids):
        members = [modules[name] for name in group if name in modules]
        if not members:
            continue
        reading = torch.stack([one.weight.detach().abs().amax(0) for one in members]).amax(0).clamp_min(LEAST)
        divisor = (sizes[group[0]].clamp_min(LEAST) ** alpha / reading ** (1.0 - alpha)).clamp_min(LEAST)
        for one in members:
            one.weight.data = one.weight.data * divisor
            one.register_forward_pre_hook(_Division(divisor))


def readers(classifier: Classifier, ids: Sequence[Sequence[int]]) -> list[list[str]]:
    """The names of the products that read one and the same tensor, group by group."""
    groups: dict[tuple[object, ...], list[str]] = defaultdict(list)
    alive: list[torch.Tensor] = []

    def note(name: str, entering: torch.Tensor, leaving: torch.Tensor) -> None:
        # kept, so that no later tensor can have the place of this one
        alive.append(entering)
        groups[entering.data_ptr(), entering.shape, entering.stride()].append(name)

    observe.watch(classifier, ids[:1], note)
    return list(groups.values())


class _Division:
    """A hook that divides a product's input, also while it is being exported."""

    def __init__(self, divisor: torch.Tensor) -> None:
        self.divisor = divisor

    def __call__(self, module: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (args[0] / self.divisor,)
