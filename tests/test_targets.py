"""Every file in targets/ is a target that the rest of edgekit can work with."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from packaging.requirements import Requirement

from edgekit import load
from edgekit.spec import codec
from edgekit.spec.target import Target

#: What Linux 6.1 prints in /proc/cpuinfo under QEMU 7.2, by ``-cpu``.
_V8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
EMULATED = {
    "cortex-a53": _V8,
    "cortex-a72": _V8,
    "cortex-a76": f"{_V8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
    "cortex-a7": "half thumb fastmult vfp edsp thumbee neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
}
FILES = sorted(load.files.packaged("targets").glob("*.yaml"))


def test_the_boards_that_are_promised() -> None:
    assert {one.name for one in load.targets()} >= {
        "rpi4",
        "rpi5",
        "rpi3",
        "rpi-zero2w",
        "generic-aarch64",
        "generic-armv7",
        "rpi2",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_target(file: Path) -> None:
    target = load.target(file)
    assert target.name == file.stem
    assert load.target(file.stem) == target
    assert codec.loads(Target, codec.dumps(target)) == target
    assert not list(Draft202012Validator(load.schema(Target)).iter_errors(yaml.safe_load(file.read_text())))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_stands_in_it_can_be_used(file: Path) -> None:
    target = load.target(file)
    assert set(target.runtimes) >= {"litert", "torchscript"}
    for support in target.runtimes.values():
        for package in support.packages:
            assert re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", package), "wheels are pinned exactly"
        for package in support.debian:
            assert re.fullmatch(r"[a-z0-9.+-]+=[0-9][A-Za-z0-9.+~:-]*", package), "so are Debian's"
        names = [Requirement(one).name for one in support.packages]
        names += [one.partition("=")[0].removeprefix("python3-") for one in support.debian]
        assert len(names) == len(set(names))
        assert not names or {"numpy", "tokenizers"} <= set(names), "every runtime needs the tokenizer and arrays"
    assert set(target.sensors) <= {"thermal", "throttle", "pmic"}
    assert target.emulation is not None, "every target so far can be emulated"
    assert target.emulation.differs
    assert target.roofline is None or target.roofline.source
    assert target.os.glibc.count(".") == 1
    assert target.os.python.count(".") == 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_emulated_board_has_what_the_target_promises(file: Path) -> None:
    target = load.target(file)
    assert target.emulation
    assert set(target.cpu.features) <= set(EMULATED[target.emulation.cpu].split())
    assert target.emulation.ram_mb >= target.ram_mb
    if target.cpu.arch == "arm64" and not target.name.startswith("generic"):
        more = set(EMULATED[target.emulation.cpu].split()) - set(target.cpu.features)
        told = " ".join(target.emulation.differs)
        assert all(re.search(rf"\b{one}\b", told) for one in more), "flags that only the emulated board has are named"


def test_armv8_0_lacks_what_only_newer_cores_have() -> None:
    pi4, pi5 = load.target("rpi4"), load.target("rpi5")
    newer = {"asimddp", "asimdhp", "fphp", "atomics"}
    assert not newer & set(pi4.cpu.features)
    assert newer <= set(pi5.cpu.features)
    assert not {"aes", "sha1", "sha2", "pmull"} & set(pi4.cpu.features), "a real Pi 4 has no crypto extension"


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("Raspberry Pi 4 Model B Rev 1.5", ["rpi4"]),
        ("Raspberry Pi 400 Rev 1.0", ["rpi4"]),
        ("Raspberry Pi Compute Module 4 Rev 1.1", ["rpi4"]),
        ("Raspberry Pi 5 Model B Rev 1.0", ["rpi5"]),
        ("Raspberry Pi 500 Rev 1.0", ["rpi5"]),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", ["rpi3"]),
        ("Raspberry Pi Zero 2 W Rev 1.0", ["rpi-zero2w"]),
        ("Raspberry Pi 2 Model B Rev 1.1", ["rpi2"]),
        ("Raspberry Pi Zero W Rev 1.1", []),
        ("linux,dummy-virt", []),
    ],
)
def test_a_board_is_told_by_its_model(model: str, names: list[str]) -> None:
    found = [one.name for one in load.targets() if any(fnmatch(model, pattern) for pattern in one.models)]
    assert found == names


@pytest.mark.parametrize(
    ("name", "instruction"), [("rpi4", "SMULL"), ("rpi5", "SDOT"), ("rpi2", "VMULL"), ("generic-aarch64", "SMULL")]
)
def test_a_target_tells_the_kernels_to_expect_for_int8(name: str, instruction: str) -> None:
    assert load.target(name).cpu.int8.startswith(instruction)
