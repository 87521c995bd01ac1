"""``edgekit build``: a recipe becomes a bundle."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.cli.options import Verbs, add_output, add_settings, home, verb
from edgekit.cli.paper import figure, megabytes, short, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Built, Candidate

COLUMNS = (
    "",
    "candidate",
    "scheme",
    "size",
    "accuracy %",
    "drop",
    "ms/text",
    "peak memory",
    "measured on",
    "verdict",
)
#: What a task's candidates have besides, after ``drop``: the field, by its column.
OWN: dict[str, dict[str, str]] = {
    "language": {"perplexity": "perplexity", "rise %": "perplexity_rise"},
    "tokens": {"F1 %": "f1", "F1 drop": "f1_drop"},
    "embed": {"mean cosine": "mean_cosine", "least": "least_cosine"},
}


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "build", "compress, convert, check the gates, write a bundle", run, show)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's YAML file or name (see 'edgekit recipes')")
    parser.add_argument("--target", metavar="NAME", help="build for this kind of board: a name or a YAML file")
    parser.add_argument("--device", metavar="NAME", help="measure the gates' latency and memory on this device")
    add_output(parser)
    add_settings(parser, "compress.0.finetune.epochs=1")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page: candidates, steps, loss curves")
    parser.add_argument(
        "--locked",
        nargs="?",
        const=True,
        default=False,
        type=Path,
        metavar="LOCKFILE",
        help="refuse to build anything but what this lock says (after RECIPE; left out: RECIPE.lock, else the newest"
        " bundle's)",
    )


def run(args: Namespace, progress: Progress) -> Built:
    from edgekit import pipeline

    built = pipeline.build(
        args.recipe,
        target=args.target,
        device=args.device,
        output=args.output,
        overrides=tuple(args.overrides),
        locked=args.locked,
        home=home(args),
        report=progress,
    )
    if args.html:
        from edgekit.report import built as page

        written = page.write(built.manifest, page.candidates(_rows(built), _columns(built)), built.steps, args.html)
        progress(f"wrote {written}", None)
    return built


def show(args: Namespace, built: Built, paper: Console) -> None:
    columns = _columns(built)
    paper.print(table("Candidates", columns, _rows(built), right=columns[3:-2]))
    texts = built.texts
    paper.print(
        f"{texts.texts} texts of {texts.mean:.1f} tokens on average (the longest {texts.longest}); "
        + _longer(built)
        + ("no padding" if built.manifest.optimized.dynamic else f"padding {texts.padding:.0%} in their buckets")
        + f", {texts.padding_longest:.0%} were all padded to the longest"
    )
    sure = built.manifest.optimized.sureness
    if sure is not None:
        paper.print(
            f"probabilities are off by {sure.error_after:.1f} points on average (by {sure.error_before:.1f} at "
            f"temperature 1; calibrated: {sure.temperature:g})"
        )
        if sure.unsure_below:
            right = "" if sure.sure_accuracy is None else f", {sure.sure_accuracy:.2f} % of them rightly"
            paper.print(f"unsure below {sure.unsure_below:.2f}: {sure.sure:.1f} % are answered surely{right}")
    if built.reused:
        paper.print(f"reused from earlier builds: {', '.join(built.reused)}")
    paper.print(f"bundle {short(built.digest)} ({built.manifest.name}): {built.bundle}")
    paper.print(f"lock: {built.lock}")


def _longer(built: Built) -> str:
    """What becomes of the texts that are longer than the last length."""
    texts, windows = built.texts, built.manifest.optimized.windows
    if windows is not None:
        return f"{texts.truncated:.2%} read in up to {windows.most} windows of {texts.lengths[-1]}; "
    return (
        f"{texts.truncated:.2%} truncated at {texts.lengths[-1]}, which loses {texts.tokens_lost:.2%} of the tokens; "
    )


def _columns(built: Built) -> tuple[str, ...]:
    place = COLUMNS.index("drop") + 1
    return (*COLUMNS[:place], *OWN.get(built.manifest.task, {}), *COLUMNS[place:])


def _memory(one: Candidate) -> str | None:
    """What was measured, and below what it was estimated to stay."""
    bound = megabytes(one.memory)
    parts = [megabytes(one.peak_memory), bound and f"(≤ {bound} est.)"]
    return " ".join(part for part in parts if part) or None


def _rows(built: Built) -> list[tuple[str | None, ...]]:
    return [
        (
            "→" if one.shipped else "",
            one.name,
            one.scheme,
            megabytes(one.size) if one.size else None,
            figure(one.accuracy),
            figure(one.drop),
            *(figure(getattr(one, field)) for field in OWN.get(built.manifest.task, {}).values()),
            figure(one.latency_ms),
            _memory(one),
            one.measured_on,
            one.failure or "; ".join(one.verdicts) or ("ships" if one.shipped else "meets the gates"),
        )
        for one in built.candidates
    ]
