"""How each model family names its parts: one adapter a file. A new family is one file and one line of ``FAMILIES``."""

from __future__ import annotations

from edgekit.errors import BuildError
from edgekit.models.families.albert import ALBERT
from edgekit.models.families.bert import BERT, ROBERTA
from edgekit.models.families.distilbert import DISTILBERT
from edgekit.models.families.family import Attention, Embeddings, Family, FeedForward, Head, Norms
from edgekit.models.families.gpt2 import GPT2
from edgekit.models.families.transformer_xl import TRANSFORMER_XL

__all__ = ["FAMILIES", "Attention", "Embeddings", "Family", "FeedForward", "Head", "Norms", "of"]

FAMILIES: dict[str, Family] = {one.name: one for one in (ALBERT, BERT, DISTILBERT, GPT2, ROBERTA, TRANSFORMER_XL)}


def of(model_type: str) -> Family:
    """The adapter for transformers' ``model_type``. Raises BuildError for a family edgekit does not know."""
    if model_type not in FAMILIES:
        raise BuildError(
            "this model's family has no adapter",
            given=model_type,
            allowed=sorted(FAMILIES),
            remedy="take a model of a known family (config.json: model_type)",
        )
    return FAMILIES[model_type]
