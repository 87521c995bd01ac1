"""GPT-2 (Radford et al. 2019): norms before the parts, attention that looks back only. The last token is classified, or
every token tells the next.

transformers keeps its projections as ``Conv1D`` (weights ``[in, out]``) and query, key and value in one. Here they are
plain ``nn.Linear`` and apart, so that a step can cut or factor each; the file has transformers' own form again for all
that are still plain.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gpt2.modeling_gpt2 import GPT2Attention, eager_attention_forward

from edgekit.errors import BuildError
from edgekit.models.families.family import Attention, Embeddings, Family, FeedForward, Head, Norms, State, retie

_FUSED = ("query", "key", "value")
#: What ``Conv1D`` keeps as [in, out]; a factored projection has other names below its own.
_TURNED = (".attn.c_attn.weight", ".attn.c_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight")


class SplitAttention(GPT2Attention):  # type: ignore[misc]
    """GPT-2's self-attention with query, key and value apart, and any number of heads."""

    def __init__(self, fused: Any) -> None:
        nn.Module.__init__(self)
        self.config, self.layer_idx, self.is_causal = fused.config, fused.layer_idx, True
        self.num_heads, self.head_dim, self.scaling = fused.num_heads, fused.head_dim, fused.scaling
        weights, biases = fused.c_attn.weight.detach().T.chunk(3), fused.c_attn.bias.detach().chunk(3)
        self.query, self.key, self.value = (_linear(*pair) for pair in zip(weights, biases, strict=True))
        self.c_proj = _linear(fused.c_proj.weight.detach().T, fused.c_proj.bias.detach())
        self.attn_dropout, self.resid_dropout = fused.attn_dropout, fused.resid_dropout

    def forward(
        self,
        hidden_states: torch.Tensor,
        past_key_values: Any = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Hidden states [batch, length, hidden] → the same, and the attention weights [batch, heads, length, length]
        where the implementation has them."""
        query, key, value = (
            one(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for one in (self.query, self.key, self.value)
        )
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.attn_dropout.p if self.training else 0.0
        mixed, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return self.resid_dropout(self.c_proj(mixed.flatten(-2))), weights


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight, made.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.clone())
    return made


def _prepare(module: Any) -> None:
    config = module.config
    unknown = ("add_cross_attention", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn")
    for name in unknown:
        if getattr(config, name, False):
            raise BuildError("this form of GPT-2 has no adapter", given=f"{name}: true", where="config.json")
    if config.pad_token_id is None:
        # the classifier looks for the last token that is not padding; GPT-2 was trained without any
        config.pad_token_id = config.eos_token_id
    config.use_cache = False
    module.register_forward_pre_hook(_mask_second, with_kwargs=True)
    for block in module.transformer.h:
        block.attn = SplitAttention(block.attn)
        for name in ("c_fc", "c_proj"):
            old = getattr(block.mlp, name)
            setattr(block.mlp, name, _linear(old.weight.detach().T, old.bias.detach()))


def _mask_second(module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Call it as every other family: ``module(input_ids, attention_mask)``; transformers has another argument there."""
    if len(given) != 2:
        return given, named
    return given[:1], {**named, "attention_mask": given[1]}


def _stored(state: State) -> State:
    found = dict(state)
    for first in [name for name in state if name.endswith(".attn.query.weight")]:
        at = first.removesuffix("query.weight")
        for part in ("weight", "bias"):
            names = [f"{at}{one}.{part}" for one in _FUSED]
            if all(name in found for name in names):
                found[f"{at}c_attn.{part}"] = torch.cat([found.pop(name) for name in names])
    return {name: one.T if name.endswith(_TURNED) else one for name, one in found.items()}


def _restored(state: State) -> State:
    found = {name: one.T if name.endswith(_TURNED) else one for name, one in state.items()}
    for fused in [name for name in state if ".attn.c_attn." in name]:
        apart = found.pop(fused).chunk(3)
        found |= {fused.replace("c_attn", name): one for name, one in zip(_FUSED, apart, strict=True)}
    return found


def _set_layers(module: Any, chosen: list[Any]) -> None:
    module.transformer.h = nn.ModuleList(chosen)
    module.config.n_layer = len(chosen)
    for number, block in enumerate(chosen):
        block.attn.layer_idx = number


def _attention(block: Any) -> Attention:
    inner = block.attn
    return Attention(inner.query, inner.key, inner.value, inner.c_proj, inner.scaling)


def _set_heads(block: Any, heads: int, size: int) -> None:
    block.attn.num_heads, block.attn.head_dim = heads, size
    block.attn.scaling = size**-0.5 if block.attn.config.scale_attn_weights else 1.0


def _set_word_embedding(module: Any, table: nn.Embedding) -> None:
    retie(module, module.transformer.wte, table)
    module.transformer.wte = table
    module.config.vocab_size = table.num_embeddings


def _classifier(module: Any) -> Any:
    """Of a language model, of texts, or of words."""
    return next(getattr(module, name) for name in ("lm_head", "score", "classifier") if hasattr(module, name))


GPT2 = Family(
    name="gpt2",
    layers=lambda module: list(module.transformer.h),
    set_layers=_set_layers,
    attention=_attention,
    set_heads=_set_heads,
    head_size=lambda module: int(module.transformer.h[0].attn.head_dim),
    feed_forward=lambda block: FeedForward(block.mlp.c_fc, block.mlp.c_proj, block.mlp.act),
    feed_forward_width="n_inner",
    norms=lambda block: Norms(block.ln_1, block.ln_2),
    embeddings=lambda module: Embeddings(module.transformer.wte, module.transformer.wpe),
    set_word_embedding=_set_word_embedding,
    head=lambda module: Head(_classifier(module), norm=module.transformer.ln_f),
    reads="last",
    causal=True,
    pre_norm=True,
    prepare=_prepare,
    stored=_stored,
    restored=_restored,
)
