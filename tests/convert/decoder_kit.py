"""Language models that write: files of them, and what they have to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import language_kit
import numpy as np

from edgekit.convert.job import Converted
from edgekit.data.samples import Sample, Samples
from edgekit.spec.quantize import Calibration, Generation

LENGTHS, CONTEXT, MEMORY = (8,), 512, 6
WRITES = Generation(CONTEXT, chunk=8)
TEXTS = tuple(dict.fromkeys(language_kit.texts(60)))
PROMPT = (5, 77, 130, 9, 200, 31, 12, 8, 99, 150, 7)
SAMPLES = Samples(Path("unused"), (), "0" * 64, [Sample(one, 0) for one in TEXTS], [], [])
#: A text, as it comes to a model with segments.
PIECES = [[3, 7, 9, 11], [13], [2], [20, 21, 22, 23, 24], [8], [4], [4], [9], [17], [30, 31], [12], [5]]


def written(
    folder: Path,
    scheme: str,
    out: Path,
    float_file: Path | None = None,
    generation: Generation | None = WRITES,
    form: str = "tflite",
) -> Converted:
    from edgekit import convert

    return convert.convert(
        folder,
        format=form,
        scheme=scheme,
        lengths=LENGTHS,
        samples=SAMPLES,
        calibration=Calibration(samples=32),
        out=out,
        seed=7,
        float_file=float_file,
        generation=generation,
    )


def greedy(model: Any, prompt: tuple[int, ...], count: int) -> list[int]:
    """By the board's own code."""
    model.keep(0)
    model.feed(prompt)
    found = []
    for _ in range(count):
        (token,), _ = model.likeliest(1)
        found.append(token)
        model.feed([token])
    return found


def transformers_own(gpt2: Path, prompt: tuple[int, ...], count: int) -> list[int]:
    """What transformers' own greedy decoding writes, over the same weights."""
    import torch
    import transformers

    plain = transformers.GPT2LMHeadModel.from_pretrained(gpt2.parent / "plain").eval()
    asked = torch.tensor([prompt])
    found: list[int] = plain.generate(
        asked,
        attention_mask=torch.ones_like(asked),
        do_sample=False,
        max_new_tokens=count,
        eos_token_id=None,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    return found


def segments(folder: Path, pieces: list[list[int]]) -> list[np.ndarray]:
    """The logits after each of a text's ``pieces``, by the segment recurrence itself: memories of hidden states."""
    import torch

    from edgekit.models import checkpoint as checkpoints

    model = checkpoints.load(folder).module.eval()
    model.config.memory_length = MEMORY
    mems, found = None, []
    with torch.inference_mode():
        for one in pieces:
            read = model(torch.tensor([one]), mems=mems)
            mems = read.mems
            found.append(read.logits[0, -1].numpy())
    return found
