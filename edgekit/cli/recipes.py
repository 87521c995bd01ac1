"""``edgekit recipes``: the recipes edgekit knows."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from edgekit.cli.options import Verbs, home, verb
from edgekit.cli.paper import document, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.recipe import Recipe


class Listed(TypedDict):
    """A recipe and its file."""

    file: Path
    recipe: Recipe


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "recipes", "list the recipes", run, show)
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of a recipe, for editors")


def run(args: Namespace, progress: Progress) -> tuple[Listed, ...] | dict[str, Any]:
    if args.schema:
        from edgekit import load
        from edgekit.spec.recipe import Recipe

        return load.schema(Recipe)
    from edgekit import pipeline

    return tuple(
        Listed(file=file, recipe=recipe) for file, recipe in pipeline.recipes(home=home(args), report=progress)
    )


def show(args: Namespace, value: tuple[Listed, ...] | dict[str, Any], paper: Console) -> None:
    if isinstance(value, dict):
        paper.print(document(value))
        return
    rows = [
        (
            one["file"].stem,
            " → ".join(step.kind for step in one["recipe"].compress) or "nothing",
            ", ".join(one["recipe"].convert.formats),
            one["recipe"].description,
        )
        for one in value
    ]
    paper.print(table("", ("recipe", "compress", "formats", "what it is"), rows))
