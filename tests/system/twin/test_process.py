"""Twins as processes: starting, ending, side by side; the gripper's and the hooks' sockets; the command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from twin_client import run_client

from vlasteer.errors import ConfigError, InputError, WorldError
from vlasteer.robots.twin import HookClient, TwinProcess
from vlasteer.robots.twin.settings import DASHBOARD_PORT, GRIPPER_PORT, HOOK_PORT, RTDE_PORT, SCRIPT_PORTS

PORTS = (*SCRIPT_PORTS, RTDE_PORT, DASHBOARD_PORT, GRIPPER_PORT, HOOK_PORT)


def _gone(pid: int, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_all_ports_listen_inside_and_none_afterwards() -> None:
    with TwinProcess() as twin:
        pid, host = twin.pid, twin.host
        for port in PORTS:
            socket.create_connection((host, port), 5.0).close()
    assert _gone(pid)
    for port in PORTS:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port), 5.0)


def test_a_twin_ends_with_the_process_that_started_it() -> None:
    code = "import time\nfrom vlasteer.robots.twin import TwinProcess\n"
    code += "with TwinProcess() as twin:\n print(twin.pid, flush=True)\n time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert _gone(pid)


def test_an_exception_inside_ends_the_twin_too() -> None:
    twin, pids = TwinProcess(), []

    def fail() -> None:
        with twin:
            pids.append(twin.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert _gone(pids[0])
    with pytest.raises(WorldError, match="not running"):
        twin.state()


def test_twins_run_side_by_side_and_an_address_is_taken_once(shared_twin: TwinProcess) -> None:
    with TwinProcess(model="ur5") as other:
        assert other.host != shared_twin.host
        assert other.state()["version"] == "3.15.0.0"
        assert shared_twin.state()["version"] == "5.25.0.0"
        with pytest.raises(ConfigError, match="Choose another --host"), TwinProcess(host=other.host):
            pass


def test_an_address_of_somebody_else_is_refused_before_a_process_starts() -> None:
    with pytest.raises(ConfigError, match="loopback"):
        TwinProcess(host="10.0.0.1")


def test_a_plant_that_does_not_exist_is_named() -> None:
    for plant in ("vlasteer.robots.twin.plant:Fantastic", "nowhere.at:all", "concrete"):
        with pytest.raises(ConfigError, match=plant.partition(":")[0]), TwinProcess(plant=plant):
            pass


def test_a_twin_that_dies_is_noticed() -> None:
    with TwinProcess() as twin:
        os.kill(twin.pid, signal.SIGKILL)
        with pytest.raises(WorldError, match="twin"):
            twin.wait_for(lambda state: False)


def test_hooks_over_their_channel(twin: TwinProcess) -> None:
    other = HookClient(twin.host)
    assert other.state()["model"] == "ur5e"
    assert "stall" in other.call("hooks")
    with pytest.raises(InputError, match="protective_stop"):
        other.call("protective_stopp")
    with pytest.raises(InputError, match="unknown camera"):
        other.camera("image")
    other.call("place", q=[0.1] * 6)
    twin.wait_for(lambda state: state["q"] == [0.1] * 6)
    rows = other.trace()
    assert rows.shape[1] == 13
    assert np.all(np.diff(rows[:, 0]) > 0)
    other.close()
    with pytest.raises(WorldError, match="no twin answers"):
        HookClient("127.255.255.254")


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b'{"hook": 3}', b'{"hook": "state", "arguments": []}', b"\xff\x00", b"["]
)
def test_requests_that_are_none_are_answered_with_an_error(twin: TwinProcess, line: bytes) -> None:
    with socket.create_connection((twin.host, HOOK_PORT), 5.0) as channel:
        channel.sendall(line + b"\n")
        assert b'"ok": false' in channel.makefile("rb").readline()


@pytest.mark.parametrize("port", PORTS)
def test_random_bytes_on_every_port_leave_the_twin_alive(twin: TwinProcess, port: int) -> None:
    rng = np.random.default_rng(port)
    for size in (1, 3, 100, 20_000):
        with socket.create_connection((twin.host, port), 5.0) as connection:
            try:
                connection.sendall(rng.bytes(size) + b"\n\x00\x03\xff\n")
            except ConnectionError:
                continue  # it has been closed already, as it should be
    assert run_client(read_state, twin.host) == [1, 1, 7]


def read_state(host: str) -> list[int]:
    import rtde_receive

    receive = rtde_receive.RTDEReceiveInterface(host)
    return [receive.getRuntimeState(), receive.getSafetyMode(), receive.getRobotMode()]


def test_the_gripper_over_its_socket(twin: TwinProcess) -> None:
    twin.call("gripper_block", opening=0.6)
    with socket.create_connection((twin.host, GRIPPER_PORT), 5.0) as gripper:

        def say(line: str) -> str:
            gripper.sendall(line.encode() + b"\n")
            return gripper.recv(1024).decode()

        def wait_for(line: str, answer: str) -> None:
            deadline = time.monotonic() + 10.0
            while say(line) != answer:
                assert time.monotonic() < deadline, f"{line} never became {answer}"
                time.sleep(0.02)

        assert say("GET STA") == "STA 0\n"
        assert say("SET ACT 1") == "ack"
        wait_for("GET STA", "STA 3\n")
        assert say("SET POS 255 SPE 255 FOR 100 GTO 1") == "ack"
        wait_for("GET OBJ", "OBJ 2\n")
        assert say("GET POS") == "POS 102\n"
        assert say("SET POS 0 GTO 1") == "ack"
        wait_for("GET OBJ", "OBJ 3\n")
        twin.call("emergency_stop")
        wait_for("GET POS", "POS ?\n")
    assert [entry["line"] for entry in twin.log(0, "gripper")][-1] == "SET POS 0 GTO 1"


def test_the_wire_log_is_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    with TwinProcess(log_file=str(path)) as twin:
        run_client(read_state, twin.host)
    text = path.read_text()
    assert '"kind": "rtde_outputs"' in text
    assert text.endswith("}\n")


COMMAND = "from vlasteer.launch.twin import Twin\nimport sys\nsys.exit(Twin({}).run())"


def test_the_command_serves_until_it_is_told_to_end() -> None:
    with TwinProcess() as free:
        host = free.host  # an address that was free a moment ago
    served = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(f"host={host!r}, physics='kinematic'")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert served.stdout is not None
        assert f"Twin ready at {host}" in served.stdout.readline()
        tell = "tell=('protective_stop reason=drill', 'state')"
        told = subprocess.run(
            [sys.executable, "-c", COMMAND.format(f"host={host!r}, {tell}")], capture_output=True, text=True, timeout=30
        )
        assert '"safety_reason": "drill"' in told.stdout
        served.send_signal(signal.SIGTERM)
        assert served.wait(10.0) == 0
    finally:
        served.kill()
        served.wait()
        if served.stdout is not None:
            served.stdout.close()


def test_the_command_interrupted_ends_with_130() -> None:
    served = subprocess.Popen(
        [sys.executable, "-m", "vlasteer.launch.cli", "twin", "--host", "auto", "--physics", "kinematic"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    assert "Twin ready" in served.stdout.readline()
    served.send_signal(signal.SIGINT)
    _, errors = served.communicate(timeout=10.0)
    assert served.returncode == 130
    assert "Traceback" not in errors
