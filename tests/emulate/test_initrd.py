import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.emulate import initrd
from edgekit.errors import BuildError


def unpack(archive):
    """Read a newc archive as the kernel does: header, name, padding to 4, data, padding to 4."""
    members, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        at = (at + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert not any(archive[at:])
            return members
        members[name] = (fields[1], archive[at : at + size])
        at = (at + size + 3) // 4 * 4


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)


@given(st.dictionaries(names, st.tuples(st.booleans(), st.binary(max_size=99))))
def test_archive_reads_back(files):
    archive = initrd.cpio(initrd.file(name, data, 0o755 if run else 0o644) for name, (run, data) in files.items())
    assert len(archive) % 512 == 0
    assert unpack(archive) == {n: (0o100755 if run else 0o100644, data) for n, (run, data) in files.items()}


def test_private_key_stays_private():
    members = unpack(initrd.keys(b"PRIVATE", b"ssh-ed25519 AAAA"))
    assert members["keys/ssh_host_ed25519_key"] == (0o100600, b"PRIVATE")
    assert members["keys/authorized_keys"][1] == b"ssh-ed25519 AAAA"


def module(*needs):
    return b"\x7fELF..\0license=GPL\0depends=" + ",".join(needs).encode() + b"\0name=x\0"


@pytest.fixture
def modules(tmp_path):
    (tmp_path / "kernel/drivers").mkdir(parents=True)
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/crypto/crc32c_generic.ko\n")
    for name, content in {
        "virtio": module(),
        "virtio_ring": module(),
        "virtio_mmio": module("virtio", "virtio_ring"),
        "virtio_blk": module("virtio_ring", "virtio"),
        "net-failover": module("failover"),
        "failover": module(),
    }.items():
        (tmp_path / "kernel/drivers" / (name + ".ko")).write_bytes(content)
    packed = lzma.compress(module("virtio", "net-failover", "virtio_ring"))
    (tmp_path / "kernel/drivers/virtio_net.ko.xz").write_bytes(packed)
    return tmp_path


def test_each_module_comes_after_what_it_needs(modules):
    order = [name for name, _ in initrd.load_order(initrd.MODULES, modules)]
    assert sorted(order) == sorted(
        ["virtio", "virtio_ring", "virtio_mmio", "virtio_blk", "failover", "net_failover", "virtio_net"]
    )
    for name, content in initrd.load_order(initrd.MODULES, modules):
        assert all(order.index(one) < order.index(name) for one in initrd.dependencies(content))


def test_a_missing_module_is_named(modules):
    (modules / "kernel/drivers/failover.ko").unlink()
    with pytest.raises(BuildError, match="failover"):
        initrd.load_order(initrd.MODULES, modules)


def test_system_archive_starts_what_it_holds(modules):
    members = unpack(initrd.system(b"BUSYBOX", modules))
    assert members["bin/busybox"] == (0o100755, b"BUSYBOX")
    assert members["init"][0] == 0o100755
    for name in members["modules/order"][1].decode().split():
        assert "modules/" + name in members
