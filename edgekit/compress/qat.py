"""Quantization-aware training: the model learns on the very grid that its file will compute on.

Every ``nn.Linear`` is replaced by a product in the runtime's integers (:mod:`edgekit.compress.fakequant`), rows of the
embeddings are rounded as the file stores them, and the whole learns from the teacher. At the end the weights are
written back on their grid, so that the file holds these very integers, and the ranges of activations go beside them
(:mod:`edgekit.models.grid`), so that conversion takes them instead of calibrating.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edgekit.compress import evaluate, fakequant
from edgekit.compress.distill import teach
from edgekit.compress.encoded import Encoded, encode
from edgekit.compress.fakequant import DynamicProduct, Lsq, Observed, Pact, Product, Regrouped, StaticProduct
from edgekit.compress.observe import End, observe
from edgekit.compress.task import Task
from edgekit.compress.training import StepHook, reported
from edgekit.errors import BuildError
from edgekit.models import checkpoint as checkpoints
from edgekit.models import grid
from edgekit.models.checkpoint import Checkpoint
from edgekit.models.grid import Grid, Ranges
from edgekit.spec.qat import Qat
from edgekit.spec.step import StepReport
from edgekit.spec.task import LANGUAGE, NATURES

CLIPPINGS: dict[str, type[Observed]] = {"observed": Observed, "lsq": Lsq, "pact": Pact}


def run(options: Qat, task: Task) -> StepReport:
    """Calibrate, train for ``options.epochs``, bake, save."""
    started = time.monotonic()
    loaded = checkpoints.load(task.checkpoint)
    _check(loaded)
    drawn = random.Random(task.seed).sample(task.samples.train, min(options.samples, len(task.samples.train)))
    prepare(loaded, options, encode(drawn, loaded, task.lengths[-1]))
    if options.epochs:
        trained = teach(loaded, options, task, "qat", before_step=_penalty(loaded.module, options))
        done = reported("qat", loaded, trained, started)
    else:
        done = evaluate.untrained("qat", loaded, task, started)
    spared = bake(loaded, options)
    checkpoints.save(loaded, task.out)
    return replace(done, parameters=loaded.parameters, remarks=_remarks(spared))


def _check(checkpoint: Checkpoint) -> None:
    if checkpoint.structure.codebooks:
        raise BuildError(
            "this model's weights are from codebooks, which training on a grid would leave",
            where="$.compress qat",
            given=", ".join(one.name for one in checkpoint.structure.codebooks),
            remedy="leave out the step that clusters, or qat",
        )


def prepare(checkpoint: Checkpoint, options: Qat, data: Encoded) -> None:
    """Replace every ``nn.Linear`` in place; ``data`` is what a static scheme's ranges are calibrated on."""
    module = checkpoint.module
    learned, size = options.clipping == "lsq", checkpoint.family.head_size(module)
    key, value = (None, None) if options.static else _alone(checkpoint)
    grids = _grids(checkpoint, options, data) if options.static else {}
    for name, part in list(module.named_modules()):
        if not isinstance(part, nn.Linear):
            continue
        read, written = grids.get((name, "input")), grids.get((name, "output"))
        if part is key or part is value:
            module.set_submodule(name, Regrouped(part, options.bits, size if part is key else 0))
        elif read and written:
            module.set_submodule(name, StaticProduct(part, options.bits, learned, read, written))
        else:
            module.set_submodule(name, DynamicProduct(part, options.bits, learned))
    for table, added in _tables(checkpoint):
        table.register_forward_hook(partial(_rounded, options.bits, added))


def bake(checkpoint: Checkpoint, options: Qat) -> tuple[str, ...]:
    """Undo :func:`prepare`, with the weights on their grid and ``checkpoint.grid`` set where activations have ranges.

    Returns: the names of the products that a static scheme leaves dynamic because one scale would spoil a tensor.
    """
    module = checkpoint.module
    products, dynamic, spared = {}, [], []
    for name, part in list(module.named_modules()):
        if not isinstance(part, Product):
            continue
        if isinstance(part, StaticProduct):
            products[name] = Ranges(_numbers(part.input), _numbers(part.output))
        else:
            dynamic.append(name)
        if options.static and isinstance(part, DynamicProduct):
            spared.append(name)
        part.bake()
        module.set_submodule(name, part.plain())
    for table, added in _tables(checkpoint):
        table._forward_hooks.clear()
        with torch.no_grad():
            table.weight.copy_(_rounded(options.bits, added, None, None, table.weight))
    if options.static:
        checkpoint.grid = Grid(products, tuple(dynamic), grid.digest(module, (*products, *dynamic)))
    return tuple(spared)


