"""What the unmodified client does when things go wrong: facts that a driver has to be built around.

Each test is the record of one hazard of `ur_rtde` 1.6.5. When one of them fails with a newer client, the hazard may be
gone: look at the driver's protection against it before anything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twin_client import Client, run_client, say

from vlasteer.robots.twin import TwinProcess

Start = Callable[..., Client]


def servo_and_watch(host: str, seconds: float) -> list[list[Any]]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    q, rows = receive.getActualQ(), []
    say("ready")
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        answers = [receive.getTimestamp(), control.isConnected(), receive.isConnected()]
        rows.append([*answers, control.servoJ(q, 0.0, 0.0, 0.008, 0.1, 300.0), now])
        time.sleep(0.02)
    return rows


def test_a_stall_is_told_by_the_timestamp_alone(twin: TwinProcess, start_client: Start) -> None:
    client = start_client(servo_and_watch, twin.host, 2.0)
    assert client.hear() == "ready"
    twin.call("stall", seconds=1.2)
    ended = client.wait()
    assert ended.status == 0
    seen: dict[float, list[float]] = {}
    for timestamp, *_, now in ended.returned:
        seen.setdefault(timestamp, []).append(now)
    assert max(nows[-1] - nows[0] for nows in seen.values()) > 0.8  # nothing new for a long while ...
    assert all(row[1:4] == [True, True, True] for row in ended.returned)  # ... and nothing else says so


@pytest.mark.parametrize(("hook", "seconds"), [("stall", 4.0), ("drop", 0.0)])
def test_after_a_long_stall_or_a_drop_the_client_reconnects_by_itself_or_dies(
    twin: TwinProcess, start_client: Start, hook: str, seconds: float
) -> None:
    since = twin.state()["log_count"]
    client = start_client(servo_and_watch, twin.host, 6.0)
    assert client.hear() == "ready"
    time.sleep(0.2)
    twin.call(hook, seconds=seconds)
    ended = client.wait(10.0)
    uploads = twin.log(since, "script")
    rows = ended.returned or []
    blind = [row for row in rows if not row[2] and row[3]]  # not receiving, and yet commanding
    # It segfaults, hangs, uploads the script anew without being asked, or goes on commanding without seeing.
    assert ended.status != 0 or len(uploads) > 1 or blind
    twin.call("resume")
    assert run_client(_is_well, twin.host)  # whatever became of that client: the controller serves the next one


def _is_well(host: str) -> bool:
    import rtde_control

    control = rtde_control.RTDEControlInterface(host)
    return control.isProgramRunning() and len(control.getForwardKinematics()) == 6


def servo_nonsense(host: str) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    accepted = control.servoJ([float("nan")] * 6, 0.0, 0.0, 0.008, 0.1, 300.0)
    time.sleep(0.2)
    return {"accepted": accepted, "safety": receive.getSafetyMode()}


def test_targets_that_are_no_numbers_reach_the_wire(twin: TwinProcess) -> None:
    since = twin.state()["log_count"]
    assert run_client(servo_nonsense, twin.host) == {"accepted": True, "safety": 3}
    sent = [entry["values"] for entry in twin.log(since, "input") if entry["command"] == 11]
    assert np.isnan(sent[0]["input_double_register_0"])


def servo_out_of_reach(host: str) -> dict[str, Any]:
    import time

    import rtde_control

    control = rtde_control.RTDEControlInterface(host)
    accepted = control.servoL([2.0, 0.0, 0.5, 0.0, 3.1, 0.0], 0.0, 0.0, 0.008, 0.1, 300.0)
    time.sleep(0.2)
    return {"accepted": accepted, "running": control.isProgramRunning()}


def test_servol_out_of_reach_says_true_and_kills_the_script(twin: TwinProcess) -> None:
    assert run_client(servo_out_of_reach, twin.host) == {"accepted": True, "running": False}
    assert twin.state()["safety_mode"] == "NORMAL"


def stop_wrongly(host: str, stop: str) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    control.speedJ([0.1, 0, 0, 0, 0, 0], 2.0)
    time.sleep(0.2)
    getattr(control, stop)(5.0)
    time.sleep(0.3)
    still = receive.getActualQd()[0]
    control.speedStop()
    time.sleep(0.2)
    return {"still": still, "end": receive.getActualQd()[0]}


@pytest.mark.parametrize("stop", ["stopL", "stopJ"])
def test_stopl_and_stopj_do_not_end_a_speed_command(twin: TwinProcess, stop: str) -> None:
    seen = run_client(stop_wrongly, twin.host, stop)
    assert seen["still"] == pytest.approx(0.1)
    assert seen["end"] == 0.0


def recover(host: str) -> dict[str, Any]:
    import time

    import dashboard_client
    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    dashboard = dashboard_client.DashboardClient(host)
    dashboard.connect()
    control.setWatchdog(1.0)
    control.triggerProtectiveStop()
    time.sleep(0.1)
    q = receive.getActualQ()
    results: dict[str, Any] = {
        "stopped": receive.isProtectiveStopped(),
        "bits": receive.getSafetyStatusBits(),
        "runtime": receive.getRuntimeState(),
        "servo": control.servoJ(q, 0.0, 0.0, 0.008, 0.1, 300.0),
        "move": control.moveJ(q),
    }
    try:
        dashboard.unlockProtectiveStop()
    except RuntimeError as error:
        results["too_soon"] = str(error)
    time.sleep(5.0)
    dashboard.unlockProtectiveStop()
    time.sleep(0.2)
    results["after_unlock"] = [receive.isProtectiveStopped(), control.isProgramRunning(), control.moveJ(q)]
    results["uploaded"] = control.reuploadScript()
    time.sleep(0.2)
    results["after_upload"] = [control.isProgramRunning(), control.moveJ([q[0] + 0.1, *q[1:]], 2.0, 4.0)]
    return results


def test_recovery_from_a_protective_stop_takes_unlock_upload_and_a_new_watchdog(twin: TwinProcess) -> None:
    since = twin.state()["log_count"]
    seen = run_client(recover, twin.host)
    assert seen["stopped"]
    assert seen["bits"] == 1 << 2 | 1 << 10
    assert seen["runtime"] == 4
    assert not seen["servo"]
    assert not seen["move"]
    assert "until 5s after occurrence" in seen["too_soon"]
    assert seen["after_unlock"] == [False, False, False]
    assert seen["uploaded"]
    assert seen["after_upload"] == [True, True]
    assert len([entry for entry in twin.log(since, "watchdog") if entry["armed"]]) == 1  # the new upload has none


def wait_periods(host: str) -> float:
    import time

    import rtde_control

    control = rtde_control.RTDEControlInterface(host, 50.0)
    began = time.monotonic()
    for _ in range(20):
        control.waitPeriod(control.initPeriod())
    return (time.monotonic() - began) / 20


def test_wait_period_uses_the_constructors_frequency(twin: TwinProcess) -> None:
    assert run_client(wait_periods, twin.host) > 0.019


def pass_large_values(host: str) -> list[str]:
    import rtde_control

    control = rtde_control.RTDEControlInterface(host)
    q, raised = [0.0] * 6, []
    for parameters in ((q, 3.15, 1.0), (q, 1.0, 40.1)):
        try:
            control.moveJ(*parameters)
        except (RuntimeError, ValueError, IndexError) as error:
            raised.append(str(error))
    for lookahead, gain in ((0.02, 300.0), (0.1, 99.0), (0.1, 2001.0)):
        try:
            control.servoJ(q, 0.0, 0.0, 0.008, lookahead, gain)
        except (RuntimeError, ValueError, IndexError) as error:
            raised.append(str(error))
    return raised


def test_the_clients_own_limits_are_loose(twin: TwinProcess) -> None:
    raised = run_client(pass_large_values, twin.host)
    assert [message[message.index("[") :] for message in raised] == [
        "[0;3.14]",
        "[0;40]",
        "[0.03;0.2]",
        "[100;2000]",
        "[100;2000]",
    ]


def slide(host: str) -> list[int]:
    import time

    import rtde_control
    import rtde_io
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    io = rtde_io.RTDEIOInterface(host)
    modes = []
    for fraction in (0.01, 0.5, 0.0, 0.5):
        io.setSpeedSlider(fraction)
        time.sleep(0.1)
        modes.append(receive.getSafetyMode())
    assert control.isConnected()
    return modes


def test_the_speed_slider_at_zero_is_a_trap(twin: TwinProcess) -> None:
    assert run_client(slide, twin.host) == [1, 1, 1, 3]


def use_upper_registers(host: str) -> str:
    import rtde_control

    interface = rtde_control.RTDEControlInterface
    control = interface(host, -1.0, interface.FLAG_UPLOAD_SCRIPT | interface.FLAG_UPPER_RANGE_REGISTERS)
    try:
        return str(control.getForwardKinematics())
    except RuntimeError as error:
        return str(error)


def test_the_upper_registers_do_not_work_from_5_23_on(twin: TwinProcess, start_client: Start) -> None:
    # The client then asks for the outputs of the lower range and waits for those of the upper one.
    ended = start_client(use_upper_registers, twin.host).wait(6.0)
    assert ended.returned is None or "did not succeed" in ended.returned
    outputs = twin.log(0, "rtde_outputs")[-1]["names"]
    assert "output_int_register_24" not in outputs
