"""What people would use instead of edgekit, made as its own documentation says: one teacher, all its peers.

``export.py CHECKPOINT SAMPLES OUT`` writes into ``OUT`` for each peer its file and, in ``peers.json``, what it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from edgekit.convert import module
from edgekit.convert.tokens import Inputs, spread, tokenize
from edgekit.data.samples import Samples, read

CALIBRATION = 256
PADDED = 24


@dataclass(frozen=True)
class Peer:
    """``runtime`` is what board.py loads ``file`` with; ``lengths`` are its buckets, empty where no text is padded."""

    name: str
    runtime: str
    file: str
    lengths: tuple[int, ...] = ()


@dataclass(frozen=True)
class Given:
    """What every peer starts from."""

    checkpoint: Path
    samples: Samples
    lengths: tuple[int, ...]
    out: Path

    def texts(self) -> list[str]:
        return [one.text for one in self.samples.train[:CALIBRATION]]

    def calibration(self, lengths: Sequence[int]) -> dict[int, list[Inputs]]:
        """Texts by bucket."""
        return spread(tokenize(self.checkpoint, self.texts(), lengths[-1]), lengths, 16)


class Plain(nn.Module):
    """The model as transformers gives it: int64 ids and mask [1, length] in, logits [1, classes] out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def plain(given: Given, attention: str = "sdpa") -> nn.Module:
    from edgekit.models import checkpoint

    model = checkpoint.load(given.checkpoint).module
    model.set_attn_implementation(attention)
    return Plain(model).eval()


def example(length: int, dtype: torch.dtype = torch.int64) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.ones(1, length, dtype=dtype)
    return ids, torch.ones_like(ids)


def onnx_dynamic(given: Given) -> Peer:
    """ONNX Runtime's quantize_dynamic, one scale a channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file = given.out / "dynamic.onnx"
    quantize_dynamic(_onnx(given), file, per_channel=True, weight_type=QuantType.QInt8)
    return Peer("ONNX Runtime dynamic INT8, no padding", "onnx", file.name)


def onnx_float(given: Given) -> Peer:
    return Peer("ONNX Runtime float, no padding", "onnx", _onnx(given).name)


def _onnx(given: Given) -> Path:
    """torch.onnx.export with a dynamic length."""
    source = given.out / "float.onnx"
    length = torch.export.Dim("length", min=2, max=given.lengths[-1])
    torch.onnx.export(
        plain(given),
        example(16),
        source,
        dynamo=True,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=({1: length}, {1: length}),
        external_data=False,
    )
    return source


def litert_dynamic(given: Given) -> Peer:
    """ai-edge-quantizer's own dynamic recipe, in the length buckets of edgekit's best files."""
    return _litert(given, "dynamic_wi8_afp32", given.lengths, "dynamic INT8, bucketed")


def litert_static(given: Given) -> Peer:
    """Its own static recipe, all texts padded to one length: it cannot calibrate several signatures of one model."""
    return _litert(given, "static_wi8_ai8", (PADDED,), f"static INT8, padded to {PADDED}")


def _litert(given: Given, recipe: str, lengths: Sequence[int], title: str) -> Peer:
    import litert_torch
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    source, file = given.out / f"{recipe}.float.tflite", given.out / f"{recipe}.tflite"
    converter = litert_torch.Converter()
    model = plain(given, "eager")
    for length in lengths:
        ids, mask = example(length, torch.int32)
        converter.signature(f"len{length}", model, sample_kwargs={"input_ids": ids, "attention_mask": mask})
    source.write_bytes(converter.convert().model_content())
    worker = quantizer.Quantizer(str(source), getattr(recipes, recipe)())
    found = None
    if worker.need_calibration:
        found = worker.calibrate({f"len{length}": inputs for length, inputs in given.calibration(lengths).items()})
    worker.quantize(found).export_model(str(file), overwrite=True)
    return Peer(f"LiteRT, ai-edge-quantizer's stock {title}", "litert", file.name, tuple(lengths))


def executorch_static(given: Given) -> Peer:
    """PT2E with XNNPACK's quantizer, as ExecuTorch's tutorial has it, lowered to XNNPACK; one dynamic length."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    length = torch.export.Dim("length", min=2, max=given.lengths[-1])
    shapes = ({1: length}, {1: length})
    like = example(16, torch.int32)
    exported = torch.export.export(plain(given), like, dynamic_shapes=shapes).module()
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    # Hugging Face models hold integer scalars, which its own pass would turn to float (executorch #22062)
    quantizer.transform_for_annotation = lambda graph: graph
    prepared = prepare_pt2e(exported, quantizer)
    for texts in given.calibration(given.lengths).values():
        for one in texts:
            prepared(*(torch.from_numpy(one[name]).int() for name in ("input_ids", "attention_mask")))
    quantized = torch.export.export(convert_pt2e(prepared), like, dynamic_shapes=shapes)
    program = to_edge_transform_and_lower(quantized, partitioner=[XnnpackPartitioner()]).to_executorch()
    file = given.out / "static.pte"
    file.write_bytes(program.buffer)
    return Peer("ExecuTorch, XNNPACK's stock static INT8, no padding", "executorch", file.name)


def torch_dynamic(given: Given) -> Peer:
    """torch.ao.quantization.quantize_dynamic over all Linear layers, traced."""
    torch.backends.quantized.engine = "qnnpack"
    quantized = torch.ao.quantization.quantize_dynamic(plain(given, "eager"), {nn.Linear}, dtype=torch.qint8)
    file = given.out / "dynamic.pt"
    with torch.inference_mode():
        torch.jit.save(torch.jit.trace(quantized, example(16), check_trace=False), file)
    return Peer("torch dynamic INT8, no padding", "torch", file.name)


PEERS: dict[str, Callable[[Given], Peer]] = {
    "onnx-dynamic": onnx_dynamic,
    "onnx-float": onnx_float,
    "litert-dynamic": litert_dynamic,
    "litert-static": litert_static,
    "executorch-static": executorch_static,
    "torch-dynamic": torch_dynamic,
}


def main(checkpoint: str, samples: str, out: str, *wanted: str) -> None:
    given = Given(Path(checkpoint), read(Path(samples)), (8, 12, 16, 24, 64), Path(out))
    given.out.mkdir(parents=True, exist_ok=True)
    listing = given.out / "peers.json"
    made = json.loads(listing.read_text()) if listing.exists() else {}
    for name in wanted or tuple(PEERS):
        with module.hushed():
            made[name] = asdict(PEERS[name](given))
        listing.write_text(json.dumps(made, indent=1))
        print(name, (given.out / made[name]["file"]).stat().st_size, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
