"""The module as it is exported: int32 ids and mask in, logits out, with a mask that quantization can bear."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekit.errors import BuildError, MissingExtra
from edgekit.models import checkpoint as checkpoints

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

#: What padding adds to an attention score. transformers adds -3.4e38, which ruins every range it takes part in;
#: e^-100 is 0 beside any real token's weight in float32 all the same.
MASKED = -100.0


class Classifier(nn.Module):  # type: ignore[misc]
    """``input_ids`` and ``attention_mask`` int32 [batch, length] → logits float32 [batch, classes]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        # a mask with four dimensions is taken by transformers as it is: added to the scores
        mask = (1.0 - attention_mask.to(torch.float32))[:, None, None, :] * MASKED
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=mask).logits
        return logits


def load(folder: Path, lengths: Sequence[int]) -> Classifier:
    """The checkpoint in ``folder``, ready to export for texts of ``lengths`` tokens.

    Raises BuildError where a weight is not finite or a length is longer than the model's positions.
    """
    with hushed():
        model = checkpoints.load(folder).module
    positions = model.config.max_position_embeddings
    for length in lengths:
        if length > positions:
            raise BuildError(
                "this length bucket is longer than the model's positions",
                where=str(folder),
                given=length,
                allowed=f"up to {positions}",
                remedy="drop it from data.lengths",
            )
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise BuildError("a weight is not finite: the training went wrong", where=str(folder), given=name)
    # plain matrix products: the fused attention is exported as an operator no runtime has in int8
    model.set_attn_implementation("eager")
    classifier: Classifier = Classifier(model.requires_grad_(False)).eval()
    return classifier


def classes(module: Classifier) -> int:
    """How many logits the module gives."""
    return int(module.model.config.num_labels)


def parameters(module: nn.Module) -> int:
    """How many weights the module has."""
    return sum(one.numel() for one in module.parameters())


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep what converters print (progress bars, warnings) off stdout and stderr; errors still come as exceptions."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
