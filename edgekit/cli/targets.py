"""``edgekit targets``: the kinds of boards edgekit knows."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from edgekit.cli.options import Verbs, home, verb
from edgekit.cli.paper import document, table

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.cli.progress import Progress
    from edgekit.outcome import Compatibility
    from edgekit.spec.target import Target


def add(verbs: Verbs) -> None:
    parser = verb(verbs, "targets", "list the kinds of boards, or explain one", run, show)
    parser.add_argument("name", nargs="?", metavar="NAME", help="explain this one: a name or a YAML file")
    parser.add_argument("--compatibility", action="store_true", help="what each board runs of the formats and schemes")
    parser.add_argument("--markdown", action="store_true", help="the same as the page docs/compatibility.md")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of a target, for editors")


def run(args: Namespace, progress: Progress) -> tuple[Target, ...] | Target | Compatibility | dict[str, Any]:
    from edgekit import load
    from edgekit.spec.target import Target

    if args.schema:
        return load.schema(Target)
    if args.name:
        from edgekit.home import Home

        return load.target(args.name, extra=((home(args) or Home.default()).targets,))
    from edgekit import pipeline

    if args.compatibility or args.markdown:
        return pipeline.verdicts(home=home(args), report=progress)
    return pipeline.targets(home=home(args), report=progress)


def show(args: Namespace, value: tuple[Target, ...] | Target | Compatibility | dict[str, Any], paper: Console) -> None:
    from edgekit.outcome import Compatibility

    if isinstance(value, dict):
        paper.print(document(value))
    elif isinstance(value, Compatibility):
        _compare(args, value, paper)
    elif not isinstance(value, tuple):
        _explain(value, paper)
    else:
        columns = ("target", "board", "cpu", "cores", "MHz", "MB", "runtimes", "emulated")
        paper.print(table("", columns, [_row(one) for one in value], right=("cores", "MHz", "MB")))


def _compare(args: Namespace, value: Compatibility, paper: Console) -> None:
    from edgekit.report import compatibility

    if args.markdown:
        paper.out(compatibility.page(value.targets, value.verdicts), end="", highlight=False)
        return
    cells, notes = compatibility.cells(value.verdicts)
    names = [one.name for one in value.targets]
    paper.print(table("", ("format", "scheme", *names), [(*pair, *(row[one] for one in names)) for pair, row in cells]))
    for number, note in enumerate(notes, 1):
        paper.print(f"{number}) {note}")


def _row(one: Target) -> tuple[object, ...]:
    runtimes = ", ".join(name for name, support in one.runtimes.items() if support.packages) or "none"
    return (
        one.name,
        one.title,
        f"{one.cpu.name} ({one.cpu.isa})",
        one.cpu.cores,
        one.cpu.clock_mhz,
        one.ram_mb,
        runtimes,
        "yes" if one.emulation else "no",
    )


def _explain(one: Target, paper: Console) -> None:
    paper.print(f"{one.name}: {one.title}")
    roof = one.roofline
    rows = [
        ("cpu", f"{one.cpu.cores} × {one.cpu.name}, {one.cpu.isa}, {one.cpu.clock_mhz} MHz, {one.cpu.arch}"),
        ("features", " ".join(one.cpu.features)),
        ("int8 kernels", one.cpu.int8),
        ("memory", f"{one.ram_mb} MB"),
        ("system", f"{one.os.name}, Python {one.os.python}, glibc {one.os.glibc}"),
        ("sensors", ", ".join(one.sensors) or "none"),
    ]
    if roof:
        rows.append(("fp32", f"{roof.fp32_gflops:g} GFLOP/s"))
        rows.append(("fp16", f"{roof.fp16_gflops:g} GFLOP/s" if roof.fp16_gflops else "no arithmetic in it"))
        rows.append(("int8", f"{roof.int8_gops:g} GOP/s" if roof.int8_gops else "unknown"))
        rows.append(("memory speed", f"{roof.memory_gbs:g} GB/s"))
        rows.append(("source", roof.source))
    for name, support in one.runtimes.items():
        rows.append((name, ", ".join([*support.packages, *support.debian]) or f"refused: {support.refused}"))
        if support.needs:
            rows.append((f"{name} needs", f"{' '.join(support.needs)} ({support.source})"))
        rows += [(f"{name} lacks", f"{scheme}: {reason}") for scheme, reason in support.lacks.items()]
    if one.emulation:
        rows.append(("emulated as", f"{one.emulation.machine}, {one.emulation.cpu}, {one.emulation.ram_mb} MB"))
        rows += [("differs", line) for line in one.emulation.differs]
    rows += [("note", line) for line in one.notes]
    paper.print(table("", ("what", "value"), rows))
