"""The module as it is exported: int32 ids and mask in, logits out, and nothing computed that no logit depends on.

The classifier reads one token: the first, or a decoder's last. So the last layer computes that token alone. It still
attends to all, but their keys and values need not be written out: a head's score of a token x is q·(K·x + k), of which
q·k is the same for all tokens and leaves softmax unchanged; so (Kᵀ·q)·x does, with the key's projection K applied once,
to the query. Likewise Σ pᵢ·(V·xᵢ + v) = V·(Σ pᵢ·xᵢ) + v. (The same regrouping as in the decoding of DeepSeek-V2, 2024.)
Where an answer is made of every token, all layers compute them all.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit.convert import relative
from edgekit.errors import BuildError, MissingExtra
from edgekit.models import checkpoint as checkpoints
from edgekit.models import folder as folders
from edgekit.models.checkpoint import Checkpoint
from edgekit.models.families import Attention
from edgekit.spec.quantize import Generation
from edgekit.spec.task import NATURES

try:
    import torch
    from torch import nn
    from torch.nn import functional
    from transformers.activations import NewGELUActivation

    from edgekit.models.embedder import pooled
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

#: What padding adds to an attention score. transformers adds -3.4e38, which ruins every range it takes part in;
#: e^-100 is 0 beside any real token's weight in float32 all the same.
MASKED = -100.0
#: Of an attention, the states that ask [batch, asking, hidden], all states and the mask: what the heads hand on.
Attended = Callable[[Attention, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Heads(nn.Module):  # type: ignore[misc]
    """One small projection a head: [batch, heads, in] → [batch, heads, out]. A plain ``nn.Linear`` each, so that every
    format treats them as it does all others."""

    def __init__(self, weights: torch.Tensor, biases: torch.Tensor | None = None) -> None:
        """``weights`` [heads, out, in], ``biases`` [heads, out]."""
        super().__init__()
        self.each = nn.ModuleList()
        for number, weight in enumerate(weights):
            one = nn.Linear(weight.shape[1], weight.shape[0], bias=biases is not None, device="meta")
            # the converter reads a transposed view as if it were laid out plainly
            one.weight = nn.Parameter(weight.clone(memory_format=torch.contiguous_format), requires_grad=False)
            if biases is not None:
                one.bias = nn.Parameter(biases[number].clone(), requires_grad=False)
            self.each.append(one)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.stack([one(states[:, number]) for number, one in enumerate(self.each)], dim=1)


class Classifier(nn.Module):  # type: ignore[misc]
    """``input_ids`` and ``attention_mask`` int32 [batch, length] → logits float32 [batch, classes], or where each token
    has some [batch, length, classes]; those at padding mean nothing. Where texts are embedded, float32 [batch, hidden].

    It computes with the parts of ``model``, transformers' module, as the family's adapter names them. Its last layer
    writes keys and values out all the same where they were trained on a grid of their own, or every token is read.
    """

    def __init__(self, loaded: Checkpoint) -> None:
        super().__init__()
        self.model, self.family = loaded.module, loaded.family
        self.parameter_count = loaded.parameters
        self.head_size = loaded.family.head_size(loaded.module)
        self.task = loaded.task
        nature = NATURES[loaded.task]
        self.by_token, self.reads_all = nature.by_token, nature.reads_all
        self.writes_keys = loaded.grid is not None or self.reads_all
        if self.writes_keys:
            return
        attention = self.family.attention(self.family.layers(self.model)[-1])
        key, value = (
            one.weight.detach().unflatten(0, (-1, self.head_size)) for one in (attention.key, attention.value)
        )
        bias = attention.value.bias
        self.from_query = Heads(key.transpose(1, 2))
        self.to_value = Heads(value, None if bias is None else self.by_head(bias.detach()))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        real = attention_mask.to(torch.float32)
        hidden = self.embedded(input_ids)
        padding = (1.0 - real)[:, None, None, :] * MASKED
        mask = padding + later(input_ids.shape[1]) if self.family.causal else padding
        if self.reads_all:
            for layer in self.family.layers(self.model):
                hidden = self.layer(layer, hidden, hidden, mask, self._attended)
            answers = self.logits(hidden)
            return answers if self.by_token else pooled(answers, real, self.model.config.pooling)
        *layers, last = self.family.layers(self.model)
        for layer in layers:
            hidden = self.layer(layer, hidden, hidden, mask, self._attended)
        token = hidden[:, :1] if self.family.reads == "first" else last_real(hidden, real)
        token = self.layer(last, token, hidden, padding, self._attended if self.writes_keys else self._attended_by_one)
        return self.logits(token[:, 0])

    def embedded(self, input_ids: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids [batch, length] → [batch, length, hidden]; ``positions`` [length, hidden] instead of the first ones
        of the family's table, if it has one."""
        parts = self.family.embeddings(self.model)
        hidden = parts.word(input_ids)
        if parts.position is not None and positions is None:
            places = torch.arange(parts.first, parts.first + input_ids.shape[1], dtype=torch.int32)
            positions = parts.position(places)
        if positions is not None:
            hidden = hidden + positions[None]
        for then in (parts.norm, parts.projection):
            hidden = hidden if then is None else then(hidden)
        return hidden

    def layer(
        self, layer: Any, asking: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor, attended: Attended
    ) -> torch.Tensor:
        """The layer's output for the tokens ``asking``, which attend to all of ``hidden``."""
        attention, both = self.family.attention(layer), self.family.feed_forward(layer)
        norms, activation = self.family.norms(layer), _plain(both.activation)
        if self.family.pre_norm:
            normed = norms.attention(hidden)
            asked = normed if asking is hidden else norms.attention(asking)
            asking = asking + attention.output(attended(attention, asked, normed, mask))
            return asking + both.down(activation(both.up(norms.feed_forward(asking))))
        asking = norms.attention(attention.output(attended(attention, asking, hidden, mask)) + asking)
        return norms.feed_forward(both.down(activation(both.up(asking))) + asking)

    def _attended(
        self, attention: Attention, asking: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        query, key, value = (
            self.by_head(one(given)).transpose(1, 2)
            for one, given in ((attention.query, asking), (attention.key, hidden), (attention.value, hidden))
        )
        scores = relative.placed(attention.position, query @ key.transpose(2, 3), query, mask, MASKED)
        weights = torch.softmax(scores * attention.scaling + mask, dim=-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def _attended_by_one(
        self, attention: Attention, asking: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """The same for one token ``asking`` of the last layer, without keys and values."""
        asked = self.by_head(attention.query(asking))[:, 0]
        scores = self.from_query(asked) @ hidden.transpose(1, 2)
        scores = relative.placed(attention.position, scores, asked, mask, MASKED)
        weights = torch.softmax(scores * attention.scaling + mask[:, 0], dim=-1)
        return self.to_value(weights @ hidden).flatten(1)[:, None]

    def by_head(self, states: torch.Tensor) -> torch.Tensor:
        """[..., heads × size] → [..., heads, size]."""
        return states.unflatten(-1, (-1, self.head_size))

    def logits(self, token: torch.Tensor) -> torch.Tensor:
        """[..., hidden] → [..., classes]."""
        head = self.family.head(self.model)
        for then in (head.norm, head.dense, head.activation, head.classifier):
            token = token if then is None else then(token)
        return token


def load(folder: Path, lengths: Sequence[int], generation: Generation | None = None) -> Classifier:
    """The checkpoint in ``folder``, ready to export for texts of ``lengths`` tokens, and for ``generation``.

    Raises BuildError where a weight is not finite, or a length or the context is longer than the model's positions.
    """
    with hushed():
        loaded = checkpoints.load(folder)
    positions = folders.positions(folder)
    for length in lengths:
        if positions is not None and length > positions:
            raise BuildError(
                "this length bucket is longer than the model's positions",
                where=str(folder),
                given=length,
                allowed=f"up to {positions}",
                remedy="drop it from data.lengths",
            )
    if generation is not None:
        folders.check_context(folder, generation.context)
    for name, weight in loaded.module.state_dict().items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise BuildError("a weight is not finite: the training went wrong", where=str(folder), given=name)
    loaded.module.requires_grad_(False)
    _fold_token_type(loaded)
    farthest = max(lengths[-1], generation.context + generation.chunk if generation else 0)
    for layer in loaded.family.layers(loaded.module):
        relative.fold(loaded.family.attention(layer).position, farthest)
    classifier: Classifier = Classifier(loaded).eval()
    return classifier


def classes(module: Classifier) -> int:
    """How many logits the module gives, for a text or for each token; or how long an embedding is."""
    classifier = module.family.head(module.model).classifier
    if classifier is None:
        return int(module.family.feed_forward(module.family.layers(module.model)[-1]).down.out_features)
    return int(classifier.out_features)


def parameters(module: Classifier) -> int:
    """How many weights the checkpoint has."""
    return module.parameter_count


def _fold_token_type(loaded: Checkpoint) -> None:
    """Add the token type that every token has, 0, to the positions, in place."""
    tables = loaded.family.embeddings(loaded.module)
    if tables.position is not None and tables.token_type is not None:
        tables.position.weight += tables.token_type.weight[0]


def later(length: int) -> torch.Tensor:
    """The mask of a decoder: each token sees itself and those before it. [1, 1, length, length]."""
    return torch.full((length, length), MASKED).triu(1)[None, None]


def last_real(hidden: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The state of the last real token, [batch, 1, hidden]."""
    places = torch.arange(1, hidden.shape[1] + 1, dtype=torch.float32)
    last = (places == real.sum(-1, keepdim=True)).to(torch.float32)
    return last[:, None] @ hidden


def _plain(activation: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function in one operator, where transformers writes it as several."""
    if isinstance(activation, NewGELUActivation):
        return lambda states: functional.gelu(states, approximate="tanh")
    return activation


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
