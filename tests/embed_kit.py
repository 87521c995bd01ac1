"""Texts for a tiny model that embeds them, and a recipe: its student learns the embeddings."""

from __future__ import annotations

import json
from pathlib import Path

import language_kit

RECIPE = """\
name: near
task: embed
model: {path: bert}
data:
  source: jsonl
  files: [near.jsonl]
  validation: 30
  test: 60
  lengths: [16]
compress:
  - vocabulary: {}
  - distill:
      layers: [0, 1]
      epochs: 1
      learning_rate: 1.0e-3
      batch: 32
      losses: {label: 0, logits: 0, embedding: 1}
  - prune:
      heads: 3
      samples: 16
      criterion: magnitude
      epochs: 4
      learning_rate: 3.0e-3
      batch: 16
      losses: {label: 0, logits: 0, embedding: 1}
convert:
  formats: [tflite, onnx]
  schemes: [w32_a32_float, w8_a32_dynamic]
gates: {mean_cosine: 0.5, accuracy_drop: 95}
"""


def write(folder: Path, bert: Path, recipe: str = RECIPE, count: int = 260) -> Path:
    """``near.yaml`` with its data beside it; ``bert`` is linked in."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": one}) + "\n" for one in language_kit.texts(count)]
    (folder / "near.jsonl").write_text("".join(lines))
    if not (folder / "bert").exists():
        (folder / "bert").symlink_to(bert)
    file = folder / "near.yaml"
    file.write_text(recipe)
    return file
