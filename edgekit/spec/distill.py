"""The recipe's distillation: which student, from whom, by which losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from edgekit.errors import SpecError
from edgekit.spec.training import Learning


@dataclass(frozen=True)
class Distill(Learning):
    """Train a student made of chosen teacher ``layers`` (none named: all of them) from the teacher."""

    layers: Tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.layers) != sorted(set(self.layers)):
            raise SpecError(
                "name the teacher layers the student keeps, rising", where="$.layers", given=list(self.layers)
            )
