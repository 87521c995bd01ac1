"""The board's root file system: Debian packages unpacked on the host, and the few files that make it one board.

Packages are only unpacked (mmdebstrap, variant ``extract``): no program of the board runs while it is built, so neither
root, nor mounts, nor binfmt are needed. What maintainer scripts would have done and the board needs is written here.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edgekit.emulate import apt, tools
from edgekit.errors import BuildError
from edgekit.spec.progress import Report, quiet

PACKAGES = (
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "kmod",
    "libc-bin",
    "libgomp1",
    "libstdc++6",
    "login",
    "mount",
    "openssh-client",
    "openssh-server",
    "openssh-sftp-server",
    "passwd",
    "procps",
    "python3",
    "sed",
    "tar",
    "usr-is-merged",
    "util-linux",
)

#: /bin, /sbin and /lib are links into /usr; mmdebstrap's own hook for that needs root.
MERGED_USR = 'for one in bin lib sbin; do mkdir -p "$1/usr/$one" && ln -s "usr/$one" "$1/$one"; done'

#: What the packages bring and a board without a screen, a manual or changing hardware never reads.
UNUSED = (
    "boot",
    "usr/lib/modules",
    "usr/lib/klibc",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
)
HOST_TRACES = ("etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap")

QEMU_USER = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}

FILES = {
    "etc/fstab": "/dev/vda / ext4 noatime 0 1\n",
    "etc/hostname": "board\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/resolv.conf": "",
    "etc/inittab": "::sysinit:/etc/edgekit/rc\n::respawn:/usr/sbin/sshd -D -e\n::shutdown:/bin/umount -a -r\n",
    "etc/ssh/sshd_config": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "AllowUsers pi\n"
        "AuthenticationMethods publickey\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "UsePAM no\n"
        "UseDNS no\n"
        "SetEnv LANG=C.UTF-8\n"
        "Subsystem sftp /usr/lib/openssh/sftp-server\n"
    ),
    # the clock comes from the board's RTC and the random seed from its device tree: the kernel reads both by itself
    "etc/edgekit/rc": (
        "#!/bin/sh\n"
        "mkdir -p /dev/pts /dev/shm\n"
        "mount -t devpts -o gid=5,mode=620 devpts /dev/pts\n"
        "mount -t tmpfs -o mode=1777 tmpfs /dev/shm\n"
        "mount -t tmpfs -o mode=755 tmpfs /run\n"
        "mount -t tmpfs -o mode=1777 tmpfs /tmp\n"
        "mkdir -p /run/sshd /run/lock\n"
        "for word in $(cat /proc/cmdline); do\n"
        '  case $word in edgekit.target=*) hostname "${word#edgekit.target=}" ;; esac\n'
        "done\n"
        "chmod 600 /etc/ssh/ssh_host_ed25519_key\n"
        "chown -R pi:pi /home/pi/.ssh && chown pi:pi /home/pi\n"
        "echo 'edgekit: starting sshd'\n"
    ),
}
ACCOUNTS = {
    "passwd": "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\npi:x:1000:1000:pi:/home/pi:/bin/bash\n",
    "group": "sshd:x:100:\npi:x:1000:\n",
}
FIXED_DATE = 1_700_000_000
LINKS = {"sbin/init": "/bin/busybox", "usr/bin/awk": "busybox", "usr/bin/which": "busybox"}


def create(
    root: Path, *, arch: str, suite: str, kernel: str, keep_open: Sequence[int] = (), report: Report = quiet
) -> None:
    """Unpack the packages and ``kernel`` of Debian's ``suite`` for ``arch`` into the new folder ``root``."""
    command = ["mmdebstrap", "--mode=chrootless", "--variant=extract", "--skip=check/qemu", "--arch=" + arch]
    command += ["--format=directory", "--setup-hook=" + MERGED_USR]
    command += ["--include=" + ",".join([*PACKAGES, kernel]), suite, str(root), *apt.mirrors(suite)]
    tools.run(command, keep_open=keep_open, report=report)


def configure(root: Path) -> None:
    """Write accounts, SSH server and start-up; remove what names the host or takes space in vain."""
    for name in HOST_TRACES:
        (root / name).unlink(missing_ok=True)
    for name in UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(0o644)
    (root / "etc/edgekit/rc").chmod(0o755)
    for name, to in LINKS.items():
        link = root / name
        link.unlink(missing_ok=True)
        link.symlink_to(to)
    write_accounts(root)
    (root / "home/pi/.ssh").mkdir(parents=True, mode=0o700)


def write_accounts(root: Path) -> None:
    """passwd, group and shadow from base-passwd's masters, with the SSH server's user and ``pi``; no password works."""
    etc, masters = root / "etc", root / "usr/share/base-passwd"
    for name, added in ACCOUNTS.items():
        (etc / name).write_text((masters / (name + ".master")).read_text().replace(":*:", ":x:") + added)
    users = [line.split(":")[0] for line in (etc / "passwd").read_text().splitlines()]
    # an asterisk is no password, yet not a locked account, which sshd would refuse
    (etc / "shadow").write_text("".join(f"{user}:*:19700:0:99999:7:::\n" for user in users))
    (etc / "shadow").chmod(0o600)


def python_of(root: Path) -> str:
    """The version of the board's Python, such as ``3.11``."""
    found = sorted(one.name for one in (root / "usr/lib").glob("python3.*"))
    if len(found) != 1:
        raise BuildError("the board must have one Python", given=found, where=str(root))
    return found[0].removeprefix("python")


def compile_python(root: Path, arch: str, keep_open: Sequence[int] = (), report: Report = quiet) -> None:
    """Write the byte code of Python's library, which saves the board seconds at every start.

    Byte code is the same on all architectures but belongs to one version: where the host's Python is another one, the
    board's does it, under QEMU's user mode.
    """
    version = python_of(root)
    arguments = ["-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    arguments += [
        "-s",
        str(root),
        "-p",
        "/",
        "-x",
        r"/(test|idlelib|lib2to3)/",
        str(root / f"usr/lib/python{version}"),
    ]
    if version == ".".join(map(str, sys.version_info[:2])):
        interpreter = [sys.executable, "-I"]
    else:
        tools.require([QEMU_USER[arch]])
        interpreter = [QEMU_USER[arch], "-L", str(root), str(root / f"usr/bin/python{version}"), "-I"]
    tools.run([*interpreter, *arguments], env={"PYTHONHASHSEED": "0"}, keep_open=keep_open, report=report)


def settle_times(root: Path, since: float) -> None:
    """Give what was written after ``since`` (seconds since the epoch) one fixed date, so that equal trees are equal."""
    for folder, folders, files in os.walk(root, topdown=False):
        for path in (os.path.join(folder, name) for name in (*folders, *files)):
            if os.lstat(path).st_mtime >= since:
                os.utime(path, (FIXED_DATE, FIXED_DATE), follow_symlinks=False)
    os.utime(root, (FIXED_DATE, FIXED_DATE))
