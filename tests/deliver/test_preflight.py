"""What a device must have: every finding is said, all at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deliver_kit import FACTS, RPI4, RPI5, manifest_of

from edgekit.deliver import preflight
from edgekit.errors import PreflightError
from edgekit.spec.target import Facts, RuntimeSupport

MANIFEST = manifest_of(b"model")
NOW = FACTS.clock
NEED = 100 << 20


def check(facts: Facts = FACTS, **changed: object) -> tuple[str, ...]:
    parts = {"target": RPI4, "manifest": MANIFEST, "need": NEED, "host_time": NOW, **changed}
    return preflight.check(facts, parts.pop("target"), parts.pop("manifest"), **parts)  # type: ignore[arg-type]


def test_a_fit_device_passes_without_a_word() -> None:
    assert check() == ()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"arch": "armhf"}, ["64-bit kernel", "32-bit userland", "generic-armv7"]),
        ({"arch": "armhf", "kernel_arch": "armv7l"}, ["userland is armhf", "arm64"]),
        ({"arch": "amd64", "kernel_arch": "x86_64"}, ["userland is amd64"]),
        ({"features": ("fp",)}, ["asimd, crc32", "SIGILL"]),
        ({"python": "3.13.5"}, ["Python is 3.13.5", "exactly 3.11"]),
        ({"python": "3.1.1"}, ["Python is 3.1.1"]),
        ({"glibc": "2.31"}, ["glibc 2.31", "2.36"]),
        ({"glibc": "2.4"}, ["glibc 2.4"]),
        ({"disk_free": 2 * NEED - 1}, ["are free", "twice"]),
        ({"ram_available": 64 << 20}, ["of memory are available"]),
    ],
)
def test_each_lack_is_refused_and_named(changed: dict[str, object], words: list[str]) -> None:
    with pytest.raises(PreflightError) as caught:
        check(replace(FACTS, **changed))  # type: ignore[arg-type]
    assert "1 reason" in caught.value.message
    for word in words:
        assert word in caught.value.message
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("changed", [{"glibc": "2.41"}, {"python": "3.11"}, {"disk_free": 2 * NEED}])
def test_enough_is_enough(changed: dict[str, object]) -> None:
    assert check(replace(FACTS, **changed)) == ()  # type: ignore[arg-type]


def test_all_findings_come_at_once() -> None:
    with pytest.raises(PreflightError) as caught:
        check(replace(FACTS, python="3.9.2", glibc="2.31", disk_free=0, ram_available=0))
    assert "4 reasons" in caught.value.message
    assert caught.value.message.count("\n  - ") == 4


def test_nothing_to_send_needs_no_free_disk() -> None:
    assert check(replace(FACTS, disk_free=0), need=0) == ()


def test_what_the_file_is_estimated_to_take_must_be_free() -> None:
    (artifact,) = MANIFEST.artifacts
    large = replace(MANIFEST, artifacts=(replace(artifact, memory=700 << 20),))
    need = preflight.memory(artifact.blob.size, estimated=700 << 20)
    assert 700 << 20 < need < 720 << 20
    assert check(replace(FACTS, ram_available=need), manifest=large) == ()
    with pytest.raises(PreflightError, match=r"of memory are available, 751 MB are needed"):
        check(replace(FACTS, ram_available=need - 1), manifest=large)


def test_a_model_that_no_board_of_the_target_holds_is_told() -> None:
    assert preflight.too_large(RPI4, None) == ""
    assert preflight.too_large(RPI4, 800 << 20) == ""
    said = preflight.too_large(RPI4, 1000 << 20)
    assert "1024 MB in all" in said
    assert "fewer length buckets" in said


def test_a_bundle_for_another_target_is_refused() -> None:
    with pytest.raises(PreflightError, match="built for target rpi5"):
        check(manifest=replace(MANIFEST, target="rpi5"))
    assert check(manifest=replace(MANIFEST, target=None)) == ()


@pytest.mark.parametrize(("skew", "word"), [(3 * 86400, "3 days ahead of"), (-365 * 20 * 86400, "7300 days behind")])
def test_a_wrong_clock_is_only_odd(skew: float, word: str) -> None:
    (said,) = check(replace(FACTS, clock=NOW + skew))
    assert word in said


def test_the_runtime_is_chosen_by_format_and_target() -> None:
    assert preflight.runtime_for(RPI4, "tflite") == "litert"
    older = replace(RPI4, runtimes={"tflite": RuntimeSupport(("tflite-runtime==2.14.0",))})
    assert preflight.runtime_for(older, "tflite") == "tflite"


def test_a_refused_runtime_quotes_the_targets_reason() -> None:
    with pytest.raises(PreflightError, match="runs no ptl") as caught:
        preflight.runtime_for(RPI5, "ptl")
    assert "its wheel is too large" in str(caught.value)
    assert caught.value.allowed == ["tflite"]
