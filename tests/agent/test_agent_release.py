"""Old or new, never neither: also when the process dies before any single change to the file system."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_releases import killed_at, put, send_release

from edgekit.agent import files, record, release, store
from edgekit.errors import BundleError, DeviceError
from edgekit.spec import wire
from edgekit.spec.manifest import Blob


def deploy(root: Path, model: bytes) -> str:
    request = send_release(root, model=model)
    release.stage(root, request)
    release.activate(root, request.release)
    release.confirm(root, request.release)
    return request.release


def states(root: Path) -> dict[str, str]:
    return {one.release: one.state for one in record.records(root)}


def whole(root: Path, name: str) -> None:
    """The release can be read, and each of its blobs has its hash."""
    for blob in record.read(root, name).blobs:
        store.verify(store.blob_path(root, blob), blob)
    record.manifest(root, name)


def test_the_way_of_a_release(root: Path) -> None:
    first = deploy(root, b"one")
    request = send_release(root, model=b"two")
    release.stage(root, request)
    assert record.current(root) == first
    assert states(root) == {request.release: "staged", first: "confirmed"}
    release.activate(root, request.release)
    assert record.current(root) == request.release
    assert states(root)[request.release] == "pending"
    release.confirm(root, request.release)
    found = release.status(root)
    assert (found.current, found.previous) == (request.release, first)
    assert [one.release for one in found.releases] == [request.release, first]
    assert [one.current for one in found.releases] == [True, False]
    assert found.store_bytes > 0
    assert found.disk_free > 0


def test_rollback_walks_back_and_to(root: Path) -> None:
    one, two, three = (deploy(root, name) for name in (b"1", b"2", b"3"))
    release.rollback(root)
    assert record.current(root) == two
    release.rollback(root)
    assert record.current(root) == one
    with pytest.raises(DeviceError, match="no confirmed release before"):
        release.rollback(root)
    release.rollback(root, three)
    assert record.current(root) == three
    assert record.previous(root) == one
    assert set(states(root).values()) == {"confirmed"}
    with pytest.raises(DeviceError, match="current already"):
        release.rollback(root, three)


def test_a_pending_release_fails_by_rollback_and_may_be_staged_again(root: Path) -> None:
    old = deploy(root, b"old")
    request = send_release(root, model=b"new")
    release.stage(root, request)
    release.activate(root, request.release)
    release.rollback(root)
    assert record.current(root) == old
    assert states(root)[request.release] == "failed"
    with pytest.raises(DeviceError, match="failed on this device"):
        release.activate(root, request.release)
    with pytest.raises(DeviceError, match="only a confirmed release"):
        release.rollback(root, request.release)
    release.stage(root, request)
    release.activate(root, request.release)
    release.confirm(root, request.release)
    assert record.current(root) == request.release


def test_the_very_first_release_fails_to_none(root: Path) -> None:
    request = send_release(root)
    release.stage(root, request)
    release.activate(root, request.release)
    assert "went back to no release" in release.recover(root)
    assert record.current(root) is None
    assert states(root) == {request.release: "failed"}
    with pytest.raises(DeviceError, match="no release is current"):
        release.rollback(root)


def test_recover_says_nothing_where_all_is_well(root: Path) -> None:
    assert release.recover(root) == ""
    name = deploy(root, b"one")
    assert release.recover(root) == ""
    assert record.current(root) == name


def test_a_current_release_that_is_lost_goes_back(root: Path) -> None:
    old, new = deploy(root, b"old"), deploy(root, b"new")
    shutil.rmtree(record.folder(root, new))
    assert old[:12] in release.recover(root)
    assert record.current(root) == old


def test_stage_refuses_what_is_not_whole(root: Path) -> None:
    request = send_release(root)
    with pytest.raises(BundleError, match="named by its manifest"):
        release.stage(root, wire.Stage("0" * 64, request.manifest, request.blobs, ""))
    with pytest.raises(BundleError, match="needs its model"):
        release.stage(root, wire.Stage(request.release, request.manifest, request.blobs[1:], ""))
    with pytest.raises(DeviceError, match="lacks this runtime"):
        release.stage(root, wire.Stage(request.release, request.manifest, request.blobs, "absent"))
    with pytest.raises(DeviceError, match="lacks a blob"):
        release.stage(root, wire.Stage(request.release, request.manifest, (*request.blobs, Blob("9" * 64, 3)), ""))
    path = store.blob_path(root, request.blobs[0])
    path.write_bytes(b"mOdel")
    with pytest.raises(BundleError, match="damaged"):
        release.stage(root, request)
    assert not path.exists()
    assert record.records(root) == []
    assert list((root / "releases").iterdir()) == []


def test_the_current_release_never_changes_under_its_name(root: Path) -> None:
    request = send_release(root)
    release.stage(root, request)
    release.activate(root, request.release)
    release.confirm(root, request.release)
    before = record.read(root, request.release)
    release.stage(root, request)
    release.activate(root, request.release)
    assert record.read(root, request.release) == before
    (root / "runtimes/other").mkdir()
    (root / "runtimes/other" / store.RUNTIME_FILE).write_text('{"wheels":[],"size":0}')
    with pytest.raises(DeviceError, match="another runtime"):
        release.stage(root, wire.Stage(request.release, request.manifest, request.blobs, "other"))


def test_confirm_takes_the_current_release_only(root: Path) -> None:
    old = deploy(root, b"old")
    request = send_release(root, model=b"new")
    release.stage(root, request)
    with pytest.raises(DeviceError, match="only the current"):
        release.confirm(root, request.release)
    release.confirm(root, old)
    with pytest.raises(DeviceError, match="does not have this release"):
        release.activate(root, "0" * 64)


def test_prune_keeps_current_previous_and_what_their_manifests_name(root: Path) -> None:
    names = [deploy(root, name) for name in (b"1", b"2", b"3", b"4")]
    loose = put(root, b"of no release")
    release.rollback(root, names[0])
    release.prune(root, 1)
    # current, the one it would go back to, and the newest confirmed are the first and the fourth
    assert set(states(root)) == {names[0], names[3]}
    for name in states(root):
        whole(root, name)
    assert not store.has(root, loose)
    with pytest.raises(DeviceError, match="at least one"):
        release.prune(root, 0)


Prepare = Callable[[Path], Callable[[], None]]


def activating(root: Path) -> Callable[[], None]:
    request = send_release(root, model=b"new")
    release.stage(root, request)
    return lambda: release.activate(root, request.release)


def staging(root: Path) -> Callable[[], None]:
    request = send_release(root, model=b"new")
    return lambda: release.stage(root, request)


def confirming(root: Path) -> Callable[[], None]:
    activating(root)()
    name = record.current(root) or ""
    return lambda: release.confirm(root, name)


def going_back(root: Path) -> Callable[[], None]:
    activating(root)()
    return lambda: release.rollback(root)


def going_back_from_confirmed(root: Path) -> Callable[[], None]:
    deploy(root, b"new")
    return lambda: release.rollback(root)


def pruning(root: Path) -> Callable[[], None]:
    for name in (b"a", b"b", b"new"):
        deploy(root, name)
    return lambda: release.prune(root, 1)


def recovering(root: Path) -> Callable[[], None]:
    activating(root)()
    return lambda: print(end=release.recover(root) and "")


WORK = [staging, activating, confirming, going_back, going_back_from_confirmed, pruning, recovering]


@pytest.mark.parametrize("prepare", WORK, ids=lambda one: one.__name__)
def test_killed_before_every_change_leaves_old_or_new(tmp_path: Path, prepare: Prepare) -> None:
    """After each death the next agent recovers, and ``current`` names a whole, confirmed release."""
    step, died = 0, True
    while died:
        root = tmp_path / str(step)
        store.prepare(root)
        old = deploy(root, b"old")
        work = prepare(root)
        before = {one.release for one in record.records(root) if one.state != "failed"}
        died = killed_at(step, work)
        # the link itself is never gone or dangling, not even before recovery
        now = record.current(root)
        assert now is not None
        whole(root, now)
        store.clear(root)
        release.recover(root)
        now = record.current(root)
        assert now is not None
        assert record.read(root, now).state == "confirmed"
        assert now in before | {old}
        whole(root, now)
        assert "pending" not in states(root).values()
        assert not list(root.rglob(files.TEMPORARY + "*"))
        shutil.rmtree(root)
        step += 1
    assert step > 1
