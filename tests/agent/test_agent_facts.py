"""Facts and sensors read from recorded trees: a Pi 4, a Pi 5's power chip, and a board that has nothing."""

from __future__ import annotations

import platform
import struct
import sys
from pathlib import Path

import pytest

from edgekit.agent import facts, sensors

PI4_CPUINFO = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm crc32 cpuid
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x0
CPU part	: 0xd08
CPU revision	: 3

processor	: 1
Features	: fp asimd
CPU part	: 0xd99
"""
PI5_ADC = """\
   VDD_CORE_A current(7)=2.50000000A
   EXT5V_V volt(24)=5.10000000V
   VDD_CORE_V volt(15)=0.80000000V
   3V3_SYS_A current(1)=0.10000000A
   3V3_SYS_V volt(9)=3.30000000V
"""


def lay(board: Path, tree: dict[str, str]) -> Path:
    for name, text in tree.items():
        path = board / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return board


def test_a_pi_4(tmp_path: Path) -> None:
    board = lay(
        tmp_path / "board",
        {
            "proc/cpuinfo": PI4_CPUINFO,
            "proc/meminfo": "MemTotal:        3884420 kB\nMemAvailable:    3000000 kB\nHugePages_Total:       0\n",
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/cmdline": "console=tty1 edgekit.clock=counted quiet\n",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            "sys/class/thermal/thermal_zone0/temp": "48200\n",
            "sys/class/thermal/thermal_zone1/temp": "51000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "600000\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        },
    )
    found = facts.read(tmp_path, board)
    assert found.features == ("asimd", "cpuid", "crc32", "evtstrm", "fp")
    assert found.cpu_part == "0xd08"
    assert found.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert (found.ram_total, found.ram_available) == (3884420 * 1024, 3000000 * 1024)
    assert found.os == "Debian GNU/Linux 12 (bookworm)"
    assert found.counted_clock
    assert found.root == str(tmp_path)
    assert 0 < found.disk_free <= found.disk_total
    assert found.sensors == {"thermal_c": 51.0, "cpu_mhz": 600.0, "throttle_bits": float(0x50005)}
    assert sensors.live_throttle(found.sensors) == ("under-voltage", "throttled")


def test_a_board_without_anything(tmp_path: Path) -> None:
    found = facts.read(tmp_path, tmp_path / "nothing")
    assert found.model == "unknown"
    assert found.sensors == {}
    assert found.features == ()
    assert not found.counted_clock
    assert sensors.swapped_in(tmp_path) == 0


def test_this_machine(tmp_path: Path) -> None:
    found = facts.read(tmp_path)
    assert found.python == "{}.{}".format(*sys.version_info[:2])
    assert found.kernel_arch == platform.machine()
    assert found.ram_total > found.ram_available > 0
    libc, version = platform.libc_ver()
    assert found.glibc == (version if libc == "glibc" else "")


def test_the_firmwares_tool_stands_in_and_gives_power(tmp_path: Path) -> None:
    tool = tmp_path / "usr/bin/vcgencmd"
    script = f"#!/bin/sh\ncase $1 in get_throttled) echo throttled=0x4;; pmic_read_adc) cat <<X\n{PI5_ADC}X\n;; esac\n"
    lay(tmp_path, {"usr/bin/vcgencmd": script})
    tool.chmod(0o755)
    found = sensors.read(tmp_path)
    # rails with a current and a voltage: 2.5 A x 0.8 V + 0.1 A x 3.3 V
    assert found["pmic_w"] == pytest.approx(2.33)
    assert sensors.live_throttle(found) == ("throttled",)


def test_a_tool_that_may_not_ask_is_no_sensor(tmp_path: Path) -> None:
    lay(tmp_path, {"usr/bin/vcgencmd": "#!/bin/sh\necho VCHI initialization failed\nexit 255\n"})
    (tmp_path / "usr/bin/vcgencmd").chmod(0o755)
    assert sensors.read(tmp_path) == {}


@pytest.mark.parametrize(
    ("bits", "machine", "flags", "name"),
    [
        (2, 183, 0, "arm64"),
        (1, 40, 0x05000400, "armhf"),
        (1, 40, 0x05000200, "armel"),
        (2, 62, 0, "amd64"),
        (1, 3, 0, "i386"),
        (2, 258, 0, "64-258"),
    ],
)
def test_the_userlands_architecture_is_the_elf_headers(
    tmp_path: Path, bits: int, machine: int, flags: int, name: str
) -> None:
    head = bytearray(64)
    head[:6] = b"\x7fELF" + bytes([bits, 1])
    struct.pack_into("<H", head, 18, machine)
    struct.pack_into("<I", head, 36, flags)
    (tmp_path / "program").write_bytes(head)
    assert facts.elf_architecture(tmp_path / "program") == name


def test_a_script_has_no_architecture(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n" * 20)
    assert facts.elf_architecture(tmp_path / "script") == "unknown"
