"""A tiny recipe with a search over it."""

from __future__ import annotations

RECIPE = """\
name: mine
model: {path: bert}
data:
  source: jsonl
  files: [mine.jsonl]
  validation: 24
  test: 60
  lengths: [16]
compress:
  - finetune: {epochs: 3, learning_rate: 5.0e-3, batch: 16}
  - vocabulary: {}
  - distill: {layers: [0, 1], epochs: 1, learning_rate: 5.0e-3, batch: 16}
  - prune: {ffn: 32, samples: 16, epochs: 0}
convert:
  schemes: [w32_a32_float]
gates: {accuracy_drop: 70}
search:
  trials: 2
  random: 2
  ranges:
    - {path: compress.2.distill.layers, choices: [[0, 1], [1], [3]]}
    - {path: compress.3.prune.ffn, low: 32, high: 64, step: 32}
"""
