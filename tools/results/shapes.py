"""Transformer-base (12 × 768) and Transformer-large (24 × 1024) through the whole road, on random weights.

What they answer means nothing, so no accuracy is recorded; their size, speed and memory are those of any model of that
shape.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import methods
import record

from edgekit import load, pipeline
from edgekit.errors import EdgekitError, UsageError
from edgekit.fieldwork import choose
from edgekit.home import Home

SHAPES = {"base": (12, 768, 12), "large": (24, 1024, 16)}
SCHEMES = ("w32_a32_float", "w8_a32_dynamic", "w8_a8_static")
LENGTHS = (16,)


def run(tokenizer: Path, out: Path, device: str | None, names: Sequence[str] = ()) -> None:
    """A row for each shape and scheme. ``tokenizer`` is a checkpoint folder that lends its vocabulary."""
    board = choose(Home.default(), target=methods.TARGET, device=device)
    for name in names or tuple(SHAPES):
        made(tokenizer, out / name, *SHAPES[name])
        for scheme in SCHEMES:
            started = time.monotonic()
            file = _recipe(out, name, scheme)
            title = f"Transformer-{name}, {SHAPES[name][0]} × {SHAPES[name][1]}, random weights, {scheme}"
            try:
                built = pipeline.build(file, target=methods.TARGET, device=board.name)
                row = replace(methods.measured(built, board, "shapes", title, 7), accuracy=None, reference=None)
            except UsageError:
                raise  # a missing board says nothing of a shape
            except EdgekitError as error:
                row = record.Record(f"shape-{name}-{scheme}", "shapes", title, failure=error.message)
            record.save(row)
            print(f"{name}, {scheme}: {time.monotonic() - started:.0f} s", flush=True)


def made(tokenizer: Path, folder: Path, layers: int, hidden: int, heads: int) -> None:
    """A BERT classifier with random weights, in Hugging Face layout."""
    if folder.exists():
        return
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    torch.manual_seed(7)
    splitter = AutoTokenizer.from_pretrained(tokenizer)
    labels = json.loads((tokenizer / "config.json").read_text())["id2label"]
    config = AutoConfig.for_model(
        "bert",
        vocab_size=len(splitter),
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        id2label={int(number): label for number, label in labels.items()},
        label2id={label: int(number) for number, label in labels.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    splitter.save_pretrained(folder)


def _recipe(out: Path, name: str, scheme: str) -> Path:
    file = out / f"shape-{name}-{scheme}.yaml"
    file.write_text(
        f"name: shape-{name}-{scheme}\n"
        f"model: {{path: {name}}}\n"
        f"data: {{source: debian-sections, validation: 100, test: 100, lengths: {list(LENGTHS)}}}\n"
        f"convert: {{formats: [tflite], schemes: [{scheme}], calibration: {{samples: 32}}}}\n"
    )
    load.recipe(file)
    return file
