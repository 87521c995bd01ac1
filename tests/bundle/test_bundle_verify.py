from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import pytest
from bundle_kit import Made, small_manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.bundle import build, sign
from edgekit.bundle.verify import verify
from edgekit.errors import BundleError, UsageError


def test_a_signed_bundle_is_trusted(made: Made) -> None:
    digest = hashlib.sha256((made.folder / "manifest.json").read_bytes()).hexdigest()
    assert verify(made.folder, made.trusted) == (made.manifest, digest)


def test_an_unsigned_bundle_is_refused(made: Made) -> None:
    (made.folder / "manifest.json.sig").unlink()
    with pytest.raises(BundleError, match="not signed") as caught:
        verify(made.folder, made.trusted)
    assert caught.value.exit_code == 3
    assert caught.value.remedy


def test_an_untrusted_key_is_refused_by_its_fingerprint(made: Made, tmp_path: Path) -> None:
    stranger = sign.ensure_key(tmp_path / "stranger")
    sign.sign(made.folder, stranger)
    fingerprint = sign.ssh_keygen(["-l", "-f", f"{stranger}.pub"]).stdout.decode().split()[1]
    with pytest.raises(BundleError, match="not trusted") as caught:
        verify(made.folder, made.trusted)
    assert fingerprint in caught.value.given
    assert "edgekit bundle trust" in caught.value.remedy
    assert sign.allow(tmp_path / "also", tmp_path / "stranger.pub") == fingerprint
    assert verify(made.folder, tmp_path / "also")[0] == made.manifest


