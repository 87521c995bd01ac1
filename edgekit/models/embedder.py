"""A base model whose answer is one vector a text, its embedding: what its tokens' last states are pooled to, of length
1 (Reimers & Gurevych 2019, Sentence-BERT)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn.functional import normalize

from edgekit.errors import BuildError
from edgekit.spec.task import FIRST, MEAN, Pooling

#: Where sentence-transformers keeps how tokens are pooled, and what it calls the ways that are known here.
FILE = "1_Pooling/config.json"
_MODES: dict[str, Pooling] = {"pooling_mode_mean_tokens": MEAN, "pooling_mode_cls_token": FIRST}


class Embedder(nn.Module):  # type: ignore[misc]
    """transformers' base model under the name that its models with a head have for it, so that the families' adapters
    find their parts. Called as they are; the ``logits`` it gives are the embeddings, [batch, hidden]."""

    _model_mapping = transformers.AutoModel._model_mapping

    def __init__(self, encoder: Any, pooling: Pooling) -> None:
        super().__init__()
        self.config = encoder.config
        self.config.pooling = pooling
        self.prefix = encoder.base_model_prefix
        if getattr(encoder, "pooler", None) is not None:
            # its projection is for a classifier
            encoder.pooler = None
        self.add_module(self.prefix, encoder)
        self.classifier = None

    @classmethod
    def from_config(cls, config: Any, **options: Any) -> Embedder:
        """With new weights, pooling as ``config`` says."""
        return cls(transformers.AutoModel.from_config(config, **options), getattr(config, "pooling", MEAN))

    @classmethod
    def from_pretrained(cls, folder: Path, *, config: Any, **options: Any) -> Embedder:
        """Of a plain folder, pooling as its own files say, else the mean. Raises BuildError where they name another
        way."""
        encoder = transformers.AutoModel.from_pretrained(folder, config=config, **options)
        return cls(encoder, getattr(config, "pooling", None) or stated(folder) or MEAN)

    @property
    def encoder(self) -> Any:
        return getattr(self, self.prefix)

    def set_attn_implementation(self, name: str) -> None:
        self.encoder.set_attn_implementation(name)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: Any) -> SimpleNamespace:
        answer = self.encoder(input_ids, attention_mask=attention_mask, **more)
        found = pooled(answer.last_hidden_state, attention_mask, self.config.pooling)
        return SimpleNamespace(logits=found, attentions=getattr(answer, "attentions", None))


def pooled(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """[batch, length, hidden] → [batch, hidden], each of length 1: the mean over real tokens, or the first token."""
    if pooling == FIRST:
        return normalize(states[:, 0], dim=-1)
    shares = mask.to(states.dtype)[:, None]
    # the sum will do: what it is divided by goes with the length
    return normalize((shares @ states)[:, 0], dim=-1)


def stated(folder: Path) -> Pooling | None:
    """How the folder's sentence-transformers file says that tokens are pooled; ``None`` where there is none. Raises
    BuildError where it cannot be read, or names a way that is not known here."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise BuildError(f"cannot be read: {error}", where=str(file)) from error
    asked = [name for name, value in said.items() if name.startswith("pooling_mode_") and value is True]
    if len(asked) != 1 or asked[0] not in _MODES:
        raise BuildError(
            "tokens are pooled in a way that is not known here",
            where=str(file),
            given=", ".join(asked) or "none",
            allowed=sorted(_MODES),
            remedy="name another one, if the model may have it: model.pooling: mean or first",
        )
    return _MODES[asked[0]]
