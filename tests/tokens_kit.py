"""Texts whose animals and weather are labelled spans of one or two words, which a tiny BERT can learn; and a recipe."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

KINDS = {"ANIMAL": ("cat", "dog", "cat dog"), "SKY": ("sun", "rain", "sunny rain", "sunny sun")}
TAGS = ("O", "B-ANIMAL", "I-ANIMAL", "B-SKY", "I-SKY")
RECIPE = """\
name: spans
task: tokens
model: {path: bert}
data:
  source: jsonl
  files: [spans.jsonl]
  validation: 30
  test: 60
  lengths: [16, 24]
compress:
  - finetune: {epochs: 4, learning_rate: 5.0e-3, batch: 16}
  - vocabulary: {}
  - distill: {layers: [1], epochs: 3, learning_rate: 5.0e-3, batch: 16}
convert:
  formats: [tflite, onnx]
  schemes: [w32_a32_float, w8_a32_dynamic]
answers: {unsure_below: 0.6}
gates: {f1_drop: 60, accuracy_drop: 60}
"""


def rows(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Lines as a user writes them; some have spaces, marks and letters that cleaning changes."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        text, spans = "", []
        for _ in range(draw.randint(1, 3)):
            text += "".join(draw.choices("abcxyz", k=draw.randint(1, 3))) + draw.choice(
                (" ", "  ", "\u200b ", "e\u0301 ")
            )
            label = draw.choice(list(KINDS))
            name = draw.choice(KINDS[label])
            spans.append({"start": len(text), "end": len(text) + len(name), "label": label})
            text += name + draw.choice((" ", ", "))
        found.append({"text": text, "spans": spans})
    return found


def write(folder: Path, bert: Path, recipe: str = RECIPE, count: int = 300) -> Path:
    """``spans.yaml`` with its data beside it; ``bert`` is linked in."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in rows(count)]
    (folder / "spans.jsonl").write_text("".join(lines), "utf-8")
    if not (folder / "bert").exists():
        (folder / "bert").symlink_to(bert)
    file = folder / "spans.yaml"
    file.write_text(recipe)
    return file
