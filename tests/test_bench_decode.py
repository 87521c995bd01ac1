"""``tools/bench-decode``: which of a text's times belong to which position, and the plot of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from edgekit.errors import UsageError
from edgekit.spec.wire import Generated

TOOL = Path(__file__).parents[1] / "tools" / "bench-decode"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_decode", TOOL / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["bench_decode"] = made
    sys.path.insert(0, str(TOOL))
    try:
        spec.loader.exec_module(made)
    finally:
        sys.path.remove(str(TOOL))
    return made


def text(prompt: int, context: int, stopped: str = "context") -> Generated:
    """Each token's time says how many tokens stood before it."""
    times = tuple(float(one) for one in range(prompt, context))
    return Generated("", tuple(range(len(times) + 1)), prompt, 0, stopped, 1.0, times)  # type: ignore[arg-type]


def test_a_position_has_the_times_of_the_tokens_around_it(tool: ModuleType) -> None:
    found = tool.costs(text(prompt=3, context=256), {64: 9.0}, 256)
    assert [one.position for one in found] == [32, 64, 128, 256]
    assert [one.cached for one in found[:3]] == [31.5, 63.5, 127.5]
    assert found[-1].cached == 247.5, "the last ones there are"
    assert [one.recomputed for one in found] == [None, 9.0, None, None]
    assert tool.Costs("host", "wall", "a", "s", 256, found).kept == pytest.approx(31.5 / 247.5)


def test_a_text_that_ended_early_is_no_measurement(tool: ModuleType) -> None:
    with pytest.raises(UsageError, match="before its context was full"):
        tool.full(text(3, 40, "end"))
    assert tool.requests("a", 64)[0].max_tokens == 65, "one more than there is room for: the context ends it"


def test_the_plot_has_a_panel_a_place_and_a_point_a_position(tool: ModuleType) -> None:
    found = tool.Costs("host", "wall", "a", "s", 256, tool.costs(text(3, 256), {32: 50.0, 64: 99.0}, 256))
    drawn = ElementTree.fromstring(tool.plot.draw({"host": tool.lines(found), "rpi4": tool.lines(found)}))
    tags = [one.tag.rpartition("}")[2] for one in drawn.iter()]
    assert (tags.count("g"), tags.count("polyline"), tags.count("circle")) == (2, 4, 2 * (4 + 2))
    heights = [float(one.attrib["cy"]) for one in drawn.iter() if one.tag.endswith("circle")]
    assert heights[0] > heights[3], "what costs more stands higher"
