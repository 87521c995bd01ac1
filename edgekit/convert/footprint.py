"""How much memory a .tflite file takes where it runs, estimated from the file alone: an upper bound.

LiteRT maps the file, and XNNPACK packs the weights of every signature anew when it is loaded, whichever lengths are
asked for later; activations are small beside that. So memory grows with the number of length buckets. Measured with
MiniLM (VmHWM above the bare interpreter, 2,000 texts, one thread): 230 MB in float with 2 buckets, 407 with 6, 627 with
11, 672 with 12; 152 in static int8 with 6, 215 with 11, 228 with 12; a student of 2 layers, int8, 5 buckets: 53 MB, and
50 on an emulated Pi 4. The estimates are 3 to 14 % above these.
"""

from __future__ import annotations

import math
from itertools import accumulate
from pathlib import Path

from edgekit.convert import flatbuffer
from edgekit.convert.flatbuffer import Subgraph
from edgekit.spec.manifest import DECODE

#: Python's modules, numpy, tokenizers, LiteRT and the agent, as they are imported; the texts in hand.
_IMPORTED = 44_000_000
#: A tokenizer in memory against its JSON.
_TOKENIZER = 22
#: What the interpreter and XNNPACK keep of an operator.
_OPERATOR = 5_000
#: Packed rows of a weight are filled up, and carry their bias and scale.
_FILLED, _ROW = 1.01, 16
#: Operators whose weights are packed.
_PACKED = {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"}
_BYTES = {"bool": 1, "int8": 1, "uint8": 1, "float16": 2, "int16": 2, "float32": 4, "int32": 4, "int64": 8}


def estimate(file: Path, format: str, tokenizer: int) -> int | None:
    """Peak memory in bytes, above the bare interpreter, of a process that loads ``file`` and answers with it on one
    thread; ``tokenizer`` is the size of its tokenizer.json. ``None`` where the format's runtime is not known so well,
    or the file generates: its cache is the agent's, in several copies.
    """
    if format != "tflite":
        return None
    model = flatbuffer.read(file)
    if DECODE in model.signatures:
        return None
    packed = sum(_packed(graph) + _alive(graph) for graph in model.subgraphs)
    return _IMPORTED + _TOKENIZER * tokenizer + file.stat().st_size + packed


def _packed(graph: Subgraph) -> int:
    """What a signature's delegate makes of its weights."""
    made = {place: one for one in graph.operators if one.kind == "DEQUANTIZE" for place in one.outputs}
    total = _OPERATOR * len(graph.operators)
    for one in graph.operators:
        if one.kind not in _PACKED:
            continue
        place = one.inputs[1]
        weight, source = graph.tensors[place], made.get(place)
        if weight.constant:
            total += int(_FILLED * weight.size) + _ROW * weight.shape[0]
        elif source is not None and graph.tensors[source.inputs[0]].constant:
            # turned to float32 once, and packed as that
            total += int(2 * _FILLED * 4 * math.prod(weight.shape)) + _ROW * weight.shape[0]
    return total


def _alive(graph: Subgraph) -> int:
    """The greatest sum of activations that are needed at one time."""
    last = len(graph.operators)
    first: dict[int, int] = {}
    until: dict[int, int] = {}
    for number, one in enumerate(graph.operators):
        for place in one.inputs:
            first.setdefault(place, 0)
            until[place] = number
        for place in one.outputs:
            first.setdefault(place, number)
            until.setdefault(place, last)
    changes = [0] * (last + 2)
    for place, begun in first.items():
        tensor = graph.tensors[place]
        if not tensor.constant:
            size = _BYTES.get(tensor.dtype, 4) * math.prod(tensor.shape)
            changes[begun] += size
            changes[until[place] + 1] -= size
    return max(accumulate(changes))
