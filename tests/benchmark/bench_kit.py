"""Results as a benchmark of MiniLM on an emulated Raspberry Pi 4 gives them, made by hand."""

from __future__ import annotations

import random

from edgekit.spec.result import Job, Measured, Result, Run, Solution
from edgekit.spec.target import Facts

TEXTS = 64
MB = 1_000_000

FACTS = Facts(
    arch="arm64",
    kernel_arch="aarch64",
    features=("fp", "asimd", "crc32"),
    cores=1,
    cpu_part="0xd08",
    model="linux,dummy-virt",
    python="3.11",
    glibc="2.36",
    ram_total=1024 * 2**20,
    ram_available=800 * 2**20,
    disk_total=4 * 10**9,
    disk_free=3 * 10**9,
    clock=1.79e9,
    root="/home/pi/.local/share/edgekit",
    os="Debian 12",
    counted_clock=True,
)
OPTIMIZED = Solution("optimized", "minilm-int8", "tflite", "w8_a8_static", 6_120_000, 5_600_000, 80.9, 2000)
BASELINE = Solution("baseline", "minilm-float", "tflite", "w32_a32_float", 91_140_000, 22_700_000, 81.45, 2000)
PADDED = Solution("padded-128", "minilm-float", "tflite", "w32_a32_float", 91_140_000, 22_700_000, 81.45, 2000)


def measured(
    typical: float, peak_mb: float, *, texts: int = TEXTS, seed: int = 1, right: int = 52, padded: int = 16
) -> Measured:
    rng = random.Random(seed)
    times = tuple(round(typical * (1 + 0.1 * rng.random() + (0.9 if n % 9 == 8 else 0)), 4) for n in range(texts))
    bare = 9 * MB
    return Measured(
        import_ms=1840.0,
        init_ms=20 + typical,
        first_ms=typical * 1.4,
        end_to_end=times,
        model_only=tuple(round(one * 0.97, 4) for one in times),
        labels=tuple(0 if n < right else 1 for n in range(texts)),
        bare_rss=bare,
        bare_pss=7 * MB,
        vm_hwm=bare + round(peak_mb * MB),
        pss=7 * MB + round(0.8 * peak_mb * MB),
        padded_tokens=texts * padded,
        real_tokens=texts * 11,
    )


def job(solution: Solution, texts: int = TEXTS) -> Job:
    pad_to = int(solution.name.removeprefix("padded-")) if solution.name.startswith("padded-") else None
    return Job(solution.name, solution.artifact, pad_to, texts)


def result(
    runs: tuple[Run, ...] | None = None,
    *,
    solutions: tuple[Solution, ...] = (BASELINE, OPTIMIZED, PADDED),
    created: str = "2026-11-22T20:15:00Z",
    **changed: object,
) -> Result:
    if runs is None:
        runs = (
            Run(job(BASELINE), measured(122.0, 141.0, seed=1)),
            Run(job(OPTIMIZED), measured(19.6, 48.0, seed=2, right=51)),
            Run(job(PADDED), measured(1040.0, 162.0, seed=3, padded=128)),
        )
    values: dict[str, object] = {
        "bundle": "3f9a" * 16,
        "name": "minilm-sections",
        "target": "rpi4",
        "device": "rpi4-emulated",
        "emulated": True,
        "clock": "counted",
        "created": created,
        "facts": FACTS,
        "solutions": solutions,
        "runs": runs,
        "truth": (0,) * TEXTS,
        "host_labels": tuple(0 if n < 51 else 1 for n in range(TEXTS)),
        "versions": {"torch": "2.13.0", "litert-torch": "0.10.0"},
    }
    return Result(**{**values, **changed})  # type: ignore[arg-type]
