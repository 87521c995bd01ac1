"""From what a device has to what it should have: typed steps, decided without touching anything. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.spec import wire
from edgekit.spec.manifest import Blob, Manifest

KEEP = 3


@dataclass(frozen=True)
class Upload:
    """Send a blob from byte ``offset`` on; ``name`` says what it is to a person."""

    name: str
    blob: Blob
    offset: int = 0

    @property
    def bytes_left(self) -> int:
        return self.blob.size - self.offset

    def describe(self) -> str:
        rest = f", {_size(self.offset)} of it are there" if self.offset else ""
        return f"upload {self.name} ({_size(self.blob.size)}{rest})"


@dataclass(frozen=True)
class Unpack:
    """Make one runtime folder of wheels; nothing is done where it exists."""

    runtime: str
    wheels: tuple[Blob, ...]

    def describe(self) -> str:
        return f"unpack runtime {self.runtime[:12]} ({len(self.wheels)} wheels)"


@dataclass(frozen=True)
class Stage:
    """Verify all blobs and make the release, not yet current."""

    release: str
    manifest: Blob
    blobs: tuple[Blob, ...]
    runtime: str

    def describe(self) -> str:
        return f"stage release {self.release[:12]}"


@dataclass(frozen=True)
class Activate:
    release: str
    previous: str | None = None

    def describe(self) -> str:
        before = f", in place of {self.previous[:12]}" if self.previous else ""
        return f"make {self.release[:12]} current (pending){before}"


@dataclass(frozen=True)
class CheckHealth:
    release: str

    def describe(self) -> str:
        return f"check the health of {self.release[:12]} with its golden cases; go back if it fails"


@dataclass(frozen=True)
class Confirm:
    release: str

    def describe(self) -> str:
        return f"confirm {self.release[:12]}"


@dataclass(frozen=True)
class Prune:
    keep: int = KEEP

    def describe(self) -> str:
        return f"remove all but the newest {self.keep} releases"


Step = Upload | Unpack | Stage | Activate | CheckHealth | Confirm | Prune


@dataclass(frozen=True)
class Plan:
    """``steps`` in the order they are taken; none where the release is current and confirmed already."""

    release: str
    name: str
    steps: tuple[Step, ...]

    @property
    def uploads(self) -> tuple[Upload, ...]:
        return tuple(one for one in self.steps if isinstance(one, Upload))

    @property
    def bytes_left(self) -> int:
        """What still has to travel."""
        return sum(one.bytes_left for one in self.uploads)

    def describe(self) -> tuple[str, ...]:
        """A line a step, for ``--dry-run``."""
        if not self.steps:
            return (f"nothing to do: {self.name} ({self.release[:12]}) is current and confirmed",)
        return tuple(one.describe() for one in self.steps)


def release_blobs(manifest: Manifest) -> dict[Blob, str]:
    """What a release is made of beside its manifest: optimized artifact, tokenizer, golden cases."""
    best = manifest.optimized
    return {best.blob: best.name, best.tokenizer: "tokenizer", manifest.golden: "golden cases"}


def bench_blobs(manifest: Manifest) -> dict[Blob, str]:
    """What a benchmark needs: every artifact with its tokenizer, and the held-out samples."""
    named: dict[Blob, str] = {}
    for one in manifest.artifacts:
        named[one.blob] = one.name
        named.setdefault(one.tokenizer, f"tokenizer of {one.name}")
    named.setdefault(manifest.samples, "samples")
    return named


def wanted(manifest: Manifest, manifest_file: Blob, wheels: Mapping[Blob, str]) -> dict[Blob, str]:
    """All blobs a deploy wants on the device, and what each is: to be asked with ``missing``."""
    return {**wheels, **release_blobs(manifest), manifest_file: "manifest"}


def uploads(names: Mapping[Blob, str], missing: wire.Missing) -> tuple[Upload, ...]:
    """One upload a missing blob, the largest last; those cut off before go on where they were."""
    found = []
    for blob in missing.blobs:
        there = missing.partial.get(blob.sha256, 0)
        # a whole or overlong part never passed the hash check: from the start
        found.append(Upload(names.get(blob, blob.sha256[:12]), blob, there if there < blob.size else 0))
    return tuple(sorted(found, key=lambda one: (one.bytes_left, one.blob.sha256)))


def disk_need(found: Plan, unpacked: int) -> int:
    """Bytes the plan takes on the disk: what travels and, where a wheel does, the ``unpacked`` size of the runtime."""
    sent = {one.blob for one in found.uploads}
    unpacks = any(not sent.isdisjoint(one.wheels) for one in found.steps if isinstance(one, Unpack))
    return found.bytes_left + (unpacked if unpacks else 0)


def plan(
    status: wire.Status,
    missing: wire.Missing,
    manifest: Manifest,
    manifest_file: Blob,
    wheels: Mapping[Blob, str],
    runtime: str,
    keep: int = KEEP,
) -> Plan:
    """Decide the steps that make the bundle's release current and confirmed.

    ``missing`` answers for :func:`wanted`, ``wheels`` maps the runtime's wheels to their file names and ``runtime`` is
    their digest.
    """
    release = manifest_file.sha256
    state = next((one for one in status.releases if one.release == release), None)
    if state is not None and state.current and state.state == "confirmed":
        return Plan(release, manifest.name, ())
    steps: list[Step] = [*uploads(wanted(manifest, manifest_file, wheels), missing)]
    if wheels:
        steps.append(Unpack(runtime, tuple(wheels)))
    steps.append(Stage(release, manifest_file, tuple(release_blobs(manifest)), runtime))
    previous = status.current if status.current != release else status.previous
    steps += [Activate(release, previous), CheckHealth(release), Confirm(release), Prune(keep)]
    return Plan(release, manifest.name, tuple(steps))


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