def _alone(checkpoint: Checkpoint) -> tuple[nn.Module | None, nn.Module | None]:
    """The last layer's key and value. One token asks there, and a file without a grid of theirs applies each head's key
    to its query instead. None where the layer stands in the stack again or all tokens are read, and it computes as the
    others do."""
    layers = list(checkpoint.family.layers(checkpoint.module))
    if NATURES[checkpoint.task].reads_all or sum(one is layers[-1] for one in layers) > 1:
        return None, None
    attention = checkpoint.family.attention(layers[-1])
    return attention.key, attention.value


def _grids(checkpoint: Checkpoint, options: Qat, data: Encoded) -> dict[End, Observed]:
    """One grid for each tensor, under all of its ends; tensors that one scale would spoil have none, and no scale does
    for the logits of all next tokens."""
    make, module = CLIPPINGS[options.clipping], checkpoint.module
    output = checkpoint.family.head(module).classifier if checkpoint.task == LANGUAGE else None
    products = {name: one for name, one in module.named_modules() if isinstance(one, nn.Linear) and one is not output}
    key, value = _alone(checkpoint)
    last = set() if key is None else set(list(checkpoint.family.layers(module))[-1].modules()) - {key, value}
    # all else in the last layer a file computes for the one token that is read
    read = slice(0, 1) if checkpoint.family.reads == "first" else slice(-1, None)
    seen = observe(module, data, products, {name: read for name, one in products.items() if one in last})
    kept = [one for one in seen if one.fidelity >= options.fidelity]
    grids = {end: made for one in kept for made in [make(one.low, one.high)] for end in one.ends}
    for writer, reader in _rectified(checkpoint):
        if (writer, "output") in grids and (reader, "input") in grids:
            grids[writer, "output"] = grids[reader, "input"]
    return grids


def _rectified(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Products with nothing but ReLU between them, by name. A file has it in the first product's kernel: one tensor
    goes from it to the second, on the grid that the second reads."""
    family, module = checkpoint.family, checkpoint.module
    head = family.head(module)
    between = [(head.dense, head.activation, head.classifier)]
    for layer in family.layers(module):
        both = family.feed_forward(layer)
        between.append((both.up, both.activation, both.down))
    names = {id(one): name for name, one in module.named_modules()}
    return [
        (names[id(writer)], names[id(reader)])
        for writer, then, reader in between
        if writer is not None and (isinstance(then, nn.ReLU) or then in (torch.relu, functional.relu))
    ]


def _tables(checkpoint: Checkpoint) -> list[tuple[nn.Embedding, nn.Embedding | None]]:
    """The tables whose rows files hold as integers: those that token ids index, whatever stands around them, and the
    positions', to which files add row 0 of the other one."""
    word = checkpoint.family.word_embedding(checkpoint.module)
    sums = checkpoint.family.embeddings(checkpoint.module)
    words = [(one, None) for one in word.modules() if isinstance(one, nn.Embedding)]
    return words if sums.position is None else [*words, (sums.position, sums.token_type)]


def _rounded(bits: int, added: nn.Embedding | None, _: Any, inputs: Any, rows: torch.Tensor) -> torch.Tensor:
    if added is None:
        return fakequant.rows(rows, bits)
    return fakequant.rows(rows + added.weight[0], bits) - added.weight[0]


def _numbers(one: Observed) -> grid.Range:
    low, high = one.range()
    return low.item(), high.item()


def _penalty(module: Any, options: Qat) -> StepHook:
    """Adds the gradient of PACT's penalty to the thresholds'."""
    learned = [one for one in module.modules() if isinstance(one, Pact)]

    def hook(step: int, steps: int) -> None:
        for one in learned:
            (options.clip_decay * one.penalty()).backward()

    return hook


def _remarks(spared: tuple[str, ...]) -> tuple[str, ...]:
    return (f"dynamic, as one scale a tensor would spoil them: {', '.join(spared)}",) if spared else ()
