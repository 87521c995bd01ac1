"""A real board under QEMU: boot, both clocks, two at once, power cut, network cut."""

import stat

import pytest

from edgekit import load
from edgekit.emulate import image, machine, ready
from edgekit.errors import DeviceError, HostKeyError, UsageError

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

BOARD = load.target("rpi4")
FLUSHED = """python3 -c "
import os
with open('kept', 'w') as file:
    file.write('x' * 99999); file.flush(); os.fsync(file.fileno())
os.fsync(os.open('.', 0))" """
TIMED = """python3 -c "
import time
def work():
    s = 0
    for i in range(50000): s = (s * 31 + i) % 1000003
times = []
for _ in range(5):
    start = time.perf_counter(); work(); times.append(time.perf_counter() - start)
print(sorted(times)[2])" """


@pytest.fixture(scope="module")
def board_image(board_cache):
    return image.build(BOARD, board_cache)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = [tmp_path_factory.mktemp("device") for _ in range(2)]
    yield found
    for one in found:
        machine.down(one)


def run(board, command):
    link = ready.knock(board.port, 60)
    assert link is not None
    with ready.connect(link, user=board.user, host_key=board.host_key, key_file=board.key_file) as transport:
        return ready.run(transport, command).strip()


def test_board_is_what_the_target_says(board_image, folders):
    board = machine.up(BOARD, board_image, folders[0], clock="wall")
    assert machine.up(BOARD, board_image, folders[0], clock="wall") == board
    assert machine.state(folders[0]).status == "running"
    answer = run(
        board, "uname -m; nproc; hostname; python3 -c 'import sys; print(sys.version_info[:2])'; id -un"
    ).split("\n")
    assert answer == ["aarch64", str(BOARD.cpu.cores), "rpi4", "(3, 11)", "pi"]
    assert stat.S_IMODE(board.key_file.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="another clock"):
        machine.up(BOARD, board_image, folders[0], clock="counted")


def test_another_host_key_is_refused(folders):
    board = machine.running(folders[0])
    link = ready.knock(board.port, 60)
    with pytest.raises(HostKeyError):
        ready.connect(link, user=board.user, host_key="ssh-ed25519 AAAA", key_file=board.key_file)


def test_two_boards_at_once_and_each_with_its_own_key(board_image, folders):
    first = machine.running(folders[0])
    second = machine.up(BOARD, board_image, folders[1], clock="wall")
    assert first.port != second.port
    assert first.host_key != second.host_key
    assert run(first, "echo one") == "one"
    assert run(second, "echo two") == "two"


def test_cable_out_and_in_again(folders):
    board = machine.running(folders[1])
    machine.link(folders[1], False)
    assert ready.knock(board.port, 5) is None
    machine.link(folders[1], True)
    assert run(board, "echo back") == "back"
    machine.down(folders[1])
    assert machine.state(folders[1]).status == "stopped"


def test_what_was_flushed_survives_a_power_cut(board_image, folders):
    before = machine.running(folders[0])
    run(before, FLUSHED)
    machine.cut_power(folders[0])
    assert machine.state(folders[0]).status == "stopped"
    after = machine.up(BOARD, board_image, folders[0], clock="wall")
    assert (after.port, after.host_key) == (before.port, before.host_key)
    assert run(after, "tr -d x < kept | wc -c; wc -c < kept").split() == ["0", "99999"]
    machine.down(folders[0])
    machine.down(folders[0])


def test_counted_clock_repeats_over_boots(board_image, folders):
    times = []
    for _ in range(2):
        board = machine.up(BOARD, board_image, folders[0], clock="counted")
        assert "edgekit.clock=counted" in run(board, "cat /proc/cmdline").split()
        times.append(float(run(board, TIMED)))
        machine.down(folders[0])
    assert times[0] == pytest.approx(times[1], rel=0.01)


def test_a_board_that_does_not_come_up_is_killed_and_its_console_shown(board_image, tmp_path):
    broken = image.Image(tmp_path / "image", "broken")
    broken.folder.mkdir()
    for file in (board_image.disk, board_image.kernel):
        (broken.folder / file.name).symlink_to(file)
    broken.initrd.write_bytes(b"")
    with pytest.raises(DeviceError) as caught:
        machine.up(BOARD, broken, tmp_path / "device", clock="wall")
    assert "panic" in str(caught.value.given)
    assert machine.state(tmp_path / "device").status == "stopped"
