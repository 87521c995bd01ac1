"""``edgekit bundle …``: look into a bundle, check it, trust its maker."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from edgekit.cli.options import Parser, Verbs, home, verb
from edgekit.cli.paper import figure, megabytes, short, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.spec.manifest import Artifact, Manifest


def add(verbs: Verbs) -> None:
    group = verbs.add_parser("bundle", help="look into a bundle, check it, trust its maker")
    inner = group.add_subparsers(title="verbs", dest="bundle_verb", metavar="VERB", required=True, parser_class=Parser)
    for parser in (
        verb(inner, "inspect", "say what is in a bundle, and what was realised", run_inspect, show_inspect),
        verb(inner, "verify", "check a bundle's signature and every byte of it", run_verify, show_verify),
    ):
        parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder or the beginning of its digest")
    trust = verb(inner, "trust", "accept the bundles that a key signed", run_trust, show_trust)
    trust.add_argument("key", type=Path, metavar="KEY.pub", help="the maker's OpenSSH public key")


def run_inspect(args: Namespace, progress: Progress) -> Manifest:
    from edgekit import pipeline

    return pipeline.bundle_inspect(args.bundle, home=home(args), report=progress)


def run_verify(args: Namespace, progress: Progress) -> Manifest:
    from edgekit import pipeline

    return pipeline.bundle_verify(args.bundle, home=home(args), report=progress)


def show_verify(args: Namespace, manifest: Manifest, paper: Console) -> None:
    paper.print(f"{args.bundle}: signed by a trusted key, every blob is whole ({manifest.name}, {_digest(manifest)})")


class Trusted(TypedDict):
    """A key whose bundles are accepted."""

    key: Path
    fingerprint: str


def run_trust(args: Namespace, progress: Progress) -> Trusted:
    from edgekit import pipeline

    return Trusted(key=args.key, fingerprint=pipeline.bundle_trust(args.key, home=home(args), report=progress))


def show_trust(args: Namespace, trusted: Trusted, paper: Console) -> None:
    paper.print(f"bundles signed by {trusted['fingerprint']} ({trusted['key']}) are trusted here")


def show_inspect(args: Namespace, manifest: Manifest, paper: Console) -> None:
    paper.print(f"{manifest.name}, bundle {_digest(manifest)}, for {manifest.target or 'any target'}")
    labels = f", {len(manifest.labels)} labels: {', '.join(manifest.labels)}" if manifest.labels else ""
    paper.print(f"task {manifest.task}{labels}")
    columns = (
        "artifact",
        "role",
        "format",
        "scheme",
        "size",
        "parameters",
        "accuracy %",
        "texts",
        "perplexity",
        "F1 %",
        "min cosine",
        "lengths",
    )
    paper.print(table("", columns, [_row(one) for one in manifest.artifacts], right=columns[4:11]))
    for one in manifest.artifacts:
        counts = [(count.operator, count.precision, count.count) for count in one.realised.operators]
        if counts:
            paper.print(
                table(f"{one.name}: what was realised", ("operator", "precision", "count"), counts, right=("count",))
            )
        covered = one.realised.coverage(one.scheme)
        if covered is not None:
            paper.print(f"{covered:.2f} % of the weights are stored in the precision of {one.scheme}, or less")
        if one.mean_cosine is not None and one.role == "optimized":
            paper.print(
                f"its embeddings' cosine with the reference's: {figure(one.mean_cosine, 4)} on average, "
                f"{figure(one.least_cosine, 4)} at the least; accuracy: texts whose nearest other one is the same"
            )
        for line in one.realised.fallbacks:
            paper.print(f"  fell back to float: {line}")
    paper.print(f"recipe {short(manifest.recipe_digest)}, data {short(manifest.data_digest)}, seed {manifest.seed}")
    paper.print("built with " + ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items())))
    for name, licence in sorted(manifest.licences.items()):
        paper.print(f"licence of {name}: {licence}")


def _row(one: Artifact) -> tuple[object, ...]:
    return (
        one.name,
        one.role,
        one.format,
        one.scheme,
        megabytes(one.blob.size),
        f"{one.parameters:,}",
        figure(one.accuracy),
        one.accuracy_samples,
        figure(one.perplexity),
        figure(one.f1),
        figure(one.parity.min_cosine, 4) if one.parity else None,
        ", ".join(str(length) for length in one.lengths),
    )


def _digest(manifest: Manifest) -> str:
    from edgekit.spec import codec

    return short(codec.digest(manifest))
