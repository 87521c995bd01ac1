"""The drawings and tables of a search and of a sensitivity scan."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from edgekit.report import searched, sensitivity
from edgekit.report.heatmap import heatmap
from edgekit.report.pareto import Point, pareto
from edgekit.spec.recipe import Gates
from edgekit.spec.trial import Cell, Option, Sensitivity, Trial

POINTS = [
    Point("trial 0", 1.0, 80.0, 1_000_000, "front"),
    Point("trial 1", 2.0, 82.0, 4_000_000, "knee"),
    Point("trial 2", 3.0, 79.0, 4_000_000, "beaten"),
]
TRIALS = [
    Trial(0, {"compress.1.prune.ffn": 64}, "trained", "", Option("tflite-a", 1.0, 1_000_000, 80.0, 1.0), {}),
    Trial(1, {"compress.1.prune.ffn": 128}, "skipped", "not trained: size 4.00 MB", Option("tflite-a", 2.0, 4_000_000)),
    Trial(2, {"compress.1.prune.ffn": 8}, "refused", "<no such layer>"),
]
SCAN = Sensitivity(
    "mine",
    82.0,
    500,
    1.7,
    2,
    (
        Cell("int8 static", 0, 0.4),
        Cell("int8 static", 1, 12.5),
        Cell("half the heads", 0, 3.0),
        Cell("half the heads", 1, None, "it has one head"),
    ),
    "rpi4",
    {"half the heads/0": 0.25},
)


def test_a_discs_area_is_its_files_size_and_quicker_is_further_left() -> None:
    drawn = ElementTree.fromstring(pareto("p", "Front", POINTS, "ms"))
    discs = sorted(
        (one for one in drawn.iter() if one.tag.endswith("circle")), key=lambda one: float(one.get("cx", ""))
    )
    radii = [float(one.get("r", "")) for one in discs]
    assert radii[1] == radii[2] == 2 * radii[0]
    assert [one.get("class") for one in discs] == ["disc front", "disc knee", "disc beaten"]
    heights = [float(one.get("cy", "")) for one in discs]
    assert heights[1] < heights[0] < heights[2], "more accurate is further up"


def test_one_candidate_alone_can_be_drawn() -> None:
    ElementTree.fromstring(pareto("p", "Front", POINTS[:1], "ms"))


def test_the_heat_map_colours_what_is_beyond_noise() -> None:
    drawn = ElementTree.fromstring(heatmap("h", "Heat", ["a"], ["0", "1", "2", "3"], [[0.5, 5.0, 10.0, None]], 1.0))
    cells = [float(one.get("fill-opacity", "")) for one in drawn.iter() if one.tag.endswith("rect")]
    assert cells == [0.0, 0.444, 1.0, 0.0]


def test_a_search_is_told_trial_by_trial_and_its_markup_is_escaped(tmp_path: Path) -> None:
    said = searched.content("mine", "rpi4", TRIALS, (0,), None, [("gates", searched.gates(Gates(size_mb=2.5)))])
    text = searched.write_markdown(said, tmp_path / "a.md").read_text()
    assert "size ≤ 2.5 MB" in text
    assert "not trained: size 4.00 MB" in text
    page = searched.write_html(said, tmp_path / "a.html").read_text()
    assert page.count("<circle") == 1
    assert "&lt;no such layer&gt;" in page
    assert said.drawn.columns == ("trial", "ffn", "verdict")
    assert [row[1] for row in said.drawn.rows] == ["64", "128", "8"]


def test_a_value_is_named_by_as_much_of_its_path_as_tells_it_apart() -> None:
    paths = ["compress.1.prune.ffn", "compress.2.distill.student.ffn", "compress.2.distill.layers", "seed"]
    assert list(searched.short_names(paths).values()) == ["prune.ffn", "student.ffn", "layers", "seed"]
    assert searched.short_names(["seed", "data.seed"]) == {"seed": "seed", "data.seed": "data.seed"}


def test_a_search_that_trained_nothing_has_a_page_too(tmp_path: Path) -> None:
    said = searched.content("mine", "host", TRIALS[1:], (), None, [])
    assert "<circle" not in searched.write_html(said, tmp_path / "a.html").read_text()


def test_a_scan_says_what_is_noise_what_it_saves_and_what_was_not_tried(tmp_path: Path) -> None:
    table = sensitivity.table(SCAN)
    assert table.rows == (("int8 static", "0.40", "12.50"), ("half the heads", "3.00 (0.250)", "–"))
    assert "1.7 points" in sensitivity.summary(SCAN)
    page = sensitivity.write_html(SCAN, tmp_path / "a.html").read_text()
    assert "half the heads, layer 1: it has one head" in page
