"""Transformer-XL (Dai et al. 2019): attention by distance, and a memory of the segment before; transformers dropped it.

A long text is read in segments. Each layer attends to its own segment and to what the same layer was given for the
tokens before it (``mems``, through which no gradient goes), so a token costs the same however long the text is. Since
a memory moves with the text, positions are distances (:mod:`edgekit.models.relative`), and a text may have any length.

Norms stand behind the residual sums, attention looks back only. Smaller than the paper's: all tokens have one word
embedding (not an adaptive one), which is not scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.errors import BuildError, MissingExtra
from edgekit.models.relative import Positions, RelativeAttention

try:
    import torch
    from optimum.utils import NormalizedConfigManager
    from optimum.utils.normalized_config import NormalizedTextConfig
    from torch import nn
    from torch.nn import functional
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        PretrainedConfig,
        PreTrainedModel,
    )
    from transformers import initialization as init
    from transformers.activations import ACT2FN
    from transformers.utils import ModelOutput
except ImportError as error:
    raise MissingExtra(error.name or "torch", "host") from error

NAME = "transformer-xl"
#: By layer, what it was given for the tokens before: [batch, up to memory_length, hidden].
Mems = Sequence["torch.Tensor"]


class TransformerXLConfig(PretrainedConfig):  # type: ignore[misc]
    """``memory_length``: how many tokens of the segments before a layer sees; 0 for none. ``position_size``: how many
    sinusoids tell a distance; the hidden width where left out, and unchanged when that is cut."""

    model_type = NAME

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 256,
        num_hidden_layers: int = 6,
        num_attention_heads: int = 4,
        intermediate_size: int = 1024,
        hidden_act: str = "relu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        memory_length: int = 64,
        position_size: int | None = None,
        layer_norm_eps: float = 1e-5,
        initializer_range: float = 0.02,
        pad_token_id: int | None = 0,
        **more: Any,
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, **{"tie_word_embeddings": True, **more})
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.intermediate_size, self.hidden_act = intermediate_size, hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.memory_length, self.position_size = memory_length, position_size or hidden_size
        self.layer_norm_eps, self.initializer_range = layer_norm_eps, initializer_range


class TransformerXLLayer(nn.Module):  # type: ignore[misc]
    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__()
        self.attention = RelativeAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, hidden_states: torch.Tensor, memory: torch.Tensor | None, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        attended, weights = self.attention(hidden_states, memory, mask)
        hidden = self.attention_norm(hidden_states + self.dropout(attended))
        made = self.down(self.activation(self.up(hidden)))
        return self.feed_forward_norm(hidden + self.dropout(made)), weights


@dataclass
class TransformerXLOutput(ModelOutput):  # type: ignore[misc]
    """``logits`` are [batch, classes] or [batch, length, vocabulary]; ``mems`` go into the next segment's call.
    ``hidden_states`` [batch, length, hidden] are what went into each layer and the last one's output, ``attentions``
    [batch, heads, length, memory + length]."""

    last_hidden_state: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    mems: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class TransformerXLPreTrained(PreTrainedModel):  # type: ignore[misc]
    config_class = TransformerXLConfig
    base_model_prefix = "transformer"

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Positions):
            init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            init.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Module:
        holder: Any = getattr(self, self.base_model_prefix, self)
        table: nn.Module = holder.word_embeddings
        return table


class TransformerXLModel(TransformerXLPreTrained):
    """Token ids [batch, length] → hidden states. Padding stands at the end of a text's last segment; what is kept in
    ``mems`` is taken for real."""

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.layers = nn.ModuleList(TransformerXLLayer(config) for _ in range(config.num_hidden_layers))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        mems: Mems | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> TransformerXLOutput:
        """Read one segment. Raises BuildError where there is not one memory for each layer."""
        if mems and len(mems) != len(self.layers):
            raise BuildError("one memory for each layer", given=len(mems), allowed=len(self.layers))
        hidden = self.dropout(self.word_embeddings(input_ids))
        memories: Sequence[torch.Tensor | None] = mems or [None] * len(self.layers)
        mask = _mask(input_ids, attention_mask, mems[0].shape[1] if mems else 0, hidden.dtype)
        states, maps = [hidden], []
        for layer, memory in zip(self.layers, memories, strict=True):
            hidden, weights = layer(hidden, memory, mask)
            states.append(hidden)
            maps.append(weights)
        most = self.config.memory_length
        return TransformerXLOutput(
            last_hidden_state=hidden,
            mems=tuple(_kept(*pair, most) for pair in zip(memories, states, strict=False)) if most else None,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(maps) if output_attentions else None,
        )


class TransformerXLForSequenceClassification(TransformerXLPreTrained):
    """The class of a text, told by its last token; of a long one, by that of its last segment."""

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__(config)
        self.transformer = TransformerXLModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        mems: Mems | None = None,
        **asked: bool,
    ) -> TransformerXLOutput:
        """``logits`` [batch, classes]."""
        read = self.transformer(input_ids, attention_mask, mems, **asked)
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        places = torch.arange(1, real.shape[1] + 1, device=real.device)
        last = (real * places).argmax(1)
        token = read.last_hidden_state[torch.arange(len(last), device=last.device), last]
        return TransformerXLOutput(**{**read, "logits": self.classifier(token)})


class TransformerXLForCausalLM(TransformerXLPreTrained):
    """The next token; the output is tied to the word embedding."""

    _tied_weights_keys = {"lm_head.weight": "transformer.word_embeddings.weight"}  # noqa: RUF012, transformers' own

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__(config)
        self.transformer = TransformerXLModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        mems: Mems | None = None,
        **asked: bool,
    ) -> TransformerXLOutput:
        """``logits`` [batch, length, vocabulary]."""
        read = self.transformer(input_ids, attention_mask, mems, **asked)
        return TransformerXLOutput(**{**read, "logits": self.lm_head(read.last_hidden_state)})


@torch.inference_mode()  # type: ignore[untyped-decorator]
def perplexity(model: TransformerXLForCausalLM, input_ids: torch.Tensor, segment: int) -> float:
    """e to the mean negative log-likelihood of tokens 1 to the last of [batch, length], read ``segment`` by segment."""
    mems, found = None, []
    for start in range(0, input_ids.shape[1] - 1, segment):
        part = input_ids[:, start : start + segment]
        read = model(part, mems=mems)
        mems, following = read.mems, input_ids[:, start + 1 : start + 1 + segment]
        logits = read.logits[:, : following.shape[1]]
        found.append(functional.cross_entropy(logits.transpose(1, 2).float(), following, reduction="none"))
    return float(torch.cat(found, 1).mean().exp())


def _mask(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None, before: int, dtype: torch.dtype
) -> torch.Tensor:
    """What is added to scores [batch or 1, 1, length, ``before`` + length]: nothing for what is seen."""
    length, device = input_ids.shape[1], input_ids.device
    seen = torch.ones(length, before + length, dtype=torch.bool, device=device).tril(before)[None, None]
    if attention_mask is not None:
        seen = seen & functional.pad(attention_mask.bool(), (before, 0), value=True)[:, None, None]
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)


def _kept(memory: torch.Tensor | None, hidden: torch.Tensor, most: int) -> torch.Tensor:
    """The last ``most`` states, for the next segment."""
    states = hidden if memory is None else torch.cat([memory, hidden], 1)
    return states[:, max(0, states.shape[1] - most) :].detach()


AutoConfig.register(NAME, TransformerXLConfig, exist_ok=True)
AutoModel.register(TransformerXLConfig, TransformerXLModel, exist_ok=True)
AutoModelForSequenceClassification.register(TransformerXLConfig, TransformerXLForSequenceClassification, exist_ok=True)
AutoModelForCausalLM.register(TransformerXLConfig, TransformerXLForCausalLM, exist_ok=True)
# its names of the sizes are BERT's; Optimum has no public way to say so
NormalizedConfigManager._conf[NAME] = NormalizedTextConfig
