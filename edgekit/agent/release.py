"""Releases on the device: staged → pending → confirmed, or failed and back to the one before.

    releases/<digest>/manifest.json   what it is
    releases/<digest>/state.json      a Record: where it stands, and which release it replaced
    current -> releases/<digest>      swapped by renaming a symbolic link

At every moment ``current`` names a whole release, or there has never been one. Which release to go back to stands in
the record of the new one before ``current`` is swapped, so that no second file can disagree with the link. Orders of
releases are told by ``serial``: a board without a battery does not know the time.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Optional, Set

from edgekit.agent import files, log, store
from edgekit.agent.record import Record, current, folder, manifest, previous, read, records, state_of
from edgekit.errors import BundleError, DeviceError
from edgekit.spec import codec, wire
from edgekit.spec.manifest import Manifest
from edgekit.spec.progress import Report, quiet
from edgekit.spec.setting import Setting


def stage(root: Path, request: wire.Stage, report: Report = quiet) -> None:
    """Make a whole and verified release that is not yet current.

    A confirmed release, and the current one, stay as they are. Raises BundleError where a blob is damaged or the
    manifest does not fit, DeviceError where a blob or the runtime is not on the device.
    """
    if request.manifest.sha256 != request.release:
        raise BundleError(
            "a release is named by its manifest's hash", given=request.release, allowed=request.manifest.sha256
        )
    text = _verified(root, request, report)
    found = codec.loads(Manifest, text, where="manifest.json")
    optimized = found.optimized
    needed = {optimized.blob.sha256, optimized.tokenizer.sha256, found.golden.sha256}
    lacking = needed - {one.sha256 for one in request.blobs}
    if lacking:
        raise BundleError("a release needs its model, tokenizer and golden cases", given=sorted(lacking))
    store.runtime_folder(root, request.runtime)
    if _stands(root, request):
        return
    record = Record(
        release=request.release,
        name=found.name,
        artifact=optimized.name,
        runtime=request.runtime,
        blobs=tuple(dict.fromkeys((request.manifest, *request.blobs))),
        size=sum(one.size for one in dict.fromkeys(request.blobs)),
        serial=1 + max((one.serial for one in records(root)), default=0),
        installed=time.time(),
        memory=optimized.memory,
    )
    _install(root, record, text)
    log.write(root, "staged", release=record.release, name=record.name, artifact=record.artifact)


def _stands(root: Path, request: wire.Stage) -> bool:
    """Whether this very release is there already and must not be made anew. Raises DeviceError where it is the current
    one on another runtime: changing that in place could not be undone."""
    if state_of(root, request.release) not in ("pending", "confirmed"):
        return False
    same = read(root, request.release).runtime == request.runtime
    if current(root) != request.release:
        return same
    if not same:
        raise DeviceError(
            "this release is current, on another runtime",
            given=request.runtime,
            allowed=read(root, request.release).runtime,
            remedy="roll back to another release first, then deploy",
        )
    return True


def _verified(root: Path, request: wire.Stage, report: Report) -> bytes:
    """Check every blob's hash again as it lies on the disk; the manifest's bytes."""
    blobs = dict.fromkeys((request.manifest, *request.blobs))
    for number, blob in enumerate(blobs):
        path = store.need(root, blob, "a blob of the release")
        report("verifying {}".format(blob.sha256[:12]), number / len(blobs))
        try:
            store.verify(path, blob)
        except BundleError:
            path.unlink()
            raise
    return store.blob_path(root, request.manifest).read_bytes()


def _install(root: Path, record: Record, text: bytes) -> None:
    final = folder(root, record.release)
    if final.is_dir():
        files.write(final / "manifest.json", text.decode("utf-8"))
        files.write(final / "state.json", codec.dumps(record))
        return
    temporary = files.temporary_folder(final.parent)
    try:
        files.write(temporary / "manifest.json", text.decode("utf-8"))
        files.write(temporary / "state.json", codec.dumps(record))
        os.chmod(temporary, 0o755)
        os.rename(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    files.sync(final.parent)


def settle(root: Path, release: str, setting: Setting) -> None:
    """Let a release run by this setting from now on. Raises DeviceError where it is not on the device."""
    changed = dataclasses.replace(read(root, release), setting=setting)
    files.write(folder(root, release) / "state.json", codec.dumps(changed))
    log.write(root, "settled", release=release, threads=setting.threads, cores=list(setting.cores))


def _mark(root: Path, record: Record, state: wire.State, went_back_to: Optional[str] = None) -> Record:
    changed = dataclasses.replace(record, state=state, previous=went_back_to or record.previous)
    files.write(folder(root, record.release) / "state.json", codec.dumps(changed))
    log.write(root, "release", state=state, release=record.release, name=record.name)
    return changed


def _point(root: Path, release: Optional[str]) -> None:
    """Swap ``current``; ``None`` takes it away, when the very first release failed."""
    if release is not None:
        files.point(root / "current", "releases/" + release)
    elif current(root) is not None:
        (root / "current").unlink()
        files.sync(root)
    log.write(root, "current", release=release)


def activate(root: Path, release: str) -> None:
    """Make a staged release current and pending. A release that is current and confirmed stays so."""
    record = read(root, release)
    now = current(root)
    if now == release and record.state in ("pending", "confirmed"):
        return
    if record.state == "failed":
        raise DeviceError("this release failed on this device", given=release, remedy="stage it again to try once more")
    _mark(root, record, "pending", went_back_to=now)
    _point(root, release)


def confirm(root: Path, release: str) -> None:
    """The current release is healthy and stays. Raises DeviceError where it is not the current one, or not pending."""
    record = read(root, release)
    if current(root) != release:
        raise DeviceError("only the current release can be confirmed", given=release, allowed=current(root) or "none")
    if record.state not in ("pending", "confirmed"):
        raise DeviceError("only a pending release can be confirmed", given=record.state, allowed="pending")
    if record.state == "pending":
        _mark(root, record, "confirmed")


def rollback(root: Path, to: Optional[str] = None) -> None:
    """Go back to ``to``, or to the release before the current one. Raises DeviceError where there is none.

    A pending release becomes *failed* by it; where it was the very first, no release is current afterwards.
    """
    now = current(root)
    if now is None:
        raise DeviceError("no release is current on this device", remedy="deploy one first")
    target = to if to is not None else previous(root)
    state = state_of(root, now)
    if target is None and state == "confirmed":
        raise DeviceError("there is no confirmed release before the current one", given=now)
    if target == now:
        raise DeviceError("this release is current already", given=now)
    if target is not None and read(root, target).state != "confirmed":
        raise DeviceError(
            "only a confirmed release can be gone back to",
            given="{} ({})".format(target, read(root, target).state),
            allowed=[one.release for one in records(root) if one.state == "confirmed" and one.release != now] or "none",
        )
    if to is not None and state == "confirmed":
        _mark(root, read(root, to), "confirmed", went_back_to=now)
    _point(root, target)
    if state in ("pending", "staged"):
        _mark(root, read(root, now), "failed")


def recover(root: Path) -> str:
    """Put right what an interrupted deploy left; a sentence saying what, or nothing. Needs the deploy lock."""
    said = []
    now = current(root)
    if now is not None and state_of(root, now) != "confirmed":
        target = previous(root)
        rollback(root)
        said.append(
            "release {} was never confirmed: went back to {}".format(now[:12], target[:12] if target else "no release")
        )
    for record in records(root):
        if record.state == "pending":
            _mark(root, record, "failed")
            said.append("release {} was cut off before it became current".format(record.release[:12]))
    if said:
        log.write(root, "recovered", what=said)
    return "; ".join(said)


def prune(root: Path, keep: int) -> None:
    """Keep the newest ``keep`` confirmed releases, and always the current and the one before it; then collect blobs and
    runtimes that no release names. Staged and pending releases stay: they are on their way."""
    if keep < 1:
        raise DeviceError("at least one release must stay", given=keep, allowed="1 or more")
    held = {current(root), previous(root)}
    found = records(root)
    held |= {one.release for one in [one for one in found if one.state == "confirmed"][:keep]}
    held |= {one.release for one in found if one.state in ("staged", "pending")}
    readable = {one.release for one in found}
    for path in (root / "releases").iterdir():
        if path.name not in held or (path.name not in readable and path.name != current(root)):
            files.remove_folder(path)
    kept = records(root)
    blobs: Set[str] = {blob.sha256 for one in kept for blob in one.blobs}
    for one in kept:
        blobs |= _named(manifest(root, one.release))
    gone = store.collect(root, blobs, {one.runtime for one in kept})
    log.write(root, "pruned", releases=len(found) - len(kept), collected=gone)


def _named(found: Manifest) -> Set[str]:
    """Hashes of all a manifest names: what benchmarks sent (baseline, samples) stays as long as its release."""
    blobs = [found.golden, found.samples]
    for one in found.artifacts:
        blobs += [one.blob, one.tokenizer]
    return {one.sha256 for one in blobs}


def status(root: Path) -> wire.Status:
    now = current(root)
    disk = os.statvfs(root)
    return wire.Status(
        releases=tuple(
            wire.ReleaseState(
                release=one.release,
                name=one.name,
                state=one.state,
                current=one.release == now,
                installed=one.installed,
                size=one.size,
                artifact=one.artifact,
                setting=one.setting,
                memory=one.memory,
            )
            for one in records(root)
        ),
        current=now,
        previous=previous(root),
        store_bytes=store.size(root),
        disk_free=disk.f_bavail * disk.f_frsize,
    )
