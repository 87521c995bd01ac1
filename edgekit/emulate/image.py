"""The disk image of an emulated board: built once, kept under the hash of what went into it, shared by all devices."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekit.emulate import initrd, rootfs, tools
from edgekit.errors import BuildError, UsageError
from edgekit.spec import codec
from edgekit.spec.progress import Report, quiet
from edgekit.spec.target import Emulation, Target

#: Size the board sees, in MiB; the file on the host is sparse.
DISK_MB = 4096
INODES = 65536
UUID = "6b656467-6b69-7400-8000-000000000001"
CODE = ("image.py", "initrd.py", "rootfs.py")


@dataclass(frozen=True)
class Image:
    """A finished image; nothing in its folder is ever written again. ``digest`` names what it was built from."""

    folder: Path
    digest: str

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.img"


@dataclass(frozen=True)
class Inputs:
    """All that decides an image's content, but for the day's package versions. Boards that differ in CPU share one."""

    arch: str
    suite: str
    kernel: str
    packages: tuple[str, ...]
    disk_mb: int
    code: str


def build(target: Target, cache: Path, report: Report = quiet) -> Image:
    """The image for ``target``, from ``cache`` or built into it (needs the network, about a minute).

    It is built in a temporary folder and renamed in when whole. One process builds, others wait for it.
    Raises UsageError where programs are missing or the target has no emulation, BuildError where a step fails.
    """
    emulation = emulation_of(target)
    inputs = Inputs(target.cpu.arch, emulation.suite, emulation.kernel, rootfs.PACKAGES, DISK_MB, _code_digest())
    digest = codec.digest(inputs)[:16]
    images = cache / "images"
    image = Image(images / digest, digest)
    if image.folder.exists():
        return image
    tools.require(["mmdebstrap", "mke2fs", "debugfs"])
    images.mkdir(parents=True, exist_ok=True)
    with _locked(images / (digest + ".lock"), report) as lock:
        if image.folder.exists():
            return image
        for left_over in images.glob(digest + ".part-*"):
            shutil.rmtree(left_over)
        part = Path(tempfile.mkdtemp(prefix=digest + ".part-", dir=images))
        try:
            _fill(part, inputs, lock, report)
            part.rename(image.folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        _sync(images)
    return image


def emulation_of(target: Target) -> Emulation:
    """How ``target`` is emulated; UsageError where it is not."""
    if target.emulation is None:
        raise UsageError(
            f"target {target.name!r} cannot be emulated",
            remedy="use a real board (edgekit device add), or give the target an 'emulation:' section",
        )
    return target.emulation


def _fill(part: Path, inputs: Inputs, lock: int, report: Report) -> None:
    started = time.time()
    root = part / "root"
    report(f"unpacking Debian {inputs.suite} for {inputs.arch}", 0.0)
    rootfs.create(
        root,
        arch=inputs.arch,
        suite=inputs.suite,
        kernel=inputs.kernel,
        keep_open=[lock],
        report=lambda line, _: report(line[3:], None) if line.startswith("I: ") else None,
    )
    report("writing kernel and initial RAM disk", 0.6)
    _write(part / "vmlinuz", _kernel(root))
    (modules,) = (root / "usr/lib/modules").iterdir()
    _write(part / "initrd.img", initrd.system((root / "usr/bin/busybox").read_bytes(), modules))
    rootfs.configure(root)
    report("compiling the board's Python library", 0.65)
    rootfs.compile_python(root, inputs.arch, [lock])
    rootfs.settle_times(root, started)
    report("writing the disk", 0.9)
    make_disk(root, part / "disk.img", inputs.disk_mb, [lock])
    shutil.rmtree(root)
    _write(part / "image.json", codec.dumps(inputs).encode())
    _sync(part)
    report("image ready", 1.0)


def make_disk(root: Path, disk: Path, size_mb: int, keep_open: Sequence[int] = ()) -> None:
    """An ext4 file system of ``size_mb`` MiB in the sparse file ``disk``, holding the tree ``root``, owned by root."""
    # the fixed seed and identifier make equal trees equal disks; initialized tables leave the board no work to do
    options = f"hash_seed={UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-L", "edgekit", "-U", UUID, "-N", str(INODES)]
    command += ["-E", options, "-d", str(root), str(disk), f"{size_mb}M"]
    environment = {"E2FSPROGS_FAKE_TIME": str(rootfs.FIXED_DATE)}
    tools.run(command, env=environment, keep_open=keep_open)
    # mke2fs also copies who owns each file here, and when it was last read and changed; inodes below 11 are its own
    count = sum(len(folders) + len(files) for _, folders, files in os.walk(root))
    date = f"@{rootfs.FIXED_DATE}"
    settings = (("uid", "0"), ("gid", "0"), ("atime", date), ("ctime", date))
    settled = disk.with_suffix(".debugfs")
    settled.write_text(
        "".join(
            f"set_inode_field <{number}> {field} {value}\n"
            for number in (2, *range(12, 12 + count))
            for field, value in settings
        )
    )
    tools.run(["debugfs", "-w", "-f", str(settled), str(disk)], env=environment, keep_open=keep_open)
    settled.unlink()
    _sync(disk)
    disk.chmod(0o444)


def _kernel(root: Path) -> bytes:
    found = sorted((root / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise BuildError("the board must have one kernel", given=[one.name for one in found])
    data = found[0].read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _code_digest() -> str:
    here = Path(__file__).parent
    return hashlib.sha256(b"\0".join((here / name).read_bytes() for name in CODE)).hexdigest()


@contextmanager
def _locked(file: Path, report: Report) -> Iterator[int]:
    """Hold ``file`` exclusively; the kernel lets go of it when we, and the programs that inherited it, end."""
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building this image: waiting for it", None)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def _write(file: Path, data: bytes) -> None:
    with file.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
