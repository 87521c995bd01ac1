"""A build's page: what its candidates reached, and how its steps trained."""

from __future__ import annotations

import re
from pathlib import Path

from bundle_kit import small_manifest

from edgekit.report import built, plots
from edgekit.spec.step import StepReport

COLUMNS = ("", "candidate", "size", "verdict")
ROWS = [("→", "tflite-w8_a8_static", "2.4 MB", "ships"), ("", "tflite-w8_a32_dynamic", None, "meets the gates")]


def test_the_page_tells_candidates_steps_and_curves(tmp_path: Path) -> None:
    trained = StepReport("distill", 2_100_000, 86.5, 2, (0.9, 0.4), 61.2, (), (80.0, 86.5), (1.0, 0.8, 0.5, 0.3))
    steps = (StepReport("vocabulary", 2_100_000, 87.0, remarks=("9 <tokens> less",)), trained)
    table = built.candidates(ROWS, COLUMNS)
    assert (table.strong, table.rows[1]) == ((0,), ("tflite-w8_a32_dynamic", "–", "meets the gates"))
    text = built.write(small_manifest(tmp_path)[0], table, steps, tmp_path / "page.html").read_text()
    assert text.count("<svg") == 1, "a step that trained nothing has no curve"
    for one in ("1 vocabulary", "2 distill", "86.50", "0.4000", "9 &lt;tokens&gt; less", "80.0, 86.5"):
        assert one in text


def test_a_curve_goes_through_its_values() -> None:
    drawn = plots.curve("loss", "Loss", (2.0, 1.0, 0.0), 3)
    (line,) = re.findall(r'class="line optimized" d="M([^"]+)"', drawn)
    places = [tuple(float(one) for one in point.split()) for point in line.split("L")]
    xs, ys = zip(*places, strict=True)
    assert list(xs) == sorted(xs)
    assert ys[0] < ys[1] < ys[2], "a lower loss is drawn lower"
    assert abs((ys[0] + ys[2]) / 2 - ys[1]) < 0.2
