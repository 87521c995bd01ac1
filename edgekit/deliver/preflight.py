"""Can this device take this bundle? All findings at once, before anything of the bundle is sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.errors import PreflightError
from edgekit.spec.manifest import Manifest
from edgekit.spec.target import Facts, Target

#: Runtimes that run a format, best first.
RUNTIMES = {"tflite": ("litert", "tflite"), "ptl": ("torchscript",), "onnx": ("onnxruntime",), "pte": ("executorch",)}
#: A float interpreter with numpy and a runtime stays below this, apart from the model.
RUNTIME_RAM = 128 << 20
#: An interpreter that has imported nothing stays below this.
BARE_RAM = 16 << 20
#: What a small Linux takes for itself.
SYSTEM_MB = 128
DAY_S = 86400.0


def runtime_for(target: Target, format: str) -> str:
    """The runtime that runs ``format`` on the target. Raises PreflightError with the target's own reasons."""
    names = RUNTIMES.get(format, ())
    usable = [name for name in names if not unfit(target, name)]
    if usable:
        return usable[0]
    reasons = [f"{name}: {unfit(target, name)}" for name in names if name in target.runtimes]
    raise PreflightError(
        f"target {target.name} runs no {format} artifact",
        given=format,
        allowed=[one for one, runtimes in RUNTIMES.items() if set(runtimes) & _usable(target)] or "none",
        remedy="; ".join(reasons) or f"runtimes of this target: {', '.join(sorted(_usable(target))) or 'none'}",
    )


def unfit(target: Target, runtime: str) -> str:
    """Why a runtime cannot run on a target at all; empty where it can."""
    support = target.runtimes.get(runtime)
    if support is None:
        return "not known to this target"
    if support.refused:
        return support.refused
    lacking = sorted(set(support.needs) - set(target.cpu.features))
    if lacking:
        return f"its code uses {', '.join(lacking)}, which {target.cpu.name} lacks: it would die of SIGILL"
    if support.ram_mb + SYSTEM_MB > target.ram_mb:
        return f"it takes {support.ram_mb} MB beside the model, and the board has {target.ram_mb} MB in all"
    return ""


def check(
    facts: Facts, target: Target, manifest: Manifest, *, need: int, host_time: float, where: str | None = None
) -> tuple[str, ...]:
    """Raise PreflightError with every reason against it; return what is odd but no reason.

    ``need`` is what the deploy will take on the disk, in bytes: twice that must be free, for the old release and for
    what stands half-made beside it. ``host_time`` is in seconds since the epoch.
    """
    runtime = runtime_for(target, manifest.optimized.format)
    support = target.runtimes[runtime]
    findings = [
        *_built_for(manifest, target, runtime),
        *_system(facts, target, support.needs),
        *_room(facts, manifest, need, support.ram_mb << 20),
    ]
    _refuse(findings, "cannot take this bundle", where)
    return tuple(_oddities(facts, host_time))


def memory(model: int, runtime: int = 0, estimated: int | None = None) -> int:
    """Bytes that a model of so many takes together with its runtime: as ``estimated`` above the bare interpreter, or
    else its file is read, and packed once more."""
    return 2 * model + max(RUNTIME_RAM, runtime) if estimated is None else BARE_RAM + estimated


def too_large(target: Target, estimated: int | None) -> str:
    """Why a model with this estimate cannot run on any board of the target; empty where it can, or nobody knows."""
    if estimated is None or BARE_RAM + estimated + (SYSTEM_MB << 20) <= target.ram_mb << 20:
        return ""
    return (
        f"it would take {_mb(BARE_RAM + estimated)} MB of memory, and the board has {target.ram_mb} MB in all, of which"
        f" the system takes {SYSTEM_MB}: fewer length buckets, or weights of fewer bits"
    )


def fits(facts: Facts, target: Target, *, where: str | None = None) -> None:
    """Raise PreflightError with every reason why the board cannot run what is made for ``target``."""
    _refuse([*_system(facts, target)], "is no board of this target", where)


def _refuse(findings: list[str], what: str, where: str | None) -> None:
    if findings:
        count = "1 reason" if len(findings) == 1 else f"{len(findings)} reasons"
        raise PreflightError(
            "\n".join([f"the device {what} ({count}):", *(f"  - {one}" for one in findings)]),
            where=where,
            remedy="'edgekit device probe' shows which target fits this device",
        )


def _built_for(manifest: Manifest, target: Target, runtime: str) -> Iterator[str]:
    readers = manifest.optimized.runtimes
    if readers and runtime not in readers:
        yield (
            f"the model's operators are read by {', '.join(readers)}, this device has {runtime}: "
            f"build the bundle with --target {target.name}"
        )
    if manifest.target is not None and manifest.target != target.name:
        yield (
            f"the bundle was built for target {manifest.target}, this device is a {target.name}: "
            f"build it with --target {target.name}"
        )


def _system(facts: Facts, target: Target, needs: Sequence[str] = ()) -> Iterator[str]:
    if facts.arch != target.cpu.arch:
        if facts.arch == "armhf" and facts.kernel_arch == "aarch64":
            yield (
                f"a 64-bit kernel ({facts.kernel_arch}) runs over a 32-bit userland ({facts.arch}), and programs for "
                f"{target.cpu.arch} cannot be loaded: install the 64-bit system, or use target generic-armv7"
            )
        else:
            yield f"its userland is {facts.arch}, target {target.name} is {target.cpu.arch}"
    else:
        lacking = sorted({*target.cpu.features, *needs} - set(facts.features))
        if lacking:
            yield (
                f"its CPU ({facts.cpu_part or 'unknown'}) lacks {', '.join(lacking)}, which target {target.name} "
                "promises: code built for it would die of SIGILL"
            )
    if _two(facts.python) != _two(target.os.python):
        yield f"its Python is {facts.python}, the wheels of target {target.name} are for exactly {target.os.python}"
    if _numbers(facts.glibc) < _numbers(target.os.glibc):
        yield f"its C library is glibc {facts.glibc}, target {target.name} expects {target.os.glibc} or newer"


def _room(facts: Facts, manifest: Manifest, need: int, runtime: int) -> Iterator[str]:
    if 2 * need > facts.disk_free:
        yield (
            f"{_mb(facts.disk_free)} MB are free below {facts.root}, {_mb(2 * need)} MB are needed (twice the size): "
            "'edgekit prune-releases', or remove files"
        )
    ram = memory(manifest.optimized.blob.size, runtime, manifest.optimized.memory)
    if ram > facts.ram_available:
        yield (
            f"{_mb(facts.ram_available)} MB of memory are available, {_mb(ram)} MB are needed "
            f"for a model of {_mb(manifest.optimized.blob.size)} MB and its runtime: end other programs there"
        )


def _oddities(facts: Facts, host_time: float) -> Iterator[str]:
    skew = facts.clock - host_time
    if abs(skew) > DAY_S:
        yield (
            f"the device's clock is {abs(skew) / DAY_S:.0f} days {'ahead of' if skew > 0 else 'behind'} this host's; "
            "times in its logs are off: set it (timedatectl)"
        )


def _usable(target: Target) -> set[str]:
    return {name for name in target.runtimes if not unfit(target, name)}


def _two(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in version.split(".") if one.isdigit())


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f}"
