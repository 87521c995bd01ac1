"""A deploy with the real agent: whole or not at all, wherever it is cut."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from deliver_kit import bundle_of
from sshd_kit import Server

from edgekit.deliver import agent_file, apply, connect, wheels
from edgekit.deliver import plan as planning
from edgekit.deliver.client import Agent
from edgekit.deliver.local import LocalTransport
from edgekit.deliver.plan import Plan
from edgekit.errors import BundleError, RolledBack, TransportError
from edgekit.spec import wire
from edgekit.spec.manifest import Blob, Manifest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("edgekit.agent.__main__") is None, reason="the agent is not part of this tree"
)


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_file.build(tmp_path_factory.mktemp("agent"))


@pytest.fixture
def agent(tmp_path: Path, zipapp: Path) -> Iterator[Agent]:
    with LocalTransport(tmp_path / "home") as transport, Agent(transport, zipapp, str(tmp_path / "root")) as found:
        yield found


def again(tmp_path: Path, zipapp: Path) -> Agent:
    """A new session, as after a crash of the host."""
    return Agent(LocalTransport(tmp_path / "home"), zipapp, str(tmp_path / "root"))


def plan_of(agent: Agent, manifest: Manifest, file: Blob) -> Plan:
    status = agent.call("status", None, wire.Status)
    wanted = planning.wanted(manifest, file, {})
    missing = agent.call("missing", wire.BlobList(tuple(wanted)), wire.Missing)
    return planning.plan(status, missing, manifest, file, {}, "")


def install(agent: Agent, folder: Path, model: bytes) -> str:
    """A confirmed release, without asking whether it is healthy: these models are none."""
    manifest, file = bundle_of(folder, model)
    steps = tuple(one for one in plan_of(agent, manifest, file).steps if not isinstance(one, planning.CheckHealth))
    apply.apply(Plan(file.sha256, manifest.name, steps), agent, apply.files(folder, manifest, file))
    return file.sha256


def test_steps_are_taken_and_progress_rises_to_one(agent: Agent, tmp_path: Path) -> None:
    manifest, file = bundle_of(tmp_path / "bundle", b"model" * 100_000)
    heard: list[float] = []
    found = plan_of(agent, manifest, file)
    steps = tuple(one for one in found.steps if not isinstance(one, planning.CheckHealth))
    health = apply.apply(
        Plan(found.release, found.name, steps),
        agent,
        apply.files(tmp_path / "bundle", manifest, file),
        lambda _, fraction: heard.append(fraction or 0.0),
    )
    assert health is None
    status = agent.call("status", None, wire.Status)
    assert status.current == file.sha256
    assert [(one.state, one.name) for one in status.releases] == [("confirmed", "tiny")]
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert plan_of(agent, manifest, file).steps == ()


def test_a_sick_release_goes_back_to_the_one_before(agent: Agent, tmp_path: Path) -> None:
    old = install(agent, tmp_path / "old", b"old model")
    manifest, file = bundle_of(tmp_path / "new", b"no model at all")
    with pytest.raises(RolledBack) as caught:
        apply.apply(plan_of(agent, manifest, file), agent, apply.files(tmp_path / "new", manifest, file))
    assert caught.value.exit_code == 7
    assert "health check" in caught.value.message
    assert old[:12] in str(caught.value.remedy)
    status = agent.call("status", None, wire.Status)
    assert status.current == old
    assert {one.release: one.state for one in status.releases} == {old: "confirmed", file.sha256: "failed"}


def test_the_very_first_release_may_fail_too(agent: Agent, tmp_path: Path) -> None:
    manifest, file = bundle_of(tmp_path / "new", b"no model at all")
    with pytest.raises(RolledBack, match="health check") as caught:
        apply.apply(plan_of(agent, manifest, file), agent, apply.files(tmp_path / "new", manifest, file))
    assert "no release" in str(caught.value.remedy)
    assert agent.call("status", None, wire.Status).current is None


@pytest.mark.parametrize("taken", range(8))
def test_killed_after_any_step_the_old_release_stays(agent: Agent, tmp_path: Path, zipapp: Path, taken: int) -> None:
    old = install(agent, tmp_path / "old", b"old model")
    manifest, file = bundle_of(tmp_path / "new", b"new model")
    found = plan_of(agent, manifest, file)
    steps = [one for one in found.steps if not isinstance(one, planning.CheckHealth | planning.Confirm)][:taken]
    apply.apply(Plan(found.release, found.name, tuple(steps)), agent, apply.files(tmp_path / "new", manifest, file))
    agent._process._child.kill()  # type: ignore[attr-defined]
    with again(tmp_path, zipapp) as later:
        assert later.call("status", None, wire.Status).current == old
        if any(isinstance(one, planning.Activate) for one in steps):
            assert old[:12] in later.hello.recovered
        rest = plan_of(later, manifest, file)
        assert rest.bytes_left == found.bytes_left - sum(
            one.bytes_left for one in steps if isinstance(one, planning.Upload)
        )


def test_a_cut_transfer_goes_on_where_it_was(forward, server: Server, tmp_path: Path, zipapp: Path) -> None:  # type: ignore[no-untyped-def]
    model = hashlib.sha256(b"seed").digest() * 100_000
    manifest, file = bundle_of(tmp_path / "bundle", model)
    files, root = apply.files(tmp_path / "bundle", manifest, file), str(tmp_path / "root")
    _, device = forward(1_500_000)
    with connect(device) as transport, Agent(transport, zipapp, root) as agent, pytest.raises(TransportError) as caught:
        apply.apply(plan_of(agent, manifest, file), agent, files)
    assert caught.value.exit_code == 6
    with connect(server.device) as transport, Agent(transport, zipapp, root) as agent:
        rest = plan_of(agent, manifest, file)
        (model_upload,) = rest.uploads
        assert 0 < model_upload.offset < len(model)
        apply.send(rest.uploads, agent, files)
        assert plan_of(agent, manifest, file).uploads == ()


def test_a_part_that_is_not_the_blobs_is_sent_anew(agent: Agent, tmp_path: Path) -> None:
    manifest, file = bundle_of(tmp_path / "bundle", b"right" * 1000)
    part = tmp_path / "root" / "incoming" / (manifest.optimized.blob.sha256 + ".part")
    part.write_bytes(b"wrong" * 500)
    found = plan_of(agent, manifest, file)
    assert any(one.offset == 2500 for one in found.uploads)
    apply.send(found.uploads, agent, apply.files(tmp_path / "bundle", manifest, file))
    assert plan_of(agent, manifest, file).uploads == ()


def test_a_flipped_bit_in_a_blob_is_refused_and_leaves_nothing(agent: Agent, tmp_path: Path) -> None:
    manifest, file = bundle_of(tmp_path / "bundle", b"model" * 1000)
    files = apply.files(tmp_path / "bundle", manifest, file)
    blob = files[manifest.optimized.blob]
    data = bytearray(blob.read_bytes())
    data[77] ^= 1
    blob.unlink()
    blob.write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        apply.apply(plan_of(agent, manifest, file), agent, files)
    assert agent.call("status", None, wire.Status).releases == ()
    assert list((tmp_path / "root" / "incoming").iterdir()) == []


@pytest.mark.parametrize("cut", [0, 100])
def test_a_missing_or_short_blob_is_told_before_it_is_sent(agent: Agent, tmp_path: Path, cut: int) -> None:
    manifest, file = bundle_of(tmp_path / "bundle", b"model" * 1000)
    files = apply.files(tmp_path / "bundle", manifest, file)
    blob = files[manifest.optimized.blob]
    data = blob.read_bytes()[:cut]
    blob.unlink()
    if cut:
        blob.write_bytes(data)
    with pytest.raises(BundleError):
        apply.apply(plan_of(agent, manifest, file), agent, files)


def test_a_benchmarks_blobs_are_shipped_once(agent: Agent, tmp_path: Path) -> None:
    manifest, file = bundle_of(tmp_path / "bundle", b"model" * 1000)
    names, files = planning.bench_blobs(manifest), apply.files(tmp_path / "bundle", manifest, file)
    assert apply.ship(agent, names, files) == sum(one.size for one in names)
    assert apply.ship(agent, names, files) == 0
    assert wheels.digest([]) == ""
