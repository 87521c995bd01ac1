"""What every format's converter is asked for, and what it hands back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.spec.manifest import Realised, Signature, Tensor
from edgekit.spec.progress import Report, quiet
from edgekit.spec.quantize import Calibration, Generation, Quantization
from edgekit.spec.task import CLASSIFY, NATURES, Task


@dataclass(frozen=True)
class Job:
    """One file to write. ``texts`` are for calibration, empty where the scheme needs none; ``seed`` is for stochastic
    rounding; ``generation`` is for language models that write.
    ``integer_results`` says whether the format's runtime cuts what a static product gives to int8 as well, ``runtime``
    which one has to read the file, ``None`` being the newest of its format."""

    checkpoint: Path
    scheme: str
    lengths: tuple[int, ...]
    texts: tuple[str, ...]
    calibration: Calibration
    out: Path
    report: Report = quiet
    float_file: Path | None = None
    quantization: Quantization = field(default_factory=Quantization)
    seed: int = 0
    generation: Generation | None = None
    integer_results: bool = True
    runtime: str | None = None


@dataclass(frozen=True)
class Converted:
    """A file that was written. ``parameters`` counts the module's weights before quantization; a ``dynamic`` file takes
    any length up to its longest. ``runtimes`` are those that have all its operators, where not every one of its format
    does."""

    file: Path
    signatures: tuple[Signature, ...]
    realised: Realised
    parameters: int
    runtimes: tuple[str, ...] = ()
    dynamic: bool = False


def signature_name(length: int) -> str:
    """The entry point for texts of up to ``length`` tokens."""
    return f"len{length}"


def signatures(lengths: Sequence[int], classes: int, task: Task = CLASSIFY) -> tuple[Signature, ...]:
    """One a bucket: int32 ``input_ids`` and ``attention_mask`` [1, length] → float32 ``logits`` [1, classes], or of a
    model that answers by token [1, length, classes]."""
    return tuple(
        Signature(
            name=signature_name(length),
            length=length,
            inputs=(Tensor("input_ids", (1, length), "int32"), Tensor("attention_mask", (1, length), "int32")),
            outputs=(Tensor("logits", (1, length, classes) if NATURES[task].by_token else (1, classes), "float32"),),
        )
        for length in lengths
    )


def write_whole(out: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary sibling of ``out``, then put it in place: whole or not at all."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
