"""Perplexity in the reports, beside what a classifier's have."""

from __future__ import annotations

import io
from dataclasses import replace

import bench_kit as kit
import pytest

from edgekit import judge
from edgekit.benchmark.statistics import summarise
from edgekit.benchmark.summary import lines
from edgekit.errors import GateMissed
from edgekit.outcome import Candidate
from edgekit.report import built, html, markdown, tables, terminal
from edgekit.spec.recipe import Gates
from edgekit.spec.result import Result, Run
from edgekit.spec.step import StepReport
from edgekit.spec.task import NextTokens

SOLUTIONS = (replace(kit.BASELINE, perplexity=20.8), replace(kit.OPTIMIZED, perplexity=21.44))


def language() -> Result:
    runs = tuple(
        Run(kit.job(one), replace(kit.measured(20.0, 48.0), language=NextTokens(hits, 640, 1900.0)))
        for one, hits in zip(SOLUTIONS, (200, 160), strict=True)
    )
    return kit.result(runs, solutions=SOLUTIONS, truth=())


def test_every_report_says_the_perplexity_of_both() -> None:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=300, color_system=None).print(terminal.render(language()))
    for text in (out.getvalue(), markdown.text(language()), html.text(language())):
        assert "21.44" in text
        assert "(20.80)" in text
        assert "perplexity" in text
        assert "negative log-likelihood" in text


def test_a_classifiers_report_has_no_such_column() -> None:
    assert "perplexity" not in tables.content(kit.result()).comparison.columns
    assert "perplexity" not in html.text(kit.result())


def test_right_answers_on_the_device_are_next_tokens() -> None:
    rows = {one.solution.name: one.figures for one in summarise(language())}
    assert [one.device_accuracy for one in rows.values() if one] == [31.25, 25.0]
    assert [one.perplexity for one in lines(language())] == [20.8, 21.44]


def test_a_steps_validation_is_told_as_perplexity() -> None:
    step = StepReport("finetune", 1000, 5.0, 2, (3.0, 2.5), accuracies=(4.0, 5.0), curve=(3.0, 2.5), perplexity=20.0)
    assert "perplexity 20.00" in built._steps([step]).rows[0]
    assert "Validation perplexity after each: 25.00, 20.00" in built._curve(1, step)


def test_the_judge_holds_perplexity_to_its_gate() -> None:
    near = Candidate("near", "tflite", "w8_a32_dynamic", size=9, drop=0.1, perplexity=21.0, perplexity_rise=1.0)
    far = replace(near, name="far", size=5, perplexity=26.0, perplexity_rise=25.0)
    judged = judge.judge([near, far], Gates(perplexity_rise=5))
    assert [one.shipped for one in judged] == [True, False]
    assert judged[1].verdicts == ("perplexity rise 25.00 %, allowed 5 %",)
    with pytest.raises(GateMissed, match="perplexity rise was not measured"):
        judge.judge([replace(near, perplexity=None, perplexity_rise=None)], Gates(perplexity_rise=5))
