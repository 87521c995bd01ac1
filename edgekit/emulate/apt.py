"""Where the emulated board's packages come from: the archives that the host's own apt sources name.

Both formats of sources.list(5) are read: one line an archive, and deb822 stanzas. A host that is no Debian of any
release names no usable archive; mmdebstrap then takes its own default.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

APT = Path("/etc/apt")


@dataclass(frozen=True)
class Source:
    """One archive and suite. ``signed_by`` is the keyring's path, empty for apt's default."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def line(self) -> str:
        """The one-line form of sources.list(5)."""
        options = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return "deb {}{} {} {}".format(options, self.uri, self.suite, " ".join(self.components))


def host_sources(folder: Path = APT) -> list[Source]:
    """Every binary archive the host's apt uses, in the order apt reads them."""
    found: list[Source] = []
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix == ".list" and file.is_file():
            found += parse_lines(file.read_text(encoding="utf-8", errors="replace"))
        elif file.suffix == ".sources" and file.is_file():
            found += parse_deb822(file.read_text(encoding="utf-8", errors="replace"))
    return found


def for_suite(sources: list[Source], host_suite: str, suite: str) -> list[Source]:
    """The sources of the host's own Debian release, turned to ``suite``.

    Archives of other vendors, which do not carry the release's name, are left out; so are the release's updates, which
    change by the day and which a board without a way to any network does not need.
    """
    own = [one for one in sources if one.suite == host_suite and "main" in one.components]
    return list(dict.fromkeys(Source(one.uri, suite, ("main",), one.signed_by) for one in own))


def mirrors(suite: str) -> list[str]:
    """Lines for mmdebstrap to build ``suite`` from; empty where its default must do."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return []
    if release.get("ID") != "debian" or "VERSION_CODENAME" not in release:
        return []
    return [one.line() for one in for_suite(host_sources(), release["VERSION_CODENAME"], suite)]


def parse_lines(text: str) -> list[Source]:
    """Sources of a ``.list`` file; lines that name no binary archive are passed over."""
    found = []
    for raw in text.splitlines():
        match = re.fullmatch(r"deb\s+(?:\[([^]]*)]\s+)?(\S+)\s+(\S+)((?:\s+[^\s]+)*)\s*", raw.split("#", 1)[0].strip())
        if match:
            options = dict(part.split("=", 1) for part in (match[1] or "").split() if "=" in part)
            found.append(Source(match[2], match[3], tuple(match[4].split()), options.get("signed-by", "")))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Sources of a ``.sources`` file. A key that stands in the file itself is not taken: it has no path to name."""
    found = []
    for stanza in _stanzas(text):
        if "deb" not in stanza.get("types", "").split() or stanza.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        signed_by = stanza.get("signed-by", "").strip()
        for uri in stanza.get("uris", "").split():
            for suite in stanza.get("suites", "").split():
                components = tuple(stanza.get("components", "").split())
                found.append(Source(uri, suite, components, signed_by if signed_by.startswith("/") else ""))
    return found


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = fields.get(name, "") + "\n" + line.strip()
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields:
            yield fields
