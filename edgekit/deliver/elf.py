"""What a shared object needs of the system it is loaded on, read from the ELF tables the loader itself reads.

Source of the layout: System V ABI (ELF header, program headers, dynamic section) and the LSB's symbol versioning
(``DT_VERNEED``). Little-endian only: every board of ours is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MACHINES = {183: "arm64", 40: "armhf", 62: "amd64", 3: "i386", 243: "riscv64"}
_PT_LOAD, _PT_DYNAMIC = 1, 2
#: No object is linked with so many; a damaged count must not keep us busy.
_LIBRARIES = 1024
_DT_NULL, _DT_STRTAB, _DT_SONAME, _DT_VERNEED, _DT_VERNEEDNUM = 0, 5, 14, 0x6FFFFFFE, 0x6FFFFFFF
#: In the flags of a 32-bit ARM object: floats are passed in general registers, as no armhf system does.
_ARM_SOFT_FLOAT = 0x200


@dataclass(frozen=True)
class Needs:
    """``arch`` by Debian's name (or ``machine <n>``), which for 32-bit ARM tells how floats are passed; ``versions``
    are symbol versions such as ``GLIBC_2.28``, ``name`` is what others that are linked against it ask for."""

    arch: str
    versions: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def is_elf(data: bytes) -> bool:
    return data[:4] == b"\x7fELF"


def needs(data: bytes) -> Needs:
    """Read an ELF image. Raises ValueError where it is damaged."""
    if not is_elf(data) or len(data) < 52 or data[4] not in (1, 2) or data[5] != 1:
        raise ValueError("not a little-endian ELF file")
    wide = data[4] == 2
    try:
        machine = struct.unpack_from("<H", data, 18)[0]
        segments = _segments(data, wide)
        versions = tuple(sorted(set(_versions(data, wide, segments))))
        name = _name(data, _dynamic(data, wide, segments), segments)
        soft = not wide and struct.unpack_from("<I", data, 36)[0] & _ARM_SOFT_FLOAT
    except (struct.error, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error
    arch = MACHINES.get(machine, f"machine {machine}")
    return Needs("armel" if arch == "armhf" and soft else arch, versions, name)


def _segments(data: bytes, wide: bool) -> list[_Segment]:
    start = struct.unpack_from("<Q" if wide else "<I", data, 32 if wide else 28)[0]
    size, count = struct.unpack_from("<HH", data, 54 if wide else 42)
    found = []
    for at in range(start, start + size * count, size or 1):
        if wide:
            kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, at)
        else:
            kind, offset, address, _, length = struct.unpack_from("<IIIII", data, at)
        found.append(_Segment(kind, offset, address, length))
    return found


def _versions(data: bytes, wide: bool, segments: list[_Segment]) -> Iterator[str]:
    tags = _dynamic(data, wide, segments)
    if _DT_VERNEED not in tags:
        return
    strings = _file_offset(tags.get(_DT_STRTAB, 0), segments)
    need = _file_offset(tags[_DT_VERNEED], segments)
    for _ in range(min(tags.get(_DT_VERNEEDNUM, 0), _LIBRARIES)):
        _, count, _, first, following = struct.unpack_from("<HHIII", data, need)
        entry = need + first
        for _ in range(count):
            _, _, _, name, step = struct.unpack_from("<IHHII", data, entry)
            yield _text(data, strings + name)
            if not step:
                break
            entry += step
        if not following:
            break
        need += following


def _name(data: bytes, tags: dict[int, int], segments: list[_Segment]) -> str:
    if _DT_SONAME not in tags:
        return ""
    return _text(data, _file_offset(tags.get(_DT_STRTAB, 0), segments) + tags[_DT_SONAME])


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii")


def _dynamic(data: bytes, wide: bool, segments: list[_Segment]) -> dict[int, int]:
    tags: dict[int, int] = {}
    form, step = ("<QQ", 16) if wide else ("<II", 8)
    for one in segments:
        if one.kind != _PT_DYNAMIC:
            continue
        for at in range(one.offset, one.offset + one.size, step):
            tag, value = struct.unpack_from(form, data, at)
            if tag == _DT_NULL:
                break
            tags[tag] = value
    return tags


def _file_offset(address: int, segments: list[_Segment]) -> int:
    for one in segments:
        if one.kind == _PT_LOAD and one.address <= address < one.address + one.size:
            return address - one.address + one.offset
    raise ValueError(f"damaged ELF file: address {address:#x} is in no segment")
