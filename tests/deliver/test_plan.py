"""The plan: facts in, steps out. Goldens show whole plans, properties hold for all of them.

``EDGEKIT_WRITE_GOLDENS=1`` writes the goldens anew; read the difference before you keep it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from deliver_kit import blob_of, manifest_of
from hypothesis import given
from hypothesis import strategies as st

from edgekit.deliver import plan as planning
from edgekit.deliver.plan import Activate, CheckHealth, Confirm, Plan, Prune, Stage, Unpack, Upload
from edgekit.spec import codec, wire
from edgekit.spec.manifest import Blob

GOLDENS = Path(__file__).with_name("goldens")
MANIFEST = manifest_of(b"model" * 100_000)
FILE = Blob("e" * 64, 1234)  # not the manifest's own hash: a new field there is no new plan
WHEELS = {blob_of(b"litert" * 50_000): "litert.whl", blob_of(b"numpy" * 70_000): "numpy.whl"}
RUNTIME = "c" * 64
OLD = wire.ReleaseState("d" * 64, "older", "confirmed", True, 1.0, 10)
WANTED = planning.wanted(MANIFEST, FILE, WHEELS)


def state(kind: wire.State, current: bool) -> wire.ReleaseState:
    return wire.ReleaseState(FILE.sha256, "tiny", kind, current, 2.0, 10)


def plan(status: wire.Status, missing: wire.Missing) -> Plan:
    return planning.plan(status, missing, MANIFEST, FILE, WHEELS, RUNTIME)


ALL = wire.Missing(tuple(WANTED))
NONE = wire.Missing(())
EMPTY = wire.Status(())
CASES = {
    "fresh_device": (EMPTY, ALL),
    "second_release": (wire.Status((OLD,), current=OLD.release), wire.Missing((*list(WANTED)[2:],))),
    "resumed": (EMPTY, wire.Missing((MANIFEST.optimized.blob,), {MANIFEST.optimized.blob.sha256: 123_456})),
    "part_too_long": (EMPTY, wire.Missing((MANIFEST.optimized.blob,), {MANIFEST.optimized.blob.sha256: 500_000})),
    "current_and_confirmed": (wire.Status((state("confirmed", True),), current=FILE.sha256), NONE),
    "staged_before": (wire.Status((state("staged", False), OLD), current=OLD.release), NONE),
    "failed_before": (wire.Status((state("failed", False), OLD), current=OLD.release), NONE),
    "older_one_again": (wire.Status((OLD, state("confirmed", False)), current=OLD.release), NONE),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    found = plan(*CASES[name])
    steps = [{"step": type(one).__name__, **codec.encode(one)} for one in found.steps]
    told = {"release": found.release, "name": found.name, "bytes_left": found.bytes_left, "steps": steps}
    text = json.dumps({"lines": found.describe(), **told}, indent=1, sort_keys=True) + "\n"
    file = GOLDENS / f"{name}.json"
    if os.environ.get("EDGEKIT_WRITE_GOLDENS"):
        file.write_text(text)
    assert text == file.read_text()


def test_every_golden_is_asked_for() -> None:
    assert {file.stem for file in GOLDENS.iterdir()} == set(CASES)


def test_the_disk_must_hold_what_travels_and_the_unpacked_runtime() -> None:
    fresh = plan(EMPTY, ALL)
    assert planning.disk_need(fresh, 1_000_000) == sum(one.size for one in WANTED) + 1_000_000
    assert planning.disk_need(plan(EMPTY, NONE), 1_000_000) == 0
    only_model = plan(EMPTY, wire.Missing((MANIFEST.optimized.blob,)))
    assert planning.disk_need(only_model, 1_000_000) == 500_000


def test_a_benchmark_needs_every_artifact_and_the_samples() -> None:
    assert set(planning.bench_blobs(MANIFEST)) == {
        MANIFEST.optimized.blob,
        MANIFEST.optimized.tokenizer,
        MANIFEST.samples,
    }


states = st.sampled_from(["staged", "pending", "confirmed", "failed"])
sizes = st.integers(0, 600_000)


@st.composite
def situations(draw: st.DrawFn) -> tuple[wire.Status, wire.Missing]:
    mine = draw(st.none() | st.builds(state, states, st.booleans()))
    old = draw(st.booleans())
    releases = ([mine] if mine else []) + ([OLD] if old else [])
    current = FILE.sha256 if mine and mine.current else OLD.release if old else None
    absent = draw(st.lists(st.sampled_from(list(WANTED)), unique=True))
    partial = {one.sha256: draw(sizes) for one in absent if draw(st.booleans())}
    return wire.Status(tuple(releases), current=current), wire.Missing(tuple(absent), partial)


@given(situations())
def test_order_and_sums_hold_for_every_plan(situation: tuple[wire.Status, wire.Missing]) -> None:
    status, missing = situation
    found = plan(status, missing)
    done = any(one.current and one.state == "confirmed" and one.release == FILE.sha256 for one in status.releases)
    if done:
        assert found.steps == ()
        return
    kinds = [type(one) for one in found.steps]
    sent = len(missing.blobs)
    assert kinds == [Upload] * sent + [Unpack, Stage, Activate, CheckHealth, Confirm, Prune]
    assert {one.blob for one in found.uploads} == set(missing.blobs)
    there = sum(
        size
        for name, size in missing.partial.items()
        for one in missing.blobs
        if one.sha256 == name and size < one.size
    )
    assert found.bytes_left == sum(one.size for one in missing.blobs) - there
    assert all(0 <= one.offset <= one.blob.size for one in found.uploads)
    assert len(found.describe()) == len(found.steps)


@given(situations())
def test_once_taken_nothing_is_left_to_do(situation: tuple[wire.Status, wire.Missing]) -> None:
    after = wire.Status((state("confirmed", True), OLD), current=FILE.sha256, previous=OLD.release)
    assert plan(*situation).release == FILE.sha256
    assert plan(after, NONE).steps == ()
