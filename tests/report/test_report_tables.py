from __future__ import annotations

import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import bench_kit as kit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.report import html, markdown, plots, tables, terminal
from edgekit.report.compare import compare
from edgekit.spec.result import Result, Run

GOLDEN = Path(__file__).parent / "report.md"
COLUMNS = (
    "solution",
    "ms/sentence baseline",
    "ms/sentence optimized",
    "improvement",
    "memory reduction %",
    "power reduction %",
    "size",
    "accuracy",
    "Δ accuracy",
)


def failed() -> Result:
    return kit.result(
        (
            Run(kit.job(kit.BASELINE), failure="killed: out of memory"),
            Run(kit.job(kit.OPTIMIZED), kit.measured(19.6, 48.0)),
            Run(kit.job(kit.PADDED), kit.measured(1040.0, 162.0), invalid=("throttled", "swapping")),
        )
    )


def printed(renderable: object, width: int) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(renderable)
    return out.getvalue()


def test_markdown_is_the_golden_text() -> None:
    """On purpose changed? Write it anew: ``python tests/report/make_golden.py``."""
    assert markdown.text(kit.result()) == GOLDEN.read_text("utf-8")


def test_the_first_table_has_the_columns_and_a_row_for_the_padded_baseline() -> None:
    table = tables.content(kit.result()).comparison
    assert table.columns == COLUMNS
    assert [row[0] for row in table.rows] == [
        "edgekit w8_a8_static against float32, same length buckets",
        "edgekit w8_a8_static against float32 padded to 128",
    ]
    assert table.rows[0][4:] == (
        "66.0 %",
        "not measured: no sensor",
        "6.1 MB of 91.1 MB",
        "80.90 %",
        "−0.55 points",
    )


@pytest.mark.parametrize("make", [markdown.text, html.text, lambda result: printed(terminal.render(result), 400)])
def test_a_counted_clock_is_never_passed_off_as_time(make) -> None:
    counted = make(kit.result())
    assert "counted, not measured" in counted
    assert "A real board will differ" in counted
    emulated = make(kit.result(clock="wall"))
    assert "counted" not in emulated
    assert "emulated board, whose speed is not a real board" in emulated.replace("&#x27;", "'")
    assert "emulated board" not in make(kit.result(clock="wall", emulated=False))


@pytest.mark.parametrize("make", [markdown.text, html.text, lambda result: printed(terminal.render(result), 400)])
def test_what_failed_or_was_left_out_is_said(make) -> None:
    said = make(failed())
    assert "killed: out of memory" in said
    assert "throttled, swapping" in said
    first = tables.content(failed()).comparison.rows[0]
    assert (first[1], first[3], first[4]) == ("failed", "–", "–")


def test_nothing_measured_at_all_still_makes_a_report() -> None:
    runs = tuple(Run(kit.job(one), failure="SIGSEGV") for one in (kit.BASELINE, kit.OPTIMIZED, kit.PADDED))
    nothing = kit.result(runs)
    assert "<svg" not in html.text(nothing)
    assert "SIGSEGV" in markdown.text(nothing)
    assert "failed" in printed(terminal.render(nothing), 120)


@pytest.mark.parametrize("width", [60, 80, 119, 120, 200])
def test_the_terminal_loses_no_figure_at_any_width(width: int) -> None:
    said = printed(terminal.render(kit.result()), width)
    assert max(len(line) for line in said.splitlines()) <= width
    for figure in ("128.4", "20.9", "1,105", "66.0 %", "80.90 %", "48.0 MB"):
        assert figure in said


def test_without_accuracy_none_is_claimed() -> None:
    bare = dataclasses.replace(kit.OPTIMIZED, accuracy=None)
    result = kit.result(solutions=(kit.BASELINE, bare, kit.PADDED))
    assert tables.content(result).comparison.rows[0][7:] == ("–", "–")
    assert ("accuracy", "not measured") in tables.content(result).labels
    assert "held-out" not in html.text(result).partition("<section>")[0]


