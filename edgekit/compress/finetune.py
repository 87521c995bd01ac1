"""Train a pretrained model on the task; what comes out is the teacher."""

from __future__ import annotations

import time

import torch

from edgekit.compress import losses, memory
from edgekit.compress.encoded import Batch, encode
from edgekit.compress.task import Task
from edgekit.compress.training import reported, train
from edgekit.models import checkpoint as checkpoints
from edgekit.spec import codec
from edgekit.spec.step import StepReport
from edgekit.spec.steps import Finetune


def run(options: Finetune, task: Task) -> StepReport:
    """Cross-entropy on the labels, or on each text's next tokens. A plain folder gets a classifier for the samples'
    labels."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint, task.samples.labels, task.samples.task)
    module, last = loaded.module, task.lengths[-1]

    def loss(batch: Batch) -> torch.Tensor:
        return losses.surprise(module(batch.input_ids, batch.attention_mask).logits, batch.labels).mean()

    data = encode(task.samples.train, loaded, last)
    memory.check(loaded.structure, loaded.parameters, options, max(len(one) for one in data.ids))
    trained = train(
        module,
        options,
        data,
        encode(task.samples.validation, loaded, last),
        loss,
        work=task.work,
        identity=codec.digest(["finetune", checkpoints.fingerprint(loaded)]),
        seed=task.seed,
        keep=lambda folder: checkpoints.save(loaded, folder),
        report=task.report,
    )
    checkpoints.save(loaded, task.out)
    return reported("finetune", loaded, trained, started)
