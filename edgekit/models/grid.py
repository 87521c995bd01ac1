"""``quantization.json``: the int8 grid that a checkpoint's activations were trained on.

Quantization-aware training writes it, conversion to static int8 takes its ranges instead of calibrating: the file then
computes on the very grid that the weights learned to live with. It belongs to the weights it was learned with, which it
names by their digest: a checkpoint whose weights went on to change has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError, SpecError
from edgekit.spec import codec

SCHEMA = 1
FILE = "quantization.json"

#: Least and greatest value that int8 reaches, float32; zero is one of the values between them.
Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """What goes into a matrix product and what comes out. Scale and zero point follow as the quantizer has them:
    ``(high - low) / 255`` and ``round(-128 - low / scale)``, in float32."""

    input: Range
    output: Range


@dataclass(frozen=True)
class Grid:
    """``products`` by the dotted name of their ``nn.Linear``; those that read one tensor have one input range.

    ``spared`` are products that stay dynamic: one scale would spoil a tensor of theirs. ``weights`` is the
    :func:`digest` of all of these modules' weights.
    """

    products: dict[str, Ranges]
    spared: tuple[str, ...] = ()
    weights: str = ""
    scheme: str = "w8_a8_static"
    schema: int = field(default=SCHEMA, kw_only=True)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise SpecError("unknown quantization schema", where="$.schema", given=self.schema, allowed=SCHEMA)
        for name, one in self.products.items():
            for low, high in (one.input, one.output):
                if not low <= 0.0 <= high or low == high:
                    raise SpecError("a range holds zero, and more", where=f"$.products.{name}", given=[low, high])

    def fits(self, module: Any) -> bool:
        """Whether the weights of ``module`` are those that the ranges were learned with."""
        return self.weights == digest(module, (*self.products, *self.spared))


def digest(module: Any, names: Iterable[str]) -> str:
    """SHA-256 (hex) of the weights and biases of the modules called ``names``, in the order of their names."""
    found = hashlib.sha256()
    weights = module.state_dict()
    for name in sorted(names):
        for part in (f"{name}.weight", f"{name}.bias"):
            found.update(part.encode())
            if part in weights:
                found.update(weights[part].detach().contiguous().numpy().data)
    return found.hexdigest()


def read(folder: Path) -> Grid | None:
    """The grid in a checkpoint folder, ``None`` where it was not trained for one. Raises BuildError for a bad file."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return codec.loads(Grid, file.read_text("utf-8"), where=str(file))
    except SpecError as error:
        raise BuildError(error.message, where=error.where, given=error.given, allowed=error.allowed) from error


def write(grid: Grid, folder: Path) -> None:
    (folder / FILE).write_text(codec.dumps(grid) + "\n", "utf-8")
