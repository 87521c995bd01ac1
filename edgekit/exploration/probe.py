"""Models of one or two layers, to measure what one costs: cut out of a checkpoint, so that they are exported as it is.

What a layer computes does not matter here, only its shapes do: widths the checkpoint has not are filled at random.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit import compress, convert
from edgekit.data.samples import Samples
from edgekit.errors import BuildError, MissingExtra
from edgekit.exploration.table import Shape, shapes
from edgekit.models import checkpoint as checkpoints
from edgekit.models.structure import Layer, Structure
from edgekit.spec.quantize import Convert, Quantization
from edgekit.spec.recipe import Step
from edgekit.spec.scheme import STARTS_FROM
from edgekit.spec.steps import Vocabulary

try:
    import torch
except ImportError as error:
    raise MissingExtra("torch", "host") from error

#: Texts a probe is calibrated on, and whose tokens its vocabulary keeps: its ranges need not be good.
TEXTS = 64


def read(folder: Path) -> tuple[Structure, tuple[Shape, ...]]:
    """The structure of a checkpoint folder, and its layers as the table knows them."""
    structure = checkpoints.read_structure(folder)
    config = json.loads((folder / checkpoints.CONFIG).read_text("utf-8"))
    activation = config.get("hidden_act") or config.get("activation_function") or config.get("activation") or ""
    return structure, shapes(structure, str(activation))


def write(
    source: Path,
    shape: Shape,
    count: int,
    samples: Samples,
    out: Path,
    *,
    lengths: Sequence[int],
    whole_vocabulary: bool = False,
) -> None:
    """A checkpoint of ``count`` layers of ``shape`` at ``out``, from a layer of ``source`` that differs from it in
    heads and feed-forward width at most; with a vocabulary of a few texts, or the whole one where its tokenizer is
    what is measured."""
    structure, there = read(source)
    number = next((one for one, found in enumerate(there) if found == shape), None)
    loaded = checkpoints.load(source)
    if number is None:
        number = next(n for n, one in enumerate(there) if replace(one, heads=shape.heads, ffn=shape.ffn) == shape)
    layer = list(loaded.family.layers(loaded.module))[number]
    loaded.family.set_layers(loaded.module, [copy.deepcopy(layer) for _ in range(count)])
    loaded.teacher_layers = (structure.teacher_layers[number],) * count
    if there[number] != shape:
        wanted = [Layer(shape.heads, shape.ffn)] * count
        checkpoints.shape(loaded.family, loaded.module, wanted, structure.head_size)
        _fill(loaded.module)
    if whole_vocabulary:
        checkpoints.save(loaded, out)
        return
    whole = out.with_name(out.name + "-whole")
    checkpoints.save(loaded, whole)
    few = replace(samples, train=samples.train[:TEXTS], validation=samples.validation[:1], unlabeled=[])
    try:
        compress.apply(Step(vocabulary=Vocabulary()), whole, None, few, out, lengths=lengths, seed=0)
    except BuildError:
        # a vocabulary that cannot be trimmed is not large either: it was hashed, or trimmed to characters
        whole.rename(out)


def export(
    folder: Path,
    format: str,
    schemes: Sequence[str],
    samples: Samples,
    asked: Convert,
    lengths: Sequence[int],
    block: int = 0,
    runtime: str | None = None,
) -> dict[str, convert.Converted]:
    """The checkpoint as one file a scheme, in its own folder. Of quantization only ``block`` decides kernels;
    ``runtime`` as for ``convert``."""
    few = replace(samples, train=samples.train[:TEXTS])
    files: dict[str, convert.Converted] = {}
    first = STARTS_FROM.get(format)
    for scheme in dict.fromkeys([*([first] if first else []), *schemes]):
        files[scheme] = convert.convert(
            folder,
            format=format,
            scheme=scheme,
            lengths=lengths,
            samples=few,
            calibration=replace(asked.calibration, samples=min(asked.calibration.samples, len(few.train))),
            out=folder / f"{scheme}.{format}",
            seed=0,
            float_file=files[first].file if first in files else None,
            quantization=Quantization(block=block or None) if scheme in schemes else None,
            runtime=runtime,
        )
    return {scheme: files[scheme] for scheme in schemes}


def least_bytes(folder: Path, bits: int) -> int:
    """What the matrices of a checkpoint take at ``bits`` a weight, each counted once: no file of it is smaller."""
    module = checkpoints.load(folder).module
    distinct = {one.data_ptr(): one for name, one in module.named_parameters() if one.ndim == 2 and _shipped(name)}
    return sum(int(one.numel()) for one in distinct.values()) * bits // 8


def _shipped(name: str) -> bool:
    # of positions only those up to the longest bucket are shipped, of token types one row
    return not any(part in name for part in ("position", "token_type", "wpe"))


def _fill(module: Any) -> None:
    """Weights that were made new hold anything: give every matrix small random numbers, the same each time."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in module.parameters():
            if one.ndim > 1:
                one.copy_(torch.randn(one.shape, generator=generator) * 0.02)
            else:
                one.copy_(torch.nan_to_num(one, 0.0, 0.0, 0.0).clamp(-1.0, 1.0))
