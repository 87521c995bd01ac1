"""Package descriptions of the Debian archive, labelled by section: a real text set on every Debian machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator

from edgekit.data.clean import Labelled
from edgekit.errors import DataError

#: Sections that name a subject. Those that name a form (libs, devel, doc, oldlibs, …) say nothing of the text.
SECTIONS = (
    "admin",
    "database",
    "editors",
    "electronics",
    "fonts",
    "games",
    "graphics",
    "hamradio",
    "java",
    "kernel",
    "localization",
    "mail",
    "math",
    "net",
    "science",
    "sound",
    "text",
    "vcs",
    "video",
    "web",
)


def read(labels: tuple[str, ...] = ()) -> tuple[list[Labelled], dict[str, str]]:
    """Descriptions and sections from ``apt-cache dumpavail``, and where they come from (the releases of the lists).

    Raises DataError where apt-cache is missing or its lists are empty.
    """
    if shutil.which("apt-cache") is None:
        raise _without_apt()
    rows = list(parse(_run("dumpavail"), labels or SECTIONS))
    if not rows:
        raise DataError(
            "apt knows no package descriptions of the sections asked for",
            allowed=SECTIONS if labels else None,
            remedy="run: sudo apt-get update",
        )
    return rows, {"source": "apt-cache dumpavail", "releases": "; ".join(_releases(_run("policy")))}


def others(classes: Collection[str]) -> Iterator[str]:
    """Descriptions of all sections but ``classes``. Raises DataError where apt-cache is missing."""
    if shutil.which("apt-cache") is None:
        raise _without_apt()
    return (text for text, section in paragraphs(_run("dumpavail")) if section not in classes)


def parse(text: str, sections: tuple[str, ...]) -> Iterator[Labelled]:
    """(description, section) of each package paragraph in ``sections``; ``contrib/games`` counts as ``games``."""
    wanted = set(sections)
    return (row for row in paragraphs(text) if row[1] in wanted)


def paragraphs(text: str) -> Iterator[Labelled]:
    """(description, section) of each package paragraph that has both."""
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Section|Description(?:-en)?): *(.*)$", paragraph, re.MULTILINE))
        section = fields.get("Section", "").rpartition("/")[2]
        description = fields.get("Description") or fields.get("Description-en")
        if section and description:
            yield description, section


def _without_apt() -> DataError:
    return DataError(
        "source 'debian-sections' needs apt-cache, which this machine does not have",
        remedy="use a Debian or Ubuntu machine, or a data set of your own: source: jsonl",
    )


def _run(command: str) -> str:
    # the C locale keeps descriptions untranslated
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(["apt-cache", command], capture_output=True, check=True, env=environment)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode("utf-8", "replace").strip()
        raise DataError(f"apt-cache {command} failed: {reason}", remedy="run: sudo apt-get update") from error
    return done.stdout.decode("utf-8", "replace")


def _releases(policy: str) -> list[str]:
    """``bookworm 12.11`` and the like, from the release lines of ``apt-cache policy``."""
    found = set()
    for line in re.findall(r"^\s+release (.*)$", policy, re.MULTILINE):
        parts = dict(one.split("=", 1) for one in line.split(",") if "=" in one)
        if "n" in parts:
            found.add("{} {}".format(parts["n"], parts.get("v", "")).strip())
    return sorted(found)
