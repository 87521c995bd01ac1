"""A language model as one ONNX graph that scores, reads and writes, over a cache of keys and values (see ``decoder``).

How many places the cache has, how many tokens are read and of which of them logits are ``chosen``, is the caller's to
say: with no places and all tokens chosen, the graph scores a text; a prompt is read with the last token chosen; and a
token at a time, it writes. So the weights are there once, and every precision is decided once.
"""

from __future__ import annotations

from typing import Any

from edgekit.convert import module
from edgekit.convert.decoder import Decoder
from edgekit.convert.job import signature_name
from edgekit.errors import MissingExtra
from edgekit.spec.manifest import DECODE, PREFILL, SCORE, Kind, Signature, Tensor
from edgekit.spec.quantize import Generation

try:
    import numpy as np
    import torch
    from onnx import helper
    from torch import nn
except ImportError as error:
    raise MissingExtra(error.name or "onnx", "onnx") from error

OUTPUTS = ("logits", "new_keys", "new_values")
#: How many tokens, chosen ones and places are traced: any number but 0 and 1, which torch takes for constants.
_TRACED = 4
_CACHE = ("seen", "keys_", "values_")


class Reading(nn.Module):  # type: ignore[misc]
    """``decoder`` with ``chosen`` int32 [m], the places of the tokens whose logits are wanted: logits [1, m, tokens]
    and the rows of all tokens."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        input_ids: torch.Tensor,
        chosen: torch.Tensor,
        seen: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
        places: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden, new_keys, new_values = self.decoder.read(input_ids, seen, keys, values, places)
        return self.decoder.classifier.logits(hidden.index_select(1, chosen)), new_keys, new_values


def exported(classifier: module.Classifier, longest: int, generation: Generation) -> Any:
    """torch's ONNX program of a language model, for texts of up to ``longest`` tokens and for ``generation``."""
    decoder = Decoder(classifier, max(longest, generation.context)).eval()
    sample = decoder.sample(_TRACED)
    length, chosen, room = (
        torch.export.Dim(name, min=2, max=decoder.context + 1) for name in ("length", "chosen", "room")
    )
    layers = len(sample["keys"])
    given = {
        "input_ids": (sample["input_ids"], {1: length}),
        "chosen": (torch.arange(_TRACED, dtype=torch.int32), {0: chosen}),
        "seen": (torch.zeros(1, _TRACED), {1: room}),
        "keys": ([one[:, :, :_TRACED] for one in sample["keys"]], [{2: room}] * layers),
        "values": ([one[:, :_TRACED] for one in sample["values"]], [{1: room}] * layers),
    }
    if "places" in sample:
        given["places"] = (sample["places"], {0: length})
    names = [[name] if name not in ("keys", "values") else _numbered(name, layers) for name in given]
    return torch.onnx.export(
        Reading(decoder),
        (),
        kwargs={name: one for name, (one, _) in given.items()},
        dynamo=True,
        input_names=[one for each in names for one in each],
        output_names=list(OUTPUTS),
        dynamic_shapes={name: sizes for name, (_, sizes) in given.items()},
        verbose=False,
    )


def describe(model: Any, generation: Generation) -> None:
    """Write into the file, in place, what its runtime has to know of its cache."""
    helper.set_model_props(model, {"edgekit.context": str(generation.context), "edgekit.chunk": str(generation.chunk)})


def signatures(
    classifier: module.Classifier, lengths: tuple[int, ...], generation: Generation
) -> tuple[Signature, ...]:
    """As the manifest has them: the one graph by what it is used for."""
    wanted: list[tuple[str, Kind, int, int, int, int]] = [
        (signature_name(one), SCORE, one, one, one, 0) for one in lengths
    ]
    context, chunk = generation.context, generation.chunk
    wanted += [(DECODE, DECODE, context, 1, 1, context), (f"{PREFILL}{chunk}", PREFILL, chunk, chunk, 1, context)]
    return tuple(
        Signature(name, length, *_tensors(classifier, tokens, chosen, room), kind)
        for name, kind, length, tokens, chosen, room in wanted
    )


def nothing_read(session: Any) -> dict[str, np.ndarray]:
    """The parts of a cache without places, by name; none where the graph knows no cache."""
    return {
        one.name: np.zeros([0 if isinstance(size, str) else size for size in one.shape], np.float32)
        for one in session.get_inputs()
        if one.name.startswith(_CACHE)
    }


def _tensors(
    classifier: module.Classifier, tokens: int, chosen: int, room: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    size, vocabulary = classifier.head_size, module.classes(classifier)
    attentions = [classifier.family.attention(one) for one in classifier.family.layers(classifier.model)]
    heads = [int(one.value.out_features) // size for one in attentions]
    inputs = [Tensor("input_ids", (1, tokens), "int32"), Tensor("chosen", (chosen,), "int32")]
    inputs += [Tensor("seen", (1, room), "float32")]
    inputs += [Tensor(f"keys_{number}", (one, size, room), "float32") for number, one in enumerate(heads)]
    inputs += [Tensor(f"values_{number}", (one, room, size), "float32") for number, one in enumerate(heads)]
    if classifier.family.embeddings(classifier.model).position is not None:
        inputs += [Tensor("places", (tokens,), "int32")]
    rows = (sum(heads), tokens, size)
    outputs = ((1, chosen, vocabulary), rows, rows)
    return tuple(inputs), tuple(Tensor(name, shape, "float32") for name, shape in zip(OUTPUTS, outputs, strict=True))


def _numbered(name: str, layers: int) -> list[str]:
    return [f"{name}_{number}" for number in range(layers)]
