"""The road on a real emulated Raspberry Pi 4: bundle → release → answers → figures, and what goes wrong there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from pipeline_kit import write

from edgekit import pipeline
from edgekit.bundle import blob_file, entries, read
from edgekit.bundle.build import write as write_bundle
from edgekit.deliver import connect
from edgekit.emulate import machine
from edgekit.errors import BundleError, PreflightError, RolledBack, TransportError
from edgekit.home import Home
from edgekit.outcome import Built
from edgekit.spec import codec
from edgekit.spec.device import Device
from edgekit.spec.manifest import Blob
from edgekit.spec.setting import Setting, Tuning

pytestmark = [pytest.mark.emulated, pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def board(home: Home) -> Iterator[Device]:
    yield pipeline.device_up("rpi4", clock="counted", home=home)
    assert pipeline.device_down(every=True, home=home) == ("rpi4",)


@pytest.fixture(scope="module")
def built(home: Home, board: Device, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return pipeline.build(write(tmp_path_factory.mktemp("recipe"), tiny_bert), target="rpi4", home=home)


@pytest.fixture(scope="module")
def deployed(home: Home, board: Device, built: Built) -> str:
    """The digest of a healthy release on the board."""
    return pipeline.deploy(target="rpi4", home=home).digest


def _confirmed(home: Home, release: str) -> None:
    status = pipeline.status(target="rpi4", home=home)
    assert status.current == release
    assert next(one for one in status.releases if one.current).state == "confirmed"


def _back_on(release: str, home: Home) -> None:
    """The board hears of the end of a connection after a moment, and goes back by itself."""
    for _ in range(10):
        if pipeline.status(target="rpi4", home=home).current == release:
            break
        time.sleep(3)
    _confirmed(home, release)


def _variant(built: Built, folder: Path, home: Home, **changes: object) -> Path:
    """The bundle again, signed, with other fields in its manifest."""
    manifest = dataclasses.replace(built.manifest, **changes)  # type: ignore[arg-type]
    blobs = {one.blob.sha256: blob_file(built.bundle, one.blob) for one in entries(built.manifest)}
    write_bundle(folder, manifest, blobs, home.keys / "signing")
    return folder


def test_candidates_were_measured_on_the_board(built: Built) -> None:
    assert {one.measured_on for one in built.candidates} == {"rpi4"}
    assert all(one.latency_ms and one.peak_memory for one in built.candidates)


def test_a_dry_run_changes_nothing(home: Home, board: Device, built: Built) -> None:
    before = pipeline.status(target="rpi4", home=home).releases
    plan = pipeline.deploy(target="rpi4", dry_run=True, home=home)
    assert plan.dry_run
    assert any("make" in line and "current" in line for line in plan.plan)
    assert pipeline.status(target="rpi4", home=home).releases == before


def test_the_newest_bundle_goes_onto_the_only_board_and_is_healthy(home: Home, built: Built, deployed: str) -> None:
    assert deployed == built.digest
    _confirmed(home, built.digest)
    assert pipeline.deploy(target="rpi4", home=home).already


def test_it_answers_as_on_the_host(home: Home, deployed: str, built: Built) -> None:
    answers = pipeline.predict(["sunny abc", "the cats"], target="rpi4", home=home)
    assert answers.release == built.digest
    assert [one.label for one in answers.predictions] == [
        list(built.manifest.labels).index(one.scores[0].label) for one in answers.predictions
    ]
    assert all(abs(sum(score.probability for score in one.scores) - 1) < 1e-3 for one in answers.predictions)


def test_a_benchmark_repeats_within_one_per_cent(home: Home, deployed: str) -> None:
    first, second = (pipeline.bench(target="rpi4", samples=60, home=home) for _ in range(2))
    assert first.result.clock == "counted"
    assert first.result.emulated
    for one, two in zip(first.result.runs, second.result.runs, strict=True):
        assert one.measured
        assert two.measured
        medians = [median(run.measured.model_only) for run in (one, two) if run.measured]
        assert medians[0] == pytest.approx(medians[1], rel=0.01)
    optimized = next(run for run in first.result.runs if run.job.solution == "optimized")
    assert optimized.measured
    assert optimized.measured.labels == first.result.host_labels
    page = first.files["markdown"].read_text()
    assert "counted" in page
    assert "A real board will differ" in page
    assert "not measured: no sensor" in page


def test_a_sweep_is_kept_for_the_target_and_settled_by_deploy(home: Home, deployed: str, built: Built) -> None:
    found = pipeline.tune(target="rpi4", samples=16, rounds=1, home=home)
    assert all(one.ms for one in found.tried)
    assert found.tried[0].setting.threads == 1
    (kept,) = home.tunings.iterdir()
    assert codec.loads(Tuning, kept.read_text()) == found
    # as if another board of this kind had found it
    kept.write_text(codec.dumps(dataclasses.replace(found, chosen=Setting(2, (0,)))))
    assert pipeline.deploy(target="rpi4", home=home).already
    (now,) = [one for one in pipeline.status(target="rpi4", home=home).releases if one.current]
    assert now.setting == Setting(2, (0,))
    answers = pipeline.predict(["sunny abc"], target="rpi4", home=home)
    assert answers.release == built.digest
    kept.unlink()


def test_an_unsigned_or_damaged_bundle_never_reaches_the_board(
    home: Home, deployed: str, built: Built, tmp_path: Path
) -> None:
    unsigned = tmp_path / "unsigned"
    shutil.copytree(built.bundle, unsigned)
    (unsigned / "manifest.json.sig").unlink()
    with pytest.raises(BundleError, match="not signed"):
        pipeline.deploy(unsigned, target="rpi4", home=home)
    flipped = tmp_path / "flipped"
    shutil.copytree(built.bundle, flipped)
    blob = blob_file(flipped, built.manifest.optimized.blob)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    with pytest.raises(BundleError, match="artifact"):
        pipeline.deploy(flipped, target="rpi4", home=home)
    _confirmed(home, built.digest)


def test_a_model_that_breaks_the_runtime_is_rolled_back(
    home: Home, deployed: str, built: Built, tmp_path: Path
) -> None:
    good = blob_file(built.bundle, built.manifest.optimized.blob).read_bytes()
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(good[:4096] + os.urandom(len(good) - 4096))
    blob = Blob(hashlib.sha256(bad.read_bytes()).hexdigest(), bad.stat().st_size)
    broken = dataclasses.replace(built.manifest.optimized, blob=blob)
    artifacts = tuple(broken if one.role == "optimized" else one for one in built.manifest.artifacts)
    manifest = dataclasses.replace(built.manifest, artifacts=artifacts)
    blobs = {one.blob.sha256: blob_file(built.bundle, one.blob) for one in entries(built.manifest)}
    write_bundle(tmp_path / "broken", manifest, {**blobs, blob.sha256: bad}, home.keys / "signing")
    with pytest.raises(RolledBack) as caught:
        pipeline.deploy(tmp_path / "broken", target="rpi4", home=home)
    assert caught.value.exit_code == 7
    _confirmed(home, built.digest)


def test_wrong_answers_on_the_device_are_rolled_back(home: Home, deployed: str, built: Built, tmp_path: Path) -> None:
    golden = blob_file(built.bundle, built.manifest.golden).read_text().replace('"label": 0', '"label": 1')
    wrong = tmp_path / "golden"
    wrong.write_text(golden)
    blob = Blob(hashlib.sha256(golden.encode()).hexdigest(), len(golden.encode()))
    manifest = dataclasses.replace(built.manifest, golden=blob)
    blobs = {one.blob.sha256: blob_file(built.bundle, one.blob) for one in entries(built.manifest)}
    write_bundle(tmp_path / "wrong", manifest, {**blobs, blob.sha256: wrong}, home.keys / "signing")
    with pytest.raises(RolledBack):
        pipeline.deploy(tmp_path / "wrong", target="rpi4", home=home)
    _confirmed(home, built.digest)


def test_a_full_disk_is_refused_before_anything_is_sent(
    home: Home, deployed: str, built: Built, board: Device, tmp_path: Path
) -> None:
    other = _variant(built, tmp_path / "other", home, seed=99)
    with connect(board) as transport:
        free = "df --output=avail -B1 . | tail -1"
        filler = transport.start(["sh", "-c", f"fallocate -l $(($({free}) - 400000)) filler && sync; echo $?"])
        assert filler.readline(120).strip() == b"0"
        filler.close()
        try:
            # what a release needs lies there already, so take something that does not
            os.replace(_padded(other, home, 2_000_000), other)
            with pytest.raises(PreflightError, match="free") as caught:
                pipeline.deploy(other, target="rpi4", home=home)
            assert caught.value.exit_code == 5
        finally:
            transport.start(["rm", "filler"]).wait(60)
    _confirmed(home, built.digest)


def _padded(bundle: Path, home: Home, size: int) -> Path:
    """The bundle with ``size`` more bytes of samples' worth of golden cases."""
    manifest, _ = read(bundle)
    golden = blob_file(bundle, manifest.golden).read_bytes()
    golden += golden * (size // len(golden))
    file = bundle.parent / "more"
    file.write_bytes(golden)
    blob = Blob(hashlib.sha256(golden).hexdigest(), len(golden))
    blobs = {one.blob.sha256: blob_file(bundle, one.blob) for one in entries(manifest)}
    folder = bundle.parent / "padded"
    write_bundle(
        folder, dataclasses.replace(manifest, golden=blob), {**blobs, blob.sha256: file}, home.keys / "signing"
    )
    shutil.rmtree(bundle)
    return folder


def test_a_cut_network_leaves_the_old_release(
    home: Home, deployed: str, built: Built, board: Device, tmp_path: Path
) -> None:
    assert board.emulated
    folder = Path(board.emulated.folder)
    other = _variant(built, tmp_path / "other", home, seed=1234)

    def cut(message: str, fraction: float | None = None) -> None:
        if "make" in message and "current" in message:
            machine.link(folder, False)

    try:
        with pytest.raises(TransportError) as caught:
            pipeline.deploy(other, target="rpi4", home=home, report=cut)
    finally:
        machine.link(folder, True)
    assert caught.value.exit_code == 6
    _back_on(built.digest, home)


@pytest.mark.parametrize("moment", ["uploading", "stage", "make", "check the health"])
def test_a_killed_host_leaves_the_old_release(
    moment: str, home: Home, deployed: str, built: Built, tmp_path: Path
) -> None:
    other = _variant(built, tmp_path / "other", home, seed=len(moment))
    command = [sys.executable, "-m", "edgekit", "--home", str(home.root), "--verbose", "deploy", str(other)]
    with subprocess.Popen([*command, "--target", "rpi4"], stderr=subprocess.PIPE, text=True) as host:
        assert host.stderr
        told = next((line for line in host.stderr if moment in line), None)
        host.kill()
    assert told, "the deploy came to this moment"
    _back_on(built.digest, home)


def test_a_power_cut_while_pending_brings_the_old_release_back(
    home: Home, deployed: str, built: Built, board: Device, tmp_path: Path
) -> None:
    assert board.emulated
    folder = Path(board.emulated.folder)
    other = _variant(built, tmp_path / "other", home, seed=4321)

    def cut(message: str, fraction: float | None = None) -> None:
        if "check the health" in message:
            machine.cut_power(folder)

    with pytest.raises(TransportError):
        pipeline.deploy(other, target="rpi4", home=home, report=cut)
    pipeline.device_up("rpi4", clock="counted", home=home)
    _confirmed(home, built.digest)


def test_rollback_goes_to_the_release_before(home: Home, deployed: str, built: Built, tmp_path: Path) -> None:
    other = _variant(built, tmp_path / "other", home, seed=77)
    newer = pipeline.deploy(other, target="rpi4", home=home)
    _confirmed(home, newer.digest)
    pipeline.rollback(target="rpi4", home=home)
    _confirmed(home, built.digest)
    switched = [line for line in pipeline.logs(target="rpi4", home=home).lines if '"current"' in line]
    assert built.digest in switched[-1], "the log says what became current"


def test_the_probe_knows_the_board(home: Home, board: Device) -> None:
    probe = pipeline.device_probe(target="rpi4", home=home)
    assert probe.fits == "rpi4"
    assert probe.facts.arch == "arm64"
    assert "cores" in [row.name for row in probe.rows if not row.ok], "the counting clock runs one core"
