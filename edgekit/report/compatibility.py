"""What runs where, as a table and as the page docs/compatibility.md."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.report import markdown
from edgekit.report.tables import Table
from edgekit.spec.scheme import FORMAT_SCHEMES, GENERATING
from edgekit.spec.target import Target, Verdict

_HEAD = """# What runs where

Written by `edgekit targets --markdown` from the files in `targets/`; a test holds this page to them.

`edgekit build --target NAME` refuses a recipe whose format or scheme stands here with a number instead of a runtime,
before anything is trained. When a runtime's packages are fetched, on the host and before training as well, the tables
of every ELF file in them are read: the machine, how floats are passed on 32-bit ARM, and the symbol versions of the C
library must be the target's; wheels must be for its Python. On the board, before anything is sent, its live facts are
held against the same: CPU flags, Python, C library, memory, disk.
"""
_LANGUAGE = """## Language models

Every format scores a text: the logits of each of its next tokens, so its perplexity and the token it goes on with.
Those that **write** have entry points over a cache of keys and values as well (`convert.generation`), so that a further
token costs one pass over the weights, however many there were; a recipe that asks for it names no other.
"""
_RUNTIMES = """## The runtimes

`needs` are flags of the CPU that a runtime's code uses without asking: on a board without them it would die of SIGILL,
so it is refused. What comes from Debian is fetched by the host's apt, with Debian's licence file of each package, and
shipped like a wheel: nothing is installed on the board.
"""

Cells = tuple[tuple[tuple[str, str], dict[str, str]], ...]


def cells(verdicts: Sequence[Verdict]) -> tuple[Cells, tuple[str, ...]]:
    """By format and scheme, then by target: the runtime, or the number of the reason; and the reasons from 1 on."""
    notes: dict[str, int] = {}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in verdicts:
        row = rows.setdefault((one.format, one.scheme), {})
        row[one.target] = one.runtime or f"{notes.setdefault(one.refused, len(notes) + 1)})"
    return tuple(rows.items()), tuple(notes)


def page(targets: Sequence[Target], verdicts: Sequence[Verdict]) -> str:
    """The whole page."""
    rows, notes = cells(verdicts)
    names = tuple(one.name for one in targets)
    table = Table(
        "", ("format and scheme", *names), tuple((" ".join(pair), *(row[one] for one in names)) for pair, row in rows)
    )
    parts = [
        _HEAD,
        markdown.table(table),
        "\n".join(f"{n}. {markdown.escape(note)}" for n, note in enumerate(notes, 1)),
    ]
    written = tuple((form, "scores, writes" if form in GENERATING else "scores") for form in FORMAT_SCHEMES)
    parts += [_LANGUAGE, markdown.table(Table("", ("format", "a language model's file"), written))]
    parts += [_RUNTIMES, *(_target(one) for one in targets)]
    return "\n\n".join(one.strip() for one in parts) + "\n"


def _target(target: Target) -> str:
    lines = [f"### {target.name}", ""]
    system = f"{target.os.name}, Python {target.os.python}, glibc {target.os.glibc}, {target.ram_mb} MB"
    lines += [
        f"{markdown.escape(target.title)}: {target.cpu.name} ({target.cpu.isa}, {target.cpu.arch}), {system}.",
        "",
    ]
    for name, support in target.runtimes.items():
        if support.refused:
            lines.append(f"- **{name}**: refused: {markdown.escape(support.refused)}")
            continue
        parts = [", ".join(support.packages)]
        parts += [f"from Debian: {', '.join(support.debian)}"] if support.debian else []
        parts += [f"of {package} only {', '.join(files)}" for package, files in support.members.items()]
        parts += [f"needs {' '.join(support.needs)}"] if support.needs else []
        parts += [f"takes {support.ram_mb} MB beside the model"] if support.ram_mb else []
        parts += [f"source: {support.source}"] if support.source else []
        lines.append(f"- **{name}**: {markdown.escape('; '.join(parts))}")
    return "\n".join(lines)
