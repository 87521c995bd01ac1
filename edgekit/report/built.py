"""A build as one page: what its candidates reached, and how each step of the recipe trained."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from edgekit.report import page, plots
from edgekit.report.files import write_text
from edgekit.report.tables import NONE, Table
from edgekit.spec.manifest import Manifest
from edgekit.spec.step import StepReport


def write(manifest: Manifest, candidates: Table, steps: Sequence[StepReport], file: Path) -> Path:
    """Write the page to ``file``, whole or not at all."""
    head = (
        f'<header>\n<p class="eyebrow">edgekit build</p>\n<h1>{escape(manifest.name)}</h1>\n'
        f'<p class="board">for {escape(manifest.target or "any board")}; the gates were met</p>\n</header>'
    )
    facts = (
        ("recipe", manifest.recipe_digest),
        ("data", manifest.data_digest),
        ("seed", str(manifest.seed)),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))),
    )
    body = [
        head,
        page.section("Candidates", page.table(candidates)),
        page.section("Steps", page.table(_steps(steps))),
        *(_curve(number, one) for number, one in enumerate(steps, 1) if len(one.curve) > 1),
        page.section("Where it comes from", page.pairs(facts)),
    ]
    return write_text(file, page.document(manifest.name, body))


def candidates(rows: Sequence[Sequence[str | None]], columns: Sequence[str]) -> Table:
    """The candidates as a table; ``rows`` have a cell a column, the first one marks what ships."""
    shipped = tuple(number for number, row in enumerate(rows) if row[0])
    cells = tuple(tuple(one or NONE for one in row[1:]) for row in rows)
    return Table("Candidates", tuple(columns[1:]), cells, shipped)


def _steps(steps: Sequence[StepReport]) -> Table:
    rows = [
        (
            f"{number} {one.kind}",
            f"{one.parameters / 1e6:.2f} M",
            f"{one.validation_accuracy:.2f}" if one.perplexity is None else f"perplexity {one.perplexity:.2f}",
            str(one.epochs) if one.epochs else NONE,
            f"{one.losses[-1]:.4f}" if one.losses else NONE,
            f"{one.seconds:.0f}",
            " ".join(one.remarks) or NONE,
        )
        for number, one in enumerate(steps, 1)
    ]
    columns = ("step", "parameters", "validation, %", "epochs", "last epoch's loss", "seconds", "remarks")
    return Table("Steps", columns, tuple(rows))


def _curve(number: int, step: StepReport) -> str:
    title = f"Training loss of step {number}, {step.kind}"
    language = step.perplexity is not None
    told = ", ".join(f"{100 / one:.2f}" if language else f"{one:.1f}" for one in step.accuracies)
    what = "Validation perplexity after each" if language else "Validation after each, in per cent"
    caption = f"Mean training loss over its {step.epochs} epochs. {what}: {told or NONE}."
    return page.section(title, page.figure(plots.curve(f"loss-{number}", title, step.curve, step.epochs), caption))
