import hashlib
import os
import shutil
import subprocess

import pytest

from edgekit.emulate import image, rootfs, tools
from edgekit.errors import BuildError


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    for name in (
        "usr/share/base-passwd",
        "usr/bin",
        "usr/sbin",
        "usr/share/doc/x",
        "etc/apt",
        "boot",
        "usr/lib/python3.11",
    ):
        (root / name).mkdir(parents=True)
    (root / "sbin").symlink_to("usr/sbin")
    (root / "usr/share/base-passwd/passwd.master").write_text("root:*:0:0:root:/root:/bin/bash\n")
    (root / "usr/share/base-passwd/group.master").write_text("root:*:0:\ntty:*:5:\n")
    (root / "etc/apt/sources.list").write_text("deb http://host.test/debian bookworm main\n")
    (root / "usr/lib/python3.11/this.py").write_text("print('x')\n")
    return root


def test_accounts_let_nobody_in_by_password(root):
    rootfs.configure(root)
    assert (root / "etc/passwd").read_text().splitlines()[-1] == "pi:x:1000:1000:pi:/home/pi:/bin/bash"
    shadow = [line.split(":") for line in (root / "etc/shadow").read_text().splitlines()]
    assert {fields[0] for fields in shadow} == {"root", "sshd", "pi"}
    assert {fields[1] for fields in shadow} == {"*"}
    assert (root / "etc/shadow").stat().st_mode & 0o777 == 0o600


def test_ssh_takes_keys_only(root):
    rootfs.configure(root)
    words = dict(line.split(None, 1) for line in (root / "etc/ssh/sshd_config").read_text().splitlines())
    assert words["PasswordAuthentication"] == words["KbdInteractiveAuthentication"] == words["UsePAM"] == "no"
    assert words["AllowUsers"] == "pi"


def test_host_leaves_no_trace_and_no_key_is_baked_in(root):
    rootfs.configure(root)
    assert not (root / "etc/apt/sources.list").exists()
    assert not (root / "usr/share/doc").exists()
    assert not list((root / "etc/ssh").glob("*_key"))
    assert not list((root / "home/pi/.ssh").iterdir())


def test_start_script_is_sound_shell(root):
    rootfs.configure(root)
    subprocess.run(["sh", "-n", str(root / "etc/edgekit/rc")], check=True)
    assert os.access(root / "etc/edgekit/rc", os.X_OK)


def test_board_needs_exactly_one_python(root):
    assert rootfs.python_of(root) == "3.11"
    (root / "usr/lib/python3.12").mkdir()
    with pytest.raises(BuildError, match="one Python"):
        rootfs.python_of(root)


def test_times_of_what_the_build_wrote_are_settled(root):
    package_file, written = root / "usr/lib/python3.11/this.py", root / "etc/new"
    os.utime(package_file, (1000, 1000))
    written.write_text("x")
    rootfs.settle_times(root, since=2000)
    assert package_file.stat().st_mtime == 1000
    assert written.stat().st_mtime == rootfs.FIXED_DATE


@pytest.mark.skipif(shutil.which("mke2fs", path=tools.SEARCH) is None, reason="needs e2fsprogs")
def test_disk_is_whole_sparse_and_read_only(root, tmp_path):
    disk = tmp_path / "disk.img"
    image.make_disk(root, disk, 64)
    assert disk.stat().st_size == 64 << 20
    assert disk.stat().st_mode & 0o222 == 0
    environment = {**os.environ, "PATH": tools.SEARCH}
    subprocess.run(["e2fsck", "-fn", str(disk)], check=True, capture_output=True, env=environment)
    listing = subprocess.run(
        ["debugfs", "-R", "cat /usr/lib/python3.11/this.py", str(disk)],
        check=True,
        capture_output=True,
        env=environment,
    )
    assert listing.stdout == b"print('x')\n"


@pytest.mark.skipif(shutil.which("mke2fs", path=tools.SEARCH) is None, reason="needs e2fsprogs")
def test_equal_trees_make_equal_disks(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    digests = set()
    for number, tree in enumerate((root, copy)):
        rootfs.settle_times(tree, since=0)
        # read and renamed at another time, which the host notes and the disk must not
        (tree / "usr/lib/python3.11/this.py").read_text()
        os.utime(tree / "boot", (5000 + number, rootfs.FIXED_DATE))
        disk = tmp_path / f"disk{number}.img"
        image.make_disk(tree, disk, 64)
        digests.add(hashlib.sha256(disk.read_bytes()).hexdigest())
    assert len(digests) == 1
