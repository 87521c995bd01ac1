from __future__ import annotations

import pytest

from edgekit.errors import SpecError
from edgekit.spec.answers import Answers


def test_one_way_to_be_unsure() -> None:
    with pytest.raises(SpecError, match="two ways"):
        Answers(unsure_below=0.5, sure_accuracy=95)


@pytest.mark.parametrize(("name", "value"), [("unsure_below", 1.5), ("unsure_below", -0.1), ("sure_accuracy", 101)])
def test_bounds_out_of_range(name: str, value: float) -> None:
    with pytest.raises(SpecError, match="out of range") as caught:
        Answers(**{name: value})
    assert caught.value.where == "$." + name
