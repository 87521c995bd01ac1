"""Checkpoints: where they come from, how they are stored, and how each model family is laid out."""

import logging
import os

# OpenMP threads that spin while they wait starve each other on a busy machine: a training step took ten times as long.
# Read once, when torch loads its OpenMP; every module that trains imports this package first.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# transformers imports torchao, which tells of GPU kernels it cannot load and of enums it registers: no news for anyone
logging.getLogger("torchao").setLevel(logging.ERROR)
logging.getLogger("torch.utils._pytree").addFilter(lambda record: "is an Enum subclass" not in str(record.msg))
