"""Facts, targets and bundles for the tests of planning and applying."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgekit.bundle import build
from edgekit.spec.manifest import Artifact, Blob, Manifest, Signature, Tensor
from edgekit.spec.target import Cpu, Facts, Os, RuntimeSupport, Target

RPI4 = Target(
    name="rpi4",
    title="Raspberry Pi 4",
    cpu=Cpu("Cortex-A72", "arm64", "armv8.0-a", 4, 1500, ("fp", "asimd", "crc32")),
    ram_mb=1024,
    os=Os("Debian 12", "3.11", "2.36"),
    runtimes={
        "litert": RuntimeSupport(("ai-edge-litert==2.3.0", "numpy==2.4.6")),
        "tflite": RuntimeSupport(refused="it cannot read the INT8 operators"),
        "torchscript": RuntimeSupport(refused="its wheel is too large"),
    },
    models=("Raspberry Pi 4 Model B*",),
)
RPI5 = Target(
    name="rpi5",
    title="Raspberry Pi 5",
    cpu=Cpu("Cortex-A76", "arm64", "armv8.2-a", 4, 2400, ("fp", "asimd", "crc32", "asimddp", "fphp")),
    ram_mb=4096,
    os=Os("Debian 12", "3.11", "2.36"),
    runtimes=RPI4.runtimes,
    models=("Raspberry Pi 5*",),
)
FACTS = Facts(
    arch="arm64",
    kernel_arch="aarch64",
    features=("fp", "asimd", "crc32", "cpuid"),
    cores=4,
    cpu_part="0xd08",
    model="Raspberry Pi 4 Model B Rev 1.5",
    python="3.11.2",
    glibc="2.36",
    ram_total=1000 << 20,
    ram_available=800 << 20,
    disk_total=8 << 30,
    disk_free=4 << 30,
    clock=1_800_000_000.0,
    root="/home/pi/.local/share/edgekit",
    os="Debian GNU/Linux 12",
)


def blob_of(data: bytes) -> Blob:
    return Blob(hashlib.sha256(data).hexdigest(), len(data))


def manifest_of(model: bytes, *, golden: bytes = b'{"text": "a", "label": 0}\n', name: str = "tiny") -> Manifest:
    """A manifest whose artifact is ``model``, whatever that is."""
    lengths = (Tensor("input_ids", (1, 16), "int32"), Tensor("attention_mask", (1, 16), "int32"))
    signature = Signature("len16", 16, lengths, (Tensor("logits", (1, 2), "float32"),))
    artifact = Artifact(
        name=f"{name}-w8_a8_static",
        role="optimized",
        format="tflite",
        scheme="w8_a8_static",
        blob=blob_of(model),
        tokenizer=blob_of(b"{}"),
        signatures=(signature,),
    )
    return Manifest(
        name=name,
        task="classify",
        recipe_digest="0" * 64,
        data_digest="1" * 64,
        seed=1,
        labels=("bad", "good"),
        artifacts=(artifact,),
        golden=blob_of(golden),
        samples=blob_of(b"samples"),
        target="rpi4",
    )


def bundle_of(folder: Path, model: bytes, golden: bytes = b'{"text": "a", "label": 0}\n') -> tuple[Manifest, Blob]:
    """Write a bundle at ``folder``; its manifest, and manifest.json as a blob."""
    manifest = manifest_of(model, golden=golden)
    store = folder.with_name(folder.name + ".files")
    store.mkdir(parents=True)
    files = {}
    for data in (model, b"{}", golden, b"samples"):
        file = store / blob_of(data).sha256
        file.write_bytes(data)
        files[file.name] = file
    digest = build.write(folder, manifest, files)
    return manifest, Blob(digest, (folder / "manifest.json").stat().st_size)
