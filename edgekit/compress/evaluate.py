"""What a module answers on encoded samples, and how well: of a classifier a text each, else a token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from edgekit.compress.encoded import UNLABELED, Batch, Encoded, encode, in_order
from edgekit.compress.task import Task
from edgekit.models import checkpoint as checkpoints
from edgekit.models.checkpoint import Checkpoint
from edgekit.spec.progress import Report, quiet
from edgekit.spec.step import StepReport
from edgekit.spec.task import EMBED, LANGUAGE, NextTokens

SIZE = 64
#: Of texts whose every token has as many logits as there are tokens.
FEW = 8


def logits(module: Any, data: Encoded, report: Report = quiet) -> torch.Tensor:
    """Logits [texts, classes] or embeddings [texts, hidden], float32, in the order of ``data``."""
    found: list[torch.Tensor] = [torch.empty(0)] * len(data)
    for one, answer in answers(module, data, report):
        for row, each in zip(one.rows, answer, strict=True):
            found[row] = each
    return torch.stack(found).clone()


def answers(module: Any, data: Encoded, report: Report = quiet) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Batches by length, each with its logits in float32 on the CPU, in evaluation mode; the module's mode is kept."""
    training, device = module.training, next(module.parameters()).device
    module.eval()
    done = 0
    try:
        with torch.inference_mode():
            for batch in in_order(data, FEW if data.task == LANGUAGE else SIZE):
                asked = batch.to(device)
                yield batch, module(asked.input_ids, asked.attention_mask).logits.float().cpu()
                done += len(batch.rows)
                report(f"{done} of {len(data)} texts", done / len(data))
    finally:
        module.train(training)


def told(module: Any, data: Encoded, report: Report = quiet) -> NextTokens:
    """Right answers, answers, and the sum of their negative log-likelihoods; of a classifier, a text is one token."""
    hits, count, total = 0, 0, 0.0
    for one, answer in answers(module, data, report):
        hits += int((answer.argmax(-1) == one.labels).sum())
        count += int((one.labels >= 0).sum())
        total += float(nll(answer, one.labels).double().sum())
    return NextTokens(hits, count, total)


def accuracy(module: Any, data: Encoded, report: Report = quiet) -> float:
    """Per cent of right labels, of next tokens that were the likeliest one, or of words' right tags."""
    return told(module, data, report).accuracy


def score(module: Any, data: Encoded) -> float:
    """By what epochs are compared, in per cent: accuracy, or of a language model 100 ÷ perplexity, which is the
    (geometric) mean of what it gave the right tokens and sees far smaller changes than hits do."""
    found = told(module, data)
    return 100.0 / found.perplexity if data.task == LANGUAGE else found.accuracy


def likeness(done: Checkpoint, data: Encoded, task: Task) -> float:
    """100 × the mean cosine of the embeddings with the teacher's; 0 where those are of another length."""
    teacher = checkpoints.load(task.teacher, task=EMBED)
    ours = logits(done.module, data)
    theirs = logits(teacher.module, encode(task.samples.validation, teacher, task.lengths[-1]))
    return 100.0 * float((ours * theirs).sum(-1).mean()) if ours.shape == theirs.shape else 0.0


def nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihoods of ``labels`` ([batch] or [batch, length]), 0 where there is none; ``logits`` have one
    dimension more."""
    return cross_entropy(
        logits.float().flatten(0, -2), labels.flatten().clamp(min=UNLABELED), ignore_index=UNLABELED, reduction="none"
    ).view(labels.shape)


def summed(kind: str, done: Checkpoint, reached: float, **more: Any) -> StepReport:
    """The report of a step that left ``done``, whose :func:`score` is ``reached``."""
    perplexity = 100.0 / reached if done.task == LANGUAGE else None
    return StepReport(kind, done.parameters, reached, perplexity=perplexity, **more)


def untrained(kind: str, done: Checkpoint, task: Task, started: float, remarks: tuple[str, ...] = ()) -> StepReport:
    """The report of a step that trained nothing since ``started`` (monotonic seconds)."""
    data = encode(task.samples.validation, done, task.lengths[-1])
    reached = likeness(done, data, task) if done.task == EMBED else score(done.module, data)
    return summed(kind, done, reached, seconds=time.monotonic() - started, remarks=remarks)
