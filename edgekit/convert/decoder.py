"""A language model as it generates: some tokens and what is kept of those before them in, the next token's logits out.
A classifier that looks back only follows a stream likewise: out come the logits of what it is about so far.

Of each token that was read a layer keeps its key and its value (the KV cache), so that a further token costs one pass
over the weights and one look at the cache, however many tokens there were. The cache has a fixed capacity, and empty
places are masked. It stays where it is: a call answers the rows of its own tokens alone, for the caller to put in, and
attention takes the scores of both apart, so that no operator copies the cache. Keys lie transposed, [heads, size,
places], since that is how a score reads them.

Where a family has a table of positions (GPT-2), a token's place in the cache is its position, and the text ends where
the cache does. Where scores know distances (Transformer-XL), the newest token stands last, and the oldest ones fall
out: this is the segment recurrence of Dai et al. (2019), whose memory of hidden states gives these very keys and
values, and a text may have any length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from edgekit.convert import module
from edgekit.convert.module import Classifier
from edgekit.convert.tokens import padded
from edgekit.errors import MissingExtra
from edgekit.models.families import Attention
from edgekit.models.relative import shifted
from edgekit.spec.manifest import DECODE, PREFILL, Signature, Tensor
from edgekit.spec.quantize import Generation

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

#: What an empty place of the cache adds to a score: e to its power is 0. No range depends on it, for scores are float.
_EMPTY = -10000.0
#: Runs one of a file's signatures with these inputs.
Call = Callable[[Signature, dict[str, np.ndarray]], dict[str, np.ndarray]]
_TYPES = {torch.int32: "int32", torch.float32: "float32"}


class Decoder(nn.Module):  # type: ignore[misc]
    """The layers of a language model's ``classifier`` over a cache of ``context`` tokens.

    ``input_ids`` int32 [1, length], of which ``attention_mask`` says the real ones (left out where all are); ``places``
    int32 [length], their positions, in a family that has such; ``seen`` float32 [1, context], 1 where the cache holds a
    token; of each layer ``keys`` float32 [heads, size, context] and ``values`` [heads, context, size].

    → ``logits`` float32 [1, tokens] of the token after the last real one (of a classifier [1, classes], of all until
    it), and ``new_keys`` and ``new_values`` float32 [heads of all layers, length, size], the rows of these tokens.
    """

    def __init__(self, classifier: Classifier, context: int) -> None:
        super().__init__()
        self.classifier, self.context = classifier, context
        family = classifier.family
        self.attentions = [family.attention(one) for one in family.layers(classifier.model)]
        parts = family.embeddings(classifier.model)
        self.position = None
        if parts.position is not None:
            rows = parts.position.weight[parts.first : parts.first + context].detach()
            self.position = nn.Embedding.from_pretrained(rows.clone())

    def forward(
        self,
        input_ids: torch.Tensor,
        seen: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
        places: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        hidden, new_keys, new_values = self.read(input_ids, seen, keys, values, places)
        if attention_mask is not None:
            hidden = module.last_real(hidden, attention_mask.to(torch.float32))
        return {"logits": self.classifier.logits(hidden[:, 0]), "new_keys": new_keys, "new_values": new_values}

    def read(
        self,
        input_ids: torch.Tensor,
        seen: torch.Tensor,
        keys: list[torch.Tensor],
        values: list[torch.Tensor],
        places: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The last layer's states of all tokens [1, length, hidden], and their rows of keys and values."""
        whole, length, context = self.classifier, input_ids.shape[1], seen.shape[1]
        hidden = whole.embedded(input_ids, None if self.position is None else self.position(places))
        empty = ((1.0 - seen) * _EMPTY)[:, None].expand(1, length, context)
        mask = torch.cat([empty, module.later(length)[0]], -1)
        rows: list[tuple[torch.Tensor, torch.Tensor]] = []

        def attended(
            attention: Attention, asking: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor
        ) -> torch.Tensor:
            number = len(rows)
            query, key, value = (
                whole.by_head(one(given))[0].transpose(0, 1)
                for one, given in ((attention.query, asking), (attention.key, hidden), (attention.value, hidden))
            )
            rows.append((key, value))
            scores = torch.cat([query @ keys[number], query @ key.transpose(1, 2)], -1)
            if attention.position is not None:
                scores = scores + shifted(attention.position(query, scores.shape[-1]))
            weights = torch.softmax(scores * attention.scaling + mask, dim=-1)
            before, own = weights[..., :context], weights[..., context:]
            return (before @ values[number] + own @ value).transpose(0, 1).flatten(1)[None]

        for layer in whole.family.layers(whole.model):
            hidden = whole.layer(layer, hidden, hidden, mask, attended)
        new_keys, new_values = (torch.cat(each) for each in zip(*rows, strict=True))
        return hidden, new_keys, new_values

    def sample(self, length: int) -> dict[str, Any]:
        """Arguments for ``length`` tokens: of one token none is padding."""
        size = self.classifier.head_size
        heads = [int(one.value.out_features) // size for one in self.attentions]
        given: dict[str, Any] = {"input_ids": torch.ones(1, length, dtype=torch.int32)}
        if self.position is not None:
            given["places"] = torch.zeros(length, dtype=torch.int32)
        if length > 1:
            given["attention_mask"] = torch.ones(1, length, dtype=torch.int32)
        given["seen"] = torch.zeros(1, self.context)
        given["keys"] = [torch.zeros(one, size, self.context) for one in heads]
        given["values"] = [torch.zeros(one, self.context, size) for one in heads]
        return given


def lengths(asked: Generation) -> dict[str, int]:
    """The entry points for generation and how many tokens each reads. ``decode`` comes first in a file: a runtime can
    write into the inputs of the first one where they are. One other is enough, and saves memory: runtimes pack the
    weights for each entry point anew."""
    return {DECODE: 1, f"{PREFILL}{asked.chunk}": asked.chunk}


def signatures(decoder: Decoder, asked: Generation) -> tuple[Signature, ...]:
    """As the manifest has them."""
    tokens, size = module.classes(decoder.classifier), decoder.classifier.head_size
    found = []
    for name, length in lengths(asked).items():
        given = decoder.sample(length)
        inputs: dict[str, torch.Tensor] = {key: one for key, one in given.items() if key not in ("keys", "values")}
        for each in ("keys", "values"):
            inputs |= {f"{each}_{number}": one for number, one in enumerate(given[each])}
        rows = (sum(one.shape[0] for one in given["values"]), length, size)
        found.append(
            Signature(
                name=name,
                length=decoder.context if name == DECODE else length,
                inputs=tuple(Tensor(key, tuple(one.shape), _TYPES[one.dtype]) for key, one in inputs.items()),
                outputs=(
                    Tensor("logits", (1, tokens), "float32"),
                    Tensor("new_keys", rows, "float32"),
                    Tensor("new_values", rows, "float32"),
                ),
                kind=DECODE if name == DECODE else PREFILL,
            )
        )
    return tuple(found)


def each(call: Call, found: Sequence[Signature], texts: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """Of each text, whose two or more token ids are given, the logits [tokens it went on for, vocabulary] as a file
    gives them that read its first half at once (or as much of it as it can) and the rest token by token."""
    decode, prefill = (next(one for one in found if one.kind == kind) for kind in (DECODE, PREFILL))
    for ids in texts:
        at, rows = min(len(ids) // 2, prefill.length), list[np.ndarray]()
        cache: dict[str, np.ndarray] = {one.name: np.zeros(one.shape, one.dtype) for one in decode.inputs}
        for signature, start, end in [(prefill, 0, at), *((decode, one, one + 1) for one in range(at, len(ids)))]:
            given = {one.name: cache[one.name] for one in decode.inputs} | dict(_tokens(signature, ids, start, end))
            answer = call(signature, given)
            _keep(cache, answer, start, end)
            rows.append(answer["logits"].reshape(-1))
        yield np.stack(rows)


def _tokens(signature: Signature, ids: Sequence[int], start: int, end: int) -> Iterator[tuple[str, np.ndarray]]:
    length = next(one.shape[1] for one in signature.inputs if one.name == "input_ids")
    names = {one.name for one in signature.inputs}
    yield from ((name, one) for name, one in padded(ids[start:end], length).items() if name in names)
    if "chosen" in names:
        yield "chosen", np.array([end - start - 1], np.int32)
    if "places" in names:
        yield "places", np.minimum(np.arange(start, start + length), start + end - 1).astype(np.int32)


def _keep(cache: dict[str, np.ndarray], answer: dict[str, np.ndarray], start: int, end: int) -> None:
    """Put the new rows in: at their places, or last, where places are distances."""
    real, first = end - start, 0
    if "places" not in cache:
        for name in cache:
            if name.startswith(("seen", "keys")):
                cache[name] = np.roll(cache[name], -real, -1)
            elif name.startswith("values"):
                cache[name] = np.roll(cache[name], -real, 1)
        end = cache["seen"].shape[1]
        start = max(0, end - real)
    kept = end - start
    cache["seen"][0, start:end] = 1.0
    for number in range(sum(name.startswith("keys") for name in cache)):
        keys, values = cache[f"keys_{number}"], cache[f"values_{number}"]
        own = slice(first, first + len(keys))
        keys[:, :, start:end] = answer["new_keys"][own, real - kept : real].transpose(0, 2, 1)
        values[:, start:end] = answer["new_values"][own, real - kept : real]
        first = own.stop