class Outside(HTMLParser):
    """Collects whatever would load something, and the tags left open."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.ids += [names["id"] or ""] if "id" in names else []
        if tag in ("script", "link", "img", "iframe") or {"src", "href", "onclick", "onload"} & set(names):
            self.found.append(tag)
        if tag not in ("meta", "br", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("path",):
            return
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing() -> None:
    page = html.text(kit.result())
    parser = Outside()
    parser.feed(page)
    assert parser.found == []
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids)) == 8
    assert "url(" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_every_plot_says_in_words_what_it_shows() -> None:
    drawn = re.findall(r"<svg.*?</svg>", html.text(kit.result()), re.S)
    assert len(drawn) == 4
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        title, description = root.find("title"), root.find("desc")
        assert root.get("role") == "img"
        assert title is not None
        assert title.text
        assert description is not None
        assert "edgekit w8_a8_static" in (description.text or "")


def test_names_cannot_inject_markup() -> None:
    evil = kit.result(name="<script>alert(1)</script>|`x`", device="<b>")
    assert "<script" not in html.text(evil)
    heading = markdown.text(evil).splitlines()[0]
    assert "<script" not in heading.replace("\\<", "")
    printed(terminal.render(kit.result(name="[bold]not a tag[/nothing]")), 100)


def test_a_slower_artifact_is_called_slower() -> None:
    runs = (
        Run(kit.job(kit.BASELINE), kit.measured(20.0, 40.0)),
        Run(kit.job(kit.OPTIMIZED), kit.measured(40.0, 80.0)),
    )
    page = html.text(kit.result(runs, solutions=(kit.BASELINE, kit.OPTIMIZED)))
    assert "slower per sentence" in page
    assert "+100.0 %" in page


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    file = html.write(kit.result(), tmp_path / "deep" / "report.html")
    assert file.read_text("utf-8") == html.text(kit.result())
    assert markdown.write(kit.result(), tmp_path / "report.md").read_text("utf-8") == markdown.text(kit.result())
    assert {one.name for one in tmp_path.rglob("*") if one.is_file()} == {"report.html", "report.md"}
    with pytest.raises(UsageError, match="cannot be written"):
        markdown.write(kit.result(), tmp_path / "report.md" / "under" / "a" / "file.md")


@given(values=st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30))
def test_an_ecdf_stays_in_its_frame(values: list[float]) -> None:
    svg = plots.ecdf("x", "t", "ms", [plots.Series("a", tuple(values), "optimized")])
    line = re.search(r'class="line optimized" d="([^"]+)"', svg)
    assert line
    xs = [float(one) for one in re.findall(r"[MH](-?[\d.]+)", line.group(1))]
    assert all(47.9 <= one <= plots.WIDE - 19.9 for one in xs)
    assert xs == sorted(xs)


@given(value=st.floats(0, 1e9), low=st.floats(0, 1), wide=st.floats(1, 2))
def test_bars_stay_in_their_frame(value: float, low: float, wide: float) -> None:
    one = plots.Bar("a <b>", value, "1.0", "optimized", value * low, value * wide)
    root = ElementTree.fromstring(plots.bars("x", "t", [one]))
    texts = [float(text.get("x") or 0) for text in root.iter("text")]
    assert all(0 <= x <= plots.WIDE for x in texts)


def test_two_results_side_by_side() -> None:
    before = kit.result()
    quicker = (before.runs[0], Run(kit.job(kit.OPTIMIZED), kit.measured(14.0, 36.0, seed=2)), before.runs[2])
    after = kit.result(quicker, created="2026-11-23T20:15:00Z")
    same, better, _ = compare(before, after).changes
    assert (same.ratio, same.overlap) == (1.0, True)
    assert better.ratio == pytest.approx(19.6 / 14.0, rel=0.01)
    assert better.overlap is False
    assert better.memory == pytest.approx(36 / 48)
    said = printed(terminal.render_comparison(before, after), 100)
    assert "apart" in said
    assert "counted" in said


@pytest.mark.parametrize(
    ("changed", "what"),
    [({"clock": "wall"}, "clocks"), ({"target": "rpi5"}, "targets"), ({"emulated": False}, "kinds of board")],
)
def test_what_cannot_be_compared_is_refused(changed: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError, match=f"different {what}") as caught:
        compare(kit.result(), kit.result(**changed))
    assert "measure both" in caught.value.remedy


def test_results_without_a_common_solution_are_refused() -> None:
    one = kit.result((Run(kit.job(kit.OPTIMIZED), failure="x"),), solutions=(kit.OPTIMIZED,))
    other = kit.result((Run(kit.job(kit.BASELINE), failure="x"),), solutions=(kit.BASELINE,))
    with pytest.raises(UsageError, match="no solution in common"):
        compare(one, other)