@pytest.mark.parametrize("content", [None, "", "edgekit nonsense\n"])
def test_without_a_usable_trust_file_nothing_is_trusted(content: str | None, made: Made, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted"
    if content is not None:
        trusted.write_text(content)
    with pytest.raises(BundleError, match="not trusted"):
        verify(made.folder, trusted)


def test_a_signature_for_another_purpose_is_none_here(made: Made) -> None:
    data = (made.folder / "manifest.json").read_bytes()
    other = sign.ssh_keygen(["-Y", "sign", "-n", "file", "-f", str(made.key)], data)
    (made.folder / "manifest.json.sig").write_bytes(other.stdout)
    with pytest.raises(BundleError):
        verify(made.folder, made.trusted)


def test_the_signature_of_another_manifest_is_refused(made: Made, tmp_path: Path) -> None:
    other = tmp_path / "other"
    build.write(other, dataclasses.replace(made.manifest, seed=99), made.blobs, made.key)
    shutil.copy(other / "manifest.json.sig", made.folder / "manifest.json.sig")
    with pytest.raises(BundleError, match="not of this manifest"):
        verify(made.folder, made.trusted)


def test_a_missing_blob_is_named(made: Made) -> None:
    (made.folder / "blobs" / made.manifest.optimized.blob.sha256).unlink()
    with pytest.raises(BundleError, match="tflite artifact minilm-w8_a8_static is missing"):
        verify(made.folder, made.trusted)


def test_a_damaged_blob_is_named_with_both_hashes(made: Made) -> None:
    blob = made.manifest.samples
    file = made.folder / "blobs" / blob.sha256
    damaged = b"#" + file.read_bytes()[1:]
    file.unlink()  # it is a hard link of the source
    file.write_bytes(damaged)
    with pytest.raises(BundleError, match="held-out samples is damaged") as caught:
        verify(made.folder, made.trusted)
    assert blob.sha256 in caught.value.allowed
    assert caught.value.given != caught.value.allowed


def test_a_truncated_blob_says_both_sizes(made: Made) -> None:
    blob = made.manifest.golden
    file = made.folder / "blobs" / blob.sha256
    file.unlink()
    file.write_bytes(b"{}")
    with pytest.raises(BundleError, match="damaged") as caught:
        verify(made.folder, made.trusted)
    assert (caught.value.given, caught.value.allowed) == ("2 bytes", f"{blob.size} bytes")


@pytest.mark.parametrize("name", ["notes.txt", "blobs/extra", f"blobs/{'0' * 64}", "more/deep"])
def test_a_stray_file_is_refused(name: str, made: Made) -> None:
    (made.folder / name).parent.mkdir(exist_ok=True)
    (made.folder / name).write_text("x")
    with pytest.raises(BundleError, match="does not name"):
        verify(made.folder, made.trusted)


def test_a_link_in_place_of_a_blob_is_refused(made: Made, tmp_path: Path) -> None:
    file = made.folder / "blobs" / made.manifest.golden.sha256
    shutil.move(file, tmp_path / "away")
    file.symlink_to(tmp_path / "away")
    with pytest.raises(BundleError, match="golden cases cannot be read"):
        verify(made.folder, made.trusted)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, keys: tuple[Path, Path]) -> Path:
    """One bundle of copies for many flips."""
    root = tmp_path_factory.mktemp("flips")
    manifest, blobs = small_manifest(root)
    build.write(root / "bundle", manifest, blobs, keys[0])
    for file in (root / "bundle" / "blobs").iterdir():
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
    return root / "bundle"


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_one_flipped_bit_is_refused(data: st.DataObject, shared: Path, keys: tuple[Path, Path]) -> None:
    files = sorted(path for path in shared.rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files))
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[place // 8] ^= 1 << place % 8
    file.write_bytes(flipped)
    try:
        with pytest.raises(BundleError):
            verify(shared, keys[1])
    finally:
        file.write_bytes(whole)


def test_no_flip_of_the_signature_file_passes(shared: Path, keys: tuple[Path, Path]) -> None:
    """The armor's line ends and its last character are where a lenient reader would look away."""
    file = shared / "manifest.json.sig"
    whole = file.read_bytes()
    ends = [n for n, byte in enumerate(whole) if byte == 0x0A] + [len(whole) - len("-----END SSH SIGNATURE-----") - 3]
    try:
        for place in ends:
            for bit in range(8):
                flipped = bytearray(whole)
                flipped[place] ^= 1 << bit
                file.write_bytes(flipped)
                with pytest.raises(BundleError):
                    verify(shared, keys[1])
    finally:
        file.write_bytes(whole)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = sign.ensure_key(tmp_path / "deep" / "key")
    first = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.with_name("key.pub").read_text().endswith("edgekit\n")
    assert sign.ensure_key(key).read_bytes() == first
    public = key.with_name("key.pub").read_text()
    key.with_name("key.pub").unlink()
    sign.ensure_key(key)
    assert key.with_name("key.pub").read_text().split()[:2] == public.split()[:2]


def test_a_key_with_a_passphrase_is_refused_without_asking(made: Made, tmp_path: Path) -> None:
    sign.ssh_keygen(["-q", "-t", "ed25519", "-N", "secret words", "-f", str(tmp_path / "locked")])
    with pytest.raises(BundleError, match="could not be signed") as caught:
        sign.sign(made.folder, tmp_path / "locked")
    assert "passphrase" in caught.value.remedy


def test_allow_is_idempotent_and_refuses_a_private_key(tmp_path: Path) -> None:
    sign.ensure_key(tmp_path / "key")
    trusted = tmp_path / "trusted"
    sign.allow(trusted, tmp_path / "key.pub")
    sign.allow(trusted, tmp_path / "key.pub")
    assert len(trusted.read_text().splitlines()) == 1
    with pytest.raises(UsageError, match="not an OpenSSH public key") as caught:
        sign.allow(trusted, tmp_path / "key")
    assert "PRIVATE" not in str(caught.value)
    (tmp_path / "commented.pub").write_text("# mine\n" + (tmp_path / "key.pub").read_text())
    with pytest.raises(UsageError, match="not an OpenSSH public key"):
        sign.allow(trusted, tmp_path / "commented.pub")
    assert len(trusted.read_text().splitlines()) == 1


def test_without_ssh_keygen_the_package_is_named(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="ssh-keygen is not installed") as caught:
        verify(made.folder, made.trusted)
    assert "openssh-client" in caught.value.remedy
