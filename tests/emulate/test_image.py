import multiprocessing
import time
from pathlib import Path

import pytest

from edgekit.emulate import image, rootfs, tools
from edgekit.errors import BuildError, UsageError
from edgekit.spec.target import Cpu, Emulation, Os, Target


def target(**emulation):
    return Target(
        name="board",
        title="A board",
        cpu=Cpu("cortex-a72", "arm64", "armv8-a", 4, 1500),
        ram_mb=1024,
        os=Os("bookworm", "3.11", "2.36"),
        runtimes={},
        emulation=Emulation(**{"machine": "virt", "cpu": "cortex-a72", **emulation}),
    )


@pytest.fixture
def steps(monkeypatch):
    """Stand-ins for the steps that need the network and minutes: a kernel, a busybox and a file system of one byte."""
    calls = []

    def create(root, **options):
        calls.append(options["suite"])
        modules = root / "usr/lib/modules/6.1"
        modules.mkdir(parents=True)
        builtin = ["virtio_mmio", "virtio_blk", "virtio_net", "crc32c_generic", "ext4"]
        (modules / "modules.builtin").write_text("\n".join(builtin))
        for name in ("boot/vmlinuz-6.1", "usr/bin/busybox"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")

    monkeypatch.setattr(tools, "require", lambda programs: None)
    monkeypatch.setattr(rootfs, "create", create)
    monkeypatch.setattr(rootfs, "configure", lambda root: None)
    monkeypatch.setattr(rootfs, "compile_python", lambda root, arch, lock: None)
    monkeypatch.setattr(image, "make_disk", lambda root, disk, size, lock: disk.write_bytes(b"disk"))
    return calls


def test_built_once_and_shared_by_boards_that_differ_in_cpu_only(steps, tmp_path):
    first = image.build(target(), tmp_path)
    again = image.build(target(cpu="cortex-a76", ram_mb=512), tmp_path)
    assert first == again
    assert steps == ["bookworm"]
    assert {one.name for one in first.folder.iterdir()} == {"disk.img", "initrd.img", "vmlinuz", "image.json"}


def test_other_inputs_make_another_image(steps, tmp_path):
    assert image.build(target(), tmp_path) != image.build(target(suite="trixie"), tmp_path)
    assert steps == ["bookworm", "trixie"]


@pytest.mark.parametrize("failure", [BuildError("no"), KeyboardInterrupt()])
def test_an_interrupted_build_leaves_nothing_that_looks_finished(steps, tmp_path, monkeypatch, failure):
    def fail(*args):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(image, "make_disk", fail)
        with pytest.raises(type(failure)):
            image.build(target(), tmp_path)
    assert [one.suffix for one in (tmp_path / "images").iterdir()] == [".lock"]
    assert image.build(target(), tmp_path).disk.read_bytes() == b"disk"


def test_what_a_killed_build_left_is_cleared_away(steps, tmp_path):
    built = image.build(target(), tmp_path)
    left_over = tmp_path / "images" / (built.digest + ".part-dead")
    built.folder.rename(left_over)
    image.build(target(), tmp_path)
    assert not left_over.exists()


def test_two_processes_build_once(steps, tmp_path, monkeypatch):
    real = rootfs.create

    def slow(root, **options):
        time.sleep(0.5)
        with (tmp_path / "builds").open("a") as log:
            log.write("x")
        real(root, **options)

    monkeypatch.setattr(rootfs, "create", slow)
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=image.build, args=(target(), tmp_path / "cache")) for _ in range(3)]
    for one in processes:
        one.start()
    for one in processes:
        one.join()
    assert [one.exitcode for one in processes] == [0, 0, 0]
    assert (tmp_path / "builds").read_text() == "x"


def test_a_target_without_emulation_is_refused(tmp_path):
    bare = Target(**{**target().__dict__, "emulation": None})
    with pytest.raises(UsageError, match="cannot be emulated"):
        image.build(bare, tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_programs_are_named_with_the_line_that_brings_them(tmp_path, monkeypatch):
    monkeypatch.setattr(tools, "SEARCH", str(tmp_path))
    with pytest.raises(UsageError) as caught:
        image.build(target(), tmp_path / "cache")
    assert caught.value.exit_code == 2
    assert "mmdebstrap" in str(caught.value.given)
    assert "sudo apt-get install" in caught.value.remedy
    assert {"mmdebstrap", "e2fsprogs"} <= set(caught.value.remedy.split())
    assert not (tmp_path / "cache").exists()


def test_a_failing_program_says_its_last_words(monkeypatch):
    with pytest.raises(BuildError) as caught:
        tools.run(["sh", "-c", "echo one; echo two >&2; exit 3"])
    assert "code 3" in caught.value.message
    assert "one\ntwo" in str(caught.value.given)


def test_an_interrupted_program_takes_its_children_along(tmp_path):
    pid_file = tmp_path / "pid"

    def interrupt(line, fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tools.run(["sh", "-c", f"sleep 600 & echo $! > {pid_file}; echo up; wait"], report=interrupt)
    stat = Path("/proc", pid_file.read_text().strip(), "stat")
    for _ in range(200):
        # whoever inherited it may take a moment to bury it
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the child lives on")
