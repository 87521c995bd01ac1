"""The module rewritten for the TFLite converter: the same function, in a form that comes out lean and unfolded."""

from __future__ import annotations

from edgekit.convert import module
from edgekit.errors import MissingExtra

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtra("torch", "host") from error


class Norm(nn.Module):  # type: ignore[misc]
    """Layer norm over the last dimension in nine operators instead of fourteen.

    The affine part is ``bias - x·(-weight)``: the converter would fold ``x·weight + bias`` into every matrix product
    that reads it, and the file's products would no longer be the module's: neither their weights nor their inputs.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        width = norm.normalized_shape[-1]
        weight = torch.ones(width) if norm.weight is None else norm.weight.detach()
        self.epsilon = norm.eps
        self.register_buffer("negated", -weight)
        self.register_buffer("bias", torch.zeros(width) if norm.bias is None else norm.bias.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        spread = (centred * centred).mean(-1, keepdim=True)
        return self.bias - centred * torch.rsqrt(spread + self.epsilon) * self.negated


def unfold_(classifier: module.Classifier) -> None:
    """Replace every layer norm over one dimension, in place."""
    for parent in list(classifier.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.LayerNorm) and len(child.normalized_shape) == 1:
                setattr(parent, name, Norm(child))


def linears(classifier: module.Classifier) -> dict[str, nn.Linear]:
    """Every ``nn.Linear`` that takes part in an answer, by its dotted name in the checkpoint's module, in the order of
    the first call. Those that the export derives from others have names of the classifier's own."""
    called: dict[str, nn.Linear] = {}

    def note(name: str, one: nn.Linear) -> None:
        called.setdefault(name.removeprefix("model."), one)

    hooks = [
        one.register_forward_pre_hook(lambda one, _, name=name: note(name, one))
        for name, one in classifier.named_modules()
        if isinstance(one, nn.Linear)
    ]
    try:
        with torch.inference_mode():
            classifier(torch.ones(1, 2, dtype=torch.int32), torch.ones(1, 2, dtype=torch.int32))
    finally:
        for hook in hooks:
            hook.remove()
    return called
