"""The faults that a twin can be made to have, as the real client meets them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from twin_client import Client, run_client, say

from vlasteer.robots.twin import TwinProcess

Start = Callable[..., Client]


def try_to_connect(host: str) -> str:
    import rtde_control

    try:
        rtde_control.RTDEControlInterface(host)
    except (RuntimeError, ValueError) as error:  # the client's exceptions, as they come out of C++
        return f"{type(error).__name__}: {error}"
    return "connected"


def hold_connection(host: str) -> None:
    import time

    import rtde_control

    control = rtde_control.RTDEControlInterface(host)
    say(control.isConnected())
    while True:
        time.sleep(1.0)


def test_a_second_control_client_is_told_in_use_until_the_first_has_gone(
    twin: TwinProcess, start_client: Start
) -> None:
    first = start_client(hold_connection, twin.host)
    assert first.hear() is True
    assert "already in use" in run_client(try_to_connect, twin.host)
    assert "IN_USE" in twin.log(0, "rtde_inputs")[-1]["types"]
    first.kill()
    twin.wait_for(lambda state: not state["connections"])
    assert run_client(try_to_connect, twin.host) == "connected"


def test_a_fieldbus_owns_registers(twin: TwinProcess) -> None:
    twin.call("registers_in_use", names=["input_int_register_0", "input_double_register_3"])
    assert "already in use" in run_client(try_to_connect, twin.host)
    twin.call("registers_in_use", names=[])
    assert run_client(try_to_connect, twin.host) == "connected"


def test_local_control_is_refused_by_the_client(twin: TwinProcess) -> None:
    twin.call("remote_control", on=False)
    assert "enable remote control" in run_client(try_to_connect, twin.host)
    twin.call("remote_control", on=True)
    assert run_client(try_to_connect, twin.host) == "connected"


def test_a_script_that_never_starts_is_waited_for_five_seconds(twin: TwinProcess) -> None:
    twin.call("script_never_starts")
    began = time.monotonic()
    assert "before timeout of 5 seconds" in run_client(try_to_connect, twin.host)
    assert time.monotonic() - began > 4.5


def test_no_script_starts_in_a_protective_stop(twin: TwinProcess) -> None:
    twin.call("protective_stop")
    assert "Failed to start control script" in run_client(try_to_connect, twin.host)
    assert twin.log(0, "script")[-1]["accepted"] is False


def test_a_program_that_runs_is_stopped_by_the_next_client(twin: TwinProcess) -> None:
    assert run_client(try_to_connect, twin.host) == "connected"
    since = twin.state()["log_count"]
    assert twin.state()["runtime_state"] == "PLAYING"
    assert run_client(try_to_connect, twin.host) == "connected"
    entries = twin.log(since)
    commands = [entry["command"] for entry in entries if entry["kind"] == "input"]
    lines = [entry["line"] for entry in entries if entry["kind"] == "dashboard"]
    assert 255 in commands
    assert lines[-1] == "stop"
    assert [entry["state"] for entry in entries if entry["kind"] == "program"] == ["STOPPING", "STOPPED", "PLAYING"]


def be_stopped(host: str) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    control.speedJ([0.2, 0, 0, 0, 0, 0], 2.0)
    say("moving")
    while receive.getSafetyMode() == 1:
        time.sleep(0.001)
    time.sleep(0.3)
    return {
        "protective": receive.isProtectiveStopped(),
        "emergency": receive.isEmergencyStopped(),
        "bits": receive.getSafetyStatusBits(),
        "modes": [receive.getSafetyMode(), receive.getRobotMode(), receive.getRuntimeState()],
        "status": receive.getRobotStatus(),
        "speed": receive.getActualQd()[0],
        "moved": control.moveJ([0.0] * 6),
    }


@pytest.mark.parametrize(
    ("hook", "arguments", "bits", "modes"),
    [
        ("protective_stop", {}, {2, 10}, [3, 7, 4]),
        ("emergency_stop", {}, {6, 7, 10}, [7, 3, 1]),
        ("emergency_stop", {"system": True}, {5, 7, 10}, [6, 3, 1]),
        ("safety_mode", {"mode": "SAFEGUARD_STOP"}, {4, 10}, [5, 7, 4]),
        ("safety_mode", {"mode": "VIOLATION"}, {8, 10}, [8, 3, 1]),
        ("wrench", {"values": [0, 0, 300, 0, 0, 0]}, {2, 10}, [3, 7, 4]),
    ],
)
def test_stops_are_reported_and_end_every_motion(
    twin: TwinProcess,
    start_client: Start,
    hook: str,
    arguments: dict[str, Any],
    bits: set[int],
    modes: list[int],
) -> None:
    client = start_client(be_stopped, twin.host)
    assert client.hear() == "moving"
    twin.call(hook, **arguments)
    ended = client.wait()
    assert ended.status == 0
    seen = ended.returned
    assert seen["bits"] == sum(1 << bit for bit in bits)
    assert seen["modes"] == modes
    assert seen["protective"] == (2 in bits)
    assert seen["emergency"] == (7 in bits)
    assert seen["speed"] == 0.0
    assert not seen["moved"]
    assert seen["status"] & 0b11 == (0b00 if modes[1] == 3 else 0b01)


def power_up(host: str) -> list[str]:
    import time

    import dashboard_client

    dashboard = dashboard_client.DashboardClient(host)
    dashboard.connect()
    modes = [dashboard.robotmode()]
    for action in (dashboard.powerOn, dashboard.brakeRelease):
        action()
        time.sleep(1.0)
        modes.append(dashboard.robotmode())
    return modes


def test_after_an_emergency_stop_somebody_has_to_power_the_arm_on(twin: TwinProcess) -> None:
    twin.call("emergency_stop")
    twin.call("release_stop")
    assert twin.state()["safety_mode"] == "NORMAL"
    assert "Failed to start" in run_client(try_to_connect, twin.host)
    assert run_client(power_up, twin.host) == ["Robotmode: POWER_OFF", "Robotmode: IDLE", "Robotmode: RUNNING"]
    assert run_client(try_to_connect, twin.host) == "connected"


def use_dashboard(host: str) -> dict[str, Any]:
    import dashboard_client

    dashboard = dashboard_client.DashboardClient(host)
    dashboard.connect()
    results: dict[str, Any] = {
        "version": dashboard.polyscopeVersion(),
        "model": dashboard.getRobotModel(),
        "serial": dashboard.getSerialNumber(),
        "remote": dashboard.isInRemoteControl(),
        "modes": [dashboard.robotmode(), dashboard.safetymode(), dashboard.safetystatus()],
        "program": [dashboard.running(), dashboard.programState(), dashboard.isProgramSaved()],
    }
    dashboard.unlockProtectiveStop()
    for name in ("stop", "popup", "closePopup", "closeSafetyPopup", "restartSafety", "addToLog"):
        getattr(dashboard, name)(*(["hello"] if name in ("popup", "addToLog") else []))
    for name, arguments in (("play", []), ("pause", []), ("loadURP", ["nothing.urp"])):
        try:
            getattr(dashboard, name)(*arguments)
        except RuntimeError as error:
            results[name] = str(error)
    dashboard.quit()
    return results


def test_the_dashboard_client(twin: TwinProcess) -> None:
    assert run_client(use_dashboard, twin.host) == {
        "version": "5.25.0.0",
        "model": "UR5",
        "serial": "20235500001",
        "remote": True,
        "modes": ["Robotmode: RUNNING", "Safetymode: NORMAL", "Safetystatus: NORMAL"],
        "program": [False, "STOPPED <unnamed>", False],
        "play": "Failed to execute: play",
        "pause": "Failed to execute: pause",
        "loadURP": "File not found: nothing.urp",
    }


def test_a_stopped_client_does_not_hold_up_the_others(twin: TwinProcess, start_client: Start) -> None:
    frozen = start_client(hold_connection, twin.host)
    assert frozen.hear() is True
    frozen.freeze()
    try:
        before = twin.state()["time_s"]
        twin.wait_for(lambda state: state["time_s"] > before + 2.0)
        assert run_client(read_state, twin.host) == [2, 1]
    finally:
        frozen.thaw()


def read_state(host: str) -> list[int]:
    import rtde_receive

    receive = rtde_receive.RTDEReceiveInterface(host)
    return [receive.getRuntimeState(), receive.getSafetyMode()]
