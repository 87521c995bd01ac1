"""Drop the tokens that the training texts never use: rows of the embedding, and the tokenizer rewritten with them.

Texts that use none but the kept tokens are split as before, and every text can still be spelled (unless only the
characters that were seen are to stay): how that comes about stands in ``edgekit.compress.tokenizer``.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from edgekit.compress import evaluate, tokenizer
from edgekit.compress.encoded import encode
from edgekit.compress.task import Task
from edgekit.data.samples import Sample
from edgekit.models import checkpoint as checkpoints
from edgekit.models import parts
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.step import StepReport
from edgekit.spec.steps import Vocabulary
from edgekit.spec.task import LANGUAGE

_UNCUT = 1 << 30
#: What config.json says of single tokens.
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id")


def run(options: Vocabulary, task: Task) -> StepReport:
    """Trim the checkpoint's vocabulary to what the training texts use, and save it."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    texts = list(task.samples.train)
    if options.unlabeled:
        # any label: only the text is asked
        texts += [Sample(one, 0) for one in task.samples.unlabeled]
    counts = Counter(token for ids in encode(texts, loaded, _UNCUT).ids for token in ids)
    trim(loaded, kept(counts, options), set(counts) if options.characters == "seen" else None)
    checkpoints.save(loaded, task.out)
    return evaluate.untrained("vocabulary", loaded, task, started)


def kept(counts: Mapping[int, int], options: Vocabulary) -> set[int]:
    """The tokens that are used often enough, of those in ``counts``."""
    if options.size is None:
        return {token for token, count in counts.items() if count >= options.min_count}
    return set(sorted(counts, key=lambda token: (-counts[token], token))[: options.size])


def trim(checkpoint: Checkpoint, used: set[int], seen: set[int] | None = None) -> None:
    """Leave only the token ids in ``used`` and what must stay with them, in place; ids are numbered anew.

    Args:
        seen: the tokens whose characters are the only ones that stay; ``None`` keeps all characters.
    """
    whole = json.loads(checkpoint.tokenizer)
    stays = tokenizer.closed(whole, used, seen)
    numbers = {old: new for new, old in enumerate(stays)}
    checkpoint.tokenizer = json.dumps(tokenizer.renumbered(whole, numbers), ensure_ascii=False)
    config = checkpoint.module.config
    # before the table changes them; some have several of a kind, or one that the tokenizer lacks
    special = {name: getattr(config, name, None) for name in _SPECIAL}
    table = checkpoint.family.word_embedding(checkpoint.module)
    output = checkpoint.family.head(checkpoint.module).classifier
    if checkpoint.task == LANGUAGE and output is not None and output.weight is not table.weight:
        # it is not tied to the table, and has a row for each token as well
        output.weight, output.out_features = nn.Parameter(output.weight.detach()[stays].clone()), len(stays)
    checkpoint.family.set_word_embedding(checkpoint.module, rows(table, stays, numbers.get(table.padding_idx)))
    for name, old in special.items():
        if isinstance(old, int) and old in numbers:
            setattr(config, name, numbers[old])


def rows(table: Any, tokens: list[int], padding: int | None) -> Any:
    """The word embedding ``table`` (plain, factored or hashed) with only these ``tokens``, in this order."""
    if isinstance(table, parts.HashedEmbedding):
        table.rows, table.padding_idx = table.rows[tokens], padding
        return table
    if isinstance(table, parts.FactoredEmbedding):
        table.table = rows(table.table, tokens, padding)
        return table
    smaller = nn.Embedding(len(tokens), table.embedding_dim, padding_idx=padding)
    smaller.weight = nn.Parameter(table.weight.detach()[torch.tensor(tokens)].clone())
    if hasattr(table, "codebook"):
        parts.mark(smaller, table.codebook)
    return smaller
