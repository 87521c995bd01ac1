"""A language that a tiny GPT-2 can learn: each word goes on with one of two others; and a recipe over it."""

from __future__ import annotations

import random
from pathlib import Path

WORDS = ("a", "cat", "and", "dog", "sun", "rain", "dogs", "run", "never", "sunny", "word", "the", "runs", "in")
RECIPE = """\
name: chain
task: language
model: {path: gpt2}
data:
  source: text
  files: [chain.txt]
  validation: 30
  test: 60
  lengths: [16]
compress:
  - finetune: {epochs: 3, learning_rate: 5.0e-3, batch: 16}
  - vocabulary: {}
  - distill: {layers: [0, 2], epochs: 3, learning_rate: 3.0e-3, batch: 16}
convert:
  schemes: [w8_a32_dynamic]
gates: {perplexity_rise: 60, accuracy_drop: 30}
"""


def texts(count: int, seed: int = 3) -> list[str]:
    """Sentences of 3 to 8 words of a Markov chain."""
    draw = random.Random(seed)
    following = {word: draw.sample(WORDS, 2) for word in WORDS}
    found = []
    for _ in range(count):
        words = [draw.choice(WORDS)]
        for _ in range(draw.randint(2, 7)):
            words.append(draw.choice(following[words[-1]]))
        found.append(" ".join(words))
    return found


def write(folder: Path, gpt2: Path, recipe: str = RECIPE, count: int = 300) -> Path:
    """``chain.yaml`` with its data beside it; ``gpt2`` is linked in."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chain.txt").write_text("\n".join(texts(count)) + "\n")
    if not (folder / "gpt2").exists():
        (folder / "gpt2").symlink_to(gpt2)
    file = folder / "chain.yaml"
    file.write_text(recipe)
    return file
