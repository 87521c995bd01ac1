import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from edgekit.emulate import image, keys, machine, qemu, tools
from edgekit.errors import DeviceError, TransportError, UsageError
from edgekit.spec.target import Cpu, Emulation, Os, Target

BOARD = Target(
    name="board",
    title="A board",
    cpu=Cpu("cortex-a72", "arm64", "armv8-a", 4, 1500),
    ram_mb=4096,
    os=Os("bookworm", "3.11", "2.36"),
    runtimes={},
    emulation=Emulation(machine="virt,gic-version=2", cpu="cortex-a72", ram_mb=768),
)


def options(words):
    return {words[n]: words[n + 1] for n in range(1, len(words) - 1) if words[n].startswith("-")}


def test_wall_clock_runs_the_boards_cores_and_never_lies_about_flushes(tmp_path):
    words = qemu.command(BOARD, image.Image(tmp_path, "x"), port=2222, clock="wall")
    found = options(words)
    assert words[0] == "qemu-system-aarch64"
    assert (found["-cpu"], found["-smp"], found["-m"]) == ("cortex-a72", "4", "768")
    assert "cache=writeback" in found["-drive"]
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in found["-netdev"]
    assert "restrict=on" in found["-netdev"]
    assert "edgekit.target=board" in found["-append"].split()
    assert "edgekit.clock=wall" in found["-append"].split()
    assert "-icount" not in found


def test_counted_clock_takes_one_core_and_tells_the_guest(tmp_path):
    found = options(qemu.command(BOARD, image.Image(tmp_path, "x"), port=2222, clock="counted"))
    assert found["-icount"] == "shift=3,sleep=on"
    assert found["-smp"] == "1"
    assert {"edgekit.clock=counted", "norandmaps"} <= set(found["-append"].split())


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def test_a_recycled_process_number_is_never_taken_for_ours(sleeper):
    process = qemu.identify(sleeper.pid)
    assert qemu.alive(process)
    for stranger in (
        qemu.Process(process.pid, process.started - 1, process.boot),
        qemu.Process(process.pid, process.started, "x"),
    ):
        assert not qemu.alive(stranger)
        assert qemu.kill(stranger)
    assert sleeper.poll() is None


def test_kill_ends_exactly_that_process(sleeper):
    process = qemu.identify(sleeper.pid)
    assert qemu.kill(process, signal.SIGTERM)
    assert sleeper.wait() == -signal.SIGTERM
    with pytest.raises(DeviceError):
        qemu.identify(sleeper.pid)


def record(folder, process):
    folder.mkdir(exist_ok=True)
    machine._write(folder, machine.Record("/image", 2222, "wall", process))


def test_states_of_a_device(tmp_path, sleeper):
    folder = tmp_path / "device"
    assert machine.state(folder) == machine.State("stopped")
    machine.down(folder)
    assert not folder.exists()
    record(folder, qemu.identify(sleeper.pid))
    assert machine.state(folder) == machine.State("running", 2222, "wall", sleeper.pid)
    machine.cut_power(folder)
    assert sleeper.wait() == -signal.SIGKILL
    assert machine.state(folder) == machine.State("stopped", 2222, "wall")
    record(folder, qemu.Process(sleeper.pid, 1, "x"))
    assert machine.state(folder) == machine.State("dead", 2222, "wall")
    machine.down(folder)
    assert machine.state(folder) == machine.State("stopped", 2222, "wall")


def test_a_stopped_device_cannot_be_reached(tmp_path):
    with pytest.raises(UsageError, match="not running"):
        machine.running(tmp_path)


def test_a_port_taken_in_between_is_tried_elsewhere(tmp_path, monkeypatch):
    asked = []

    def start(words, folder):
        asked.append(options(words)["-netdev"])
        if len(asked) < 3:
            raise DeviceError("QEMU did not start", given="Could not set up host forwarding rule")
        return qemu.Process(1, 2, "x")

    monkeypatch.setattr(qemu, "start", start)
    found = machine._start(BOARD, image.Image(tmp_path, "x"), tmp_path, "wall", 2222)
    assert "127.0.0.1:2222-" in asked[0]
    assert found.port != 2222
    assert f"127.0.0.1:{found.port}-" in asked[2]


def test_another_failure_is_not_tried_again(tmp_path, monkeypatch):
    asked = []

    def start(words, folder):
        asked.append(words)
        raise DeviceError("QEMU did not start", given="unknown cpu")

    monkeypatch.setattr(qemu, "start", start)
    with pytest.raises(DeviceError):
        machine._start(BOARD, image.Image(tmp_path, "x"), tmp_path, "wall", 2222)
    assert len(asked) == 1


def test_missing_qemu_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tools, "SEARCH", str(tmp_path))
    with pytest.raises(UsageError) as caught:
        machine.up(BOARD, image.Image(tmp_path, "x"), tmp_path / "device", clock="wall")
    assert {"qemu-system-arm", "qemu-utils"} <= set(caught.value.remedy.split())
    assert not (tmp_path / "device").exists()


def test_keys_are_private_and_stay(tmp_path):
    public = keys.ensure(tmp_path / keys.HOST_KEY)
    assert public.startswith("ssh-ed25519 AAAA")
    assert (tmp_path / keys.HOST_KEY).stat().st_mode & 0o777 == 0o600
    assert keys.ensure(tmp_path / keys.HOST_KEY) == public


def test_monitor_speaks_in_turns_however_long_the_path(tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    handle = os.open(folder, os.O_PATH)
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"/proc/self/fd/{handle}/{qemu.MONITOR}")
    server.listen()
    heard = []

    def serve():
        for answer in (b"VM status: running\r\n(qemu) ", None):
            link, _ = server.accept()
            link.sendall(b"QEMU 7.2 monitor\r\n(qemu) ")
            heard.append(link.recv(100))
            if answer:
                link.sendall(answer)
            link.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert "running" in qemu.monitor(folder, "info status")
    with pytest.raises(TransportError, match="hung up"):
        qemu.monitor(folder, "quit")
    thread.join()
    server.close()
    os.close(handle)
    assert heard == [b"info status\n", b"quit\n"]


def test_console_tail_is_what_was_written_last(tmp_path):
    assert machine.console_tail(tmp_path) == "(nothing)"
    (tmp_path / qemu.CONSOLE).write_bytes(b"first\n" + b"line\n" * 20 + b"\xffpanic\n")
    assert machine.console_tail(tmp_path, 2).endswith("panic")
    assert "first" not in machine.console_tail(tmp_path)
