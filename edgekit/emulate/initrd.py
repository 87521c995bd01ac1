"""The initial RAM disk: a static busybox, the kernel modules a virtual board needs, and a script that mounts the root.

It is written directly as a cpio archive (format ``newc``, Linux: Documentation/driver-api/early-userspace/
buffer-format.rst). The kernel unpacks several archives one after the other, which is how each device gets keys of its
own over an image that all devices share.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import BuildError

#: Loaded in this order, each after what it depends on; those the kernel has built in are passed over.
MODULES = ("virtio_mmio", "virtio_blk", "virtio_net", "crc32c_generic", "ext4")

INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
for module in $(busybox cat /modules/order); do busybox insmod "/modules/$module"; done
busybox ip link set lo up
busybox ip addr add 10.0.2.15/24 dev eth0
busybox ip link set eth0 up
busybox mount -t ext4 -o noatime /dev/vda /root || busybox reboot -f
busybox cp /keys/ssh_host_ed25519_key /root/etc/ssh/
busybox cp /keys/authorized_keys /root/home/pi/.ssh/
for one in proc sys dev; do busybox mount --move /$one /root/$one; done
exec busybox switch_root /root /sbin/init
"""


@dataclass(frozen=True)
class Entry:
    """One member of the archive: ``mode`` with its file type bits."""

    name: str
    mode: int
    data: bytes = b""


def folder(name: str) -> Entry:
    return Entry(name, 0o040755)


def file(name: str, data: bytes, permissions: int = 0o644) -> Entry:
    return Entry(name, 0o100000 | permissions, data)


def cpio(entries: Iterable[Entry]) -> bytes:
    """A ``newc`` archive; owner root, times zero, so that equal entries give equal bytes."""
    archive = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
        archive += b"070701" + b"".join(b"%08X" % value for value in fields) + name
        archive += bytes(-len(archive) % 4)
        archive += entry.data
        archive += bytes(-len(archive) % 4)
    archive += bytes(-len(archive) % 512)
    return bytes(archive)


def system(busybox: bytes, modules: Path) -> bytes:
    """The archive all devices share, from the static ``busybox`` and the kernel's folder of ``modules``."""
    entries = [folder(name) for name in ("bin", "proc", "sys", "dev", "root", "modules", "keys")]
    entries += [file("bin/busybox", busybox, 0o755), file("init", INIT.encode(), 0o755)]
    loaded = load_order(MODULES, modules)
    entries += [file(f"modules/{name}.ko", data) for name, data in loaded]
    entries.append(file("modules/order", "".join(f"{name}.ko\n" for name, _ in loaded).encode()))
    return cpio(entries)


def keys(host_key: bytes, authorized: bytes) -> bytes:
    """One device's archive: its private host key and the public key that may log in."""
    return cpio(
        [file("keys/ssh_host_ed25519_key", host_key, 0o600), file("keys/authorized_keys", authorized)],
    )


def load_order(wanted: Sequence[str], modules: Path) -> list[tuple[str, bytes]]:
    """``(name, content)`` of the wanted modules and all they depend on, dependencies first.

    Raises BuildError where one is neither in the folder nor built into the kernel.
    """
    files = {one.name.split(".")[0].replace("-", "_"): one for one in modules.rglob("*.ko*")}
    builtin = {Path(line).stem.replace("-", "_") for line in (modules / "modules.builtin").read_text().split()}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name in builtin:
            return
        if name not in files:
            raise BuildError(f"the kernel package has no module {name!r}", where=str(modules))
        data = _content(files[name])
        for dependency in dependencies(data):
            add(dependency)
        ordered[name] = data

    for name in wanted:
        add(name)
    return list(ordered.items())


def dependencies(module: bytes) -> list[str]:
    """The modules that this one names as needed in its ``.modinfo`` section."""
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    names = match[1].decode().split(",") if match else []
    return [name.replace("-", "_") for name in names if name]


def _content(module: Path) -> bytes:
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data
