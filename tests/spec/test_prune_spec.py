from __future__ import annotations

from typing import Any

import pytest

from edgekit.errors import SpecError
from edgekit.spec.prune import MEASURES, Prune


@pytest.mark.parametrize(
    ("asked", "where", "says"),
    [
        ({}, "$", "nothing to prune"),
        ({"sparsity": 0.5, "heads": 4}, "$.sparsity", "not cut in one step"),
        ({"ffn": 64, "block": (4, 1)}, "$.block", "become zero together"),
        ({"sparsity": 0.5, "block": (4,)}, "$.block", "rows, columns"),
        ({"sparsity": 0.5, "block": (0, 4)}, "$.block", "rows, columns"),
        ({"sparsity": 1.0}, "$.sparsity", "out of range"),
        ({"ffn": 100}, "$.ffn", "multiples of 8"),
        ({"hidden": 100}, "$.hidden", "multiples of 8"),
        ({"heads": 0}, "$.heads", "too small"),
        ({"ffn": 64, "criterion": "movement"}, "$.schedule", "learned in training"),
        ({"layers": 2, "criterion": "fpgm"}, "$.criterion", "does not measure layers"),
        ({"sparsity": 0.5, "criterion": "activation"}, "$.criterion", "does not measure sparsity"),
        ({"hidden": 64, "scope": "global"}, "$.scope", "no shares of hidden"),
        (
            {"ffn": 64, "criterion": "movement", "schedule": "cubic", "scope": "sensitivity"},
            "$.scope",
            "before training",
        ),
        ({"ffn": 64, "candidates": 1}, "$.candidates", "too small"),
        ({"hidden": 64, "candidates": 8}, "$.candidates", "heads and ffn"),
        ({"ffn": 64, "candidates": 8, "scope": "global"}, "$.candidates", "heads and ffn"),
        ({"ffn": 64, "candidates": 8, "schedule": "cubic"}, "$.candidates", "heads and ffn"),
        ({"ffn": 64, "schedule": "cubic", "epochs": 0}, "$.epochs", "does not train"),
        ({"layers": 2, "schedule": "cubic"}, "$.schedule", "go at once"),
        ({"ffn": 64, "rise": (0.1, 0.5)}, "$.rise", "only a schedule"),
        ({"ffn": 64, "schedule": "cubic", "rise": (0.5, 0.1)}, "$.rise", "begin, end"),
        ({"ffn": 64, "schedule": "cubic", "rise": (0.5,)}, "$.rise", "begin, end"),
    ],
)
def test_what_contradicts_itself_is_refused_with_what_is_allowed(asked: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        Prune(**asked)
    assert caught.value.where == where
    assert caught.value.allowed is not None or caught.value.given is not None


@pytest.mark.parametrize("criterion", MEASURES)
def test_every_criterion_cuts_all_that_it_measures(criterion: str) -> None:
    schedule = "cubic" if criterion == "movement" else "once"
    for cut in MEASURES[criterion]:
        value: Any = {"heads": 4, "layers": 2, "sparsity": 0.5}.get(cut, 64)
        Prune(**{cut: value, "criterion": criterion, "schedule": schedule})
