"""Drop the tokens that the training texts never use: rows of the embedding, and the tokenizer rewritten with them.

WordPiece takes the longest token that fits (Wu et al. 2016), so as long as every token a text uses stays, the text is
split as before; and as single characters stay, every text can still be spelled.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import torch
from torch import nn

from edgekit.compress import evaluate
from edgekit.compress.encoded import encode
from edgekit.compress.report import StepReport
from edgekit.compress.task import Task
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.steps import Vocabulary

_UNCUT = 1 << 30


def run(options: Vocabulary, task: Task) -> StepReport:
    """Trim the checkpoint's vocabulary to what the training texts use, and save it."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    counts = Counter(token for ids in encode(task.samples.train, loaded, _UNCUT).ids for token in ids)
    trim(loaded, {token for token, count in counts.items() if count >= options.min_count})
    checkpoints.save(loaded, task.out)
    reached = evaluate.accuracy(loaded.module, encode(task.samples.validation, loaded, task.lengths[-1]))
    return StepReport("vocabulary", loaded.parameters, reached, seconds=time.monotonic() - started)


def trim(checkpoint: Checkpoint, used: set[int]) -> None:
    """Leave only the token ids in ``used``, special tokens and single characters, in place; ids are numbered anew."""
    tokenizer = json.loads(checkpoint.tokenizer)
    kept = sorted(used | _always(tokenizer))
    table = checkpoint.family.word_embedding(checkpoint.module)
    numbers = {old: new for new, old in enumerate(kept)}
    checkpoint.tokenizer = json.dumps(renumbered(tokenizer, numbers), ensure_ascii=False)
    smaller = nn.Embedding(len(kept), table.embedding_dim, padding_idx=numbers.get(table.padding_idx))
    smaller.weight = nn.Parameter(table.weight.detach()[torch.tensor(kept)].clone())
    checkpoint.family.set_word_embedding(checkpoint.module, smaller)


def renumbered(tokenizer: dict[str, Any], numbers: dict[int, int]) -> dict[str, Any]:
    """tokenizer.json (decoded) with only the ids in ``numbers``, under their new numbers."""
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary = {token: numbers[old] for token, old in vocabulary.items() if old in numbers}
    return {
        **tokenizer,
        "added_tokens": [{**one, "id": numbers[one["id"]]} for one in tokenizer["added_tokens"]],
        "post_processor": _post_processor(tokenizer.get("post_processor"), numbers),
        "model": {**tokenizer["model"], "vocab": dict(sorted(vocabulary.items(), key=lambda one: one[1]))},
        "padding": None,
    }


def _always(tokenizer: dict[str, Any]) -> set[int]:
    """Ids that stay whatever the texts use: added tokens, the unknown token, characters and their inner forms."""
    model = tokenizer["model"]
    if model["type"] != "WordPiece":
        raise BuildError(
            "this tokenizer's vocabulary cannot be trimmed",
            given=model["type"],
            allowed="WordPiece",
            remedy="leave the step 'vocabulary' out",
            where="$.compress vocabulary",
        )
    prefix = model["continuing_subword_prefix"]
    single = {number for token, number in model["vocab"].items() if len(token.removeprefix(prefix)) == 1}
    return single | {one["id"] for one in tokenizer["added_tokens"]} | {model["vocab"][model["unk_token"]]}


def _post_processor(value: Any, numbers: dict[int, int]) -> Any:
    if value is None:
        return None
    if value["type"] == "Sequence":
        return {**value, "processors": [_post_processor(one, numbers) for one in value["processors"]]}
    if value["type"] in ("BertProcessing", "RobertaProcessing"):
        return {**value, **{key: [value[key][0], numbers[value[key][1]]] for key in ("sep", "cls")}}
    if value["type"] == "TemplateProcessing":
        tokens = value["special_tokens"].items()
        return {
            **value,
            "special_tokens": {key: {**one, "ids": [numbers[old] for old in one["ids"]]} for key, one in tokens},
        }
    return value
