"""What a module answers on encoded samples."""

from __future__ import annotations

from typing import Any

import torch

from edgekit.compress.encoded import Encoded, in_order
from edgekit.spec.progress import Report, quiet

SIZE = 64


def logits(module: Any, data: Encoded, report: Report = quiet) -> torch.Tensor:
    """Logits [texts, classes], float32, in the order of ``data``, in evaluation mode; the module's mode is kept."""
    training, device = module.training, next(module.parameters()).device
    module.eval()
    found: list[torch.Tensor] = [torch.empty(0)] * len(data)
    done = 0
    with torch.inference_mode():
        for batch in in_order(data, SIZE):
            asked = batch.to(device)
            answer = module(asked.input_ids, asked.attention_mask).logits.float().cpu()
            for row, one in zip(batch.rows, answer, strict=True):
                found[row] = one
            done += len(batch.rows)
            report(f"{done} of {len(data)} texts", done / len(data))
    module.train(training)
    return torch.stack(found).clone()


def accuracy(module: Any, data: Encoded, report: Report = quiet) -> float:
    """Per cent of right labels."""
    right = logits(module, data, report).argmax(-1) == torch.tensor(data.labels)
    return 100.0 * float(right.sum()) / len(data)
