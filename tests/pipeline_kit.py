"""A recipe over one's own JSONL file and one's own checkpoint folder, as a user would write them."""

from __future__ import annotations

import json
import random
from pathlib import Path

KINDS = {"animal": ("cat", "dog", "cats"), "weather": ("sun", "sunny", "rain"), "motion": ("run", "runs", "never")}
RECIPE = """\
name: mine
model: {path: bert}
data:
  source: jsonl
  files: [mine.jsonl]
  validation: 24
  test: 60
  lengths: [8, 16]
compress:
  - finetune: {epochs: 4, learning_rate: 5.0e-3, batch: 16}
  - vocabulary: {}
  - distill: {layers: [1], epochs: 2, learning_rate: 5.0e-3, batch: 16}
  - prune: {heads: 2, ffn: 32, samples: 16, epochs: 5, batch: 16}
convert:
  schemes: [w32_a32_float, w8_a32_dynamic]
gates: {accuracy_drop: 60}
"""


def write(folder: Path, bert: Path, recipe: str = RECIPE, texts: int = 240) -> Path:
    """``mine.yaml`` with its data beside it; ``bert`` is linked in."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(5)
    rows = []
    for number in range(texts):
        label = list(KINDS)[number % len(KINDS)]
        words = ["".join(draw.choices("abcxyz", k=draw.randint(1, 4))) for _ in range(draw.randint(1, 4))]
        words.insert(draw.randint(0, len(words)), draw.choice(KINDS[label]))
        rows.append({"text": " ".join(words), "label": label})
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if not (folder / "bert").exists():
        (folder / "bert").symlink_to(bert)
    file = folder / "mine.yaml"
    file.write_text(recipe)
    return file
