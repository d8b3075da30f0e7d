"""What the unmodified client does on a healthy controller: connect, move, servo, speed, ask, switch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from twin_client import run_client

from vlasteer.kinematics import UR5E, matrix_pose, pose_matrix
from vlasteer.robots.twin import TwinProcess

VERSIONS = [("ur5", "3.15"), ("ur5e", "5.11"), ("ur5e", "5.25"), ("ur5e", "10.11")]


def connect_and_look(host: str) -> dict[str, Any]:
    import rtde_control
    import rtde_io
    import rtde_receive

    control = rtde_control.RTDEControlInterface(host)
    receive = rtde_receive.RTDEReceiveInterface(host)
    io = rtde_io.RTDEIOInterface(host)
    q = receive.getActualQ()
    target = [q[0] + 0.2, *q[1:]]
    return {
        "connected": [control.isConnected(), receive.isConnected(), io.isConnected()],
        "running": control.isProgramRunning(),
        "moved": control.moveJ(target, 2.0, 5.0),
        "q": receive.getActualQ(),
        "target": target,
        "pose": receive.getActualTCPPose(),
        "states": [receive.getRuntimeState(), receive.getSafetyMode(), receive.getRobotMode()],
        "bits": [receive.getSafetyStatusBits(), receive.getRobotStatus(), control.getRobotStatus()],
        "joint_mode": receive.getJointMode(),
        "digital_out": [io.setStandardDigitalOut(3, True), io.setToolDigitalOut(0, True)],
        "stopped": control.stopScript(),
        "still_running": control.isProgramRunning(),
    }


@pytest.mark.parametrize(("model", "version"), VERSIONS)
def test_every_version_connects_moves_and_stops(model: str, version: str) -> None:
    with TwinProcess(model=model, version=version) as twin:
        seen = run_client(connect_and_look, twin.host)
        assert seen["connected"] == [True] * 3
        assert seen["running"]
        assert seen["moved"]
        np.testing.assert_allclose(seen["q"], seen["target"], atol=1e-9)
        assert seen["states"] == [2, 1, 7]
        assert seen["bits"] == [1, 3, 3]
        assert seen["joint_mode"] == [253] * 6
        assert not seen["still_running"]
        twin.wait_for(lambda state: state["digital_out"] == 1 << 3 | 1 << 16)
        outputs, *_ = twin.log(0, "rtde_outputs")
        assert outputs["rate"] == (125.0 if model == "ur5" else 500.0)
        assert outputs["recipe"] == 1
        inputs = [entry for entry in twin.log(0, "rtde_inputs") if entry["source"] == outputs["source"]]
        assert [entry["recipe"] for entry in inputs] == [*range(1, 24)]
        registers = {name for name in outputs["names"] if "double_register" in name}
        assert len(registers) == (36 if version in ("5.25", "10.11") else 6)


def connect_with_options(host: str) -> dict[str, Any]:
    import rtde_control

    flags = rtde_control.RTDEControlInterface
    control = flags(host, 125.0, flags.FLAG_UPLOAD_SCRIPT | flags.FLAG_NO_EXT_FT | flags.FLAG_UPPER_RANGE_REGISTERS)
    return {"pose": control.getForwardKinematics(), "ik": control.getInverseKinematicsHasSolution([2, 0, 0, 0, 0, 0])}


def test_upper_registers_without_external_force_at_125_hz() -> None:
    with TwinProcess(version="5.11") as twin:
        seen = run_client(connect_with_options, twin.host)
        np.testing.assert_allclose(seen["pose"], twin.state()["tcp_pose"], atol=1e-9)
        assert seen["ik"] is False
        inputs = twin.log(0, "rtde_inputs")
        assert len(inputs) == 22
        assert inputs[0]["names"][:2] == ["input_int_register_24", "input_double_register_24"]
        assert twin.log(0, "rtde_outputs")[0]["rate"] == 125.0


def move(host: str) -> dict[str, Any]:
    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    start, q = receive.getActualTCPPose(), receive.getActualQ()
    down = [*start[:2], start[2] - 0.1, *start[3:]]
    results: dict[str, Any] = {"start": start, "q": q}
    results["moveL"] = [control.moveL(down, 0.5, 2.0), receive.getActualTCPPose(), down]
    results["moveJ_IK"] = [control.moveJ_IK(start, 2.0, 5.0), receive.getActualTCPPose(), start]
    results["moveL_FK"] = [control.moveL_FK([q[0] + 0.1, *q[1:]], 1.0, 3.0), receive.getActualQ(), [q[0] + 0.1, *q[1:]]]
    results["async"] = control.moveJ([q[0] + 1.5, *q[1:]], 1.0, 1.0, True)
    while not control.getAsyncOperationProgressEx().isAsyncOperationRunning():
        pass
    results["running"] = control.getAsyncOperationProgress() >= 0
    control.stopJ(10.0)
    results["stopped_at"] = receive.getActualQ()
    results["after"] = [control.getAsyncOperationProgress(), control.isSteady()]
    return results


def test_moves(twin: TwinProcess) -> None:
    seen = run_client(move, twin.host)
    for name in ("moveL", "moveJ_IK", "moveL_FK"):
        moved, actual, wanted = seen[name]
        assert moved, name
        np.testing.assert_allclose(actual, wanted, atol=1e-8, err_msg=name)
    assert seen["async"]
    assert seen["running"]
    assert seen["stopped_at"][0] < seen["q"][0] + 1.0
    assert seen["after"][0] < 0
    assert seen["after"][1]


def move_paths(host: str) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    q, pose = receive.getActualQ(), receive.getActualTCPPose()
    joints = [[*[a + step for a in q], 2.0, 4.0, blend] for step, blend in ((0.1, 0.02), (0.2, 0.02), (0.3, 0.0))]
    results: dict[str, Any] = {"joints": [control.moveJ(joints), receive.getActualQ(), joints[-1][:6]]}
    control.moveJ(q, 3.0, 6.0)
    line = [[pose[0], pose[1] + y, *pose[2:], 0.5, 2.0, blend] for y, blend in ((0.05, 0.01), (0.1, 0.0))]
    results["line"] = [control.moveL(line), receive.getActualTCPPose(), line[-1][:6]]
    path = rtde_control.Path()
    for position, kind, parameters in (
        (rtde_control.PathEntry.PositionJoints, rtde_control.PathEntry.MoveJ, [*q, 2.0, 4.0, 0.0]),
        (rtde_control.PathEntry.PositionTcpPose, rtde_control.PathEntry.MoveL, line[0]),
        (rtde_control.PathEntry.PositionTcpPose, rtde_control.PathEntry.MoveP, line[1]),
    ):
        path.addEntry(rtde_control.PathEntry(kind, position, parameters))
    control.movePath(path, True)
    progress = set()
    while not control.getAsyncOperationProgressEx().isAsyncOperationRunning():
        pass
    while control.getAsyncOperationProgressEx().isAsyncOperationRunning():
        progress.add(control.getAsyncOperationProgress())
        time.sleep(0.01)
    results["path"] = [True, receive.getActualTCPPose(), line[-1][:6]]
    results["progress"] = sorted(p for p in progress if p >= 0)
    return results


def test_paths_are_uploaded_blended_and_followed(twin: TwinProcess) -> None:
    since = twin.state()["log_count"]
    seen = run_client(move_paths, twin.host)
    for name in ("joints", "line", "path"):
        moved, actual, wanted = seen[name]
        assert moved, name
        np.testing.assert_allclose(actual, wanted, atol=1e-5, err_msg=name)  # the client prints six digits
    assert len(seen["progress"]) >= 2
    assert [entry["path"] > 0 for entry in twin.log(since, "script")] == [False, True, True, True]


def servo(host: str, seconds: float, rate_hz: float) -> dict[str, Any]:
    import math
    import time

    import rtde_control
    import rtde_receive

    control = rtde_control.RTDEControlInterface(host, rate_hz)
    receive = rtde_receive.RTDEReceiveInterface(host)
    q, results = receive.getActualQ(), []
    for tick in range(round(seconds * rate_hz)):
        began = control.initPeriod()
        target = [a + 0.1 * math.sin(2 * math.pi * tick / rate_hz) for a in q]
        results.append(control.servoJ(target, 0.0, 0.0, 1 / rate_hz, 0.1, 300.0))
        control.waitPeriod(began)
    held = [control.servoJ(q, 0.0, 0.0, 1 / rate_hz, 0.1, 300.0) for _ in range(1)]
    time.sleep(1.0)
    settled = receive.getActualQ()
    return {"q": q, "all": all(results) and all(held), "settled": settled, "stopped": control.servoStop()}


def test_servoj_follows_and_comes_back(twin: TwinProcess) -> None:
    since, began = twin.state()["log_count"], twin.state()["time_s"]
    seen = run_client(servo, twin.host, 1.0, 125.0)
    assert seen["all"]
    assert seen["stopped"]
    np.testing.assert_allclose(seen["settled"], seen["q"], atol=1e-3)
    commands = [entry for entry in twin.log(since, "input") if entry["command"] == 11]
    assert len(commands) == 126
    assert all(entry["values"]["input_double_register_10"] == 300.0 for entry in commands)
    reached = twin.trace(began)[:, 1:7] - seen["q"]
    assert 0.06 < reached.max() < 0.11  # the follower lags, and does not overshoot


def drive(host: str) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    results: dict[str, Any] = {"speedL": control.speedL([0, 0, -0.05, 0, 0, 0], 1.0)}
    time.sleep(0.5)
    results["tool_speed"] = receive.getActualTCPSpeed()
    results["speedStop"] = control.speedStop()
    results["speedJ"] = control.speedJ([0.2, 0, 0, 0, 0, -0.1], 2.0)
    time.sleep(0.5)
    results["joint_speed"] = receive.getActualQd()
    control.speedStop()
    results["jog"] = control.jogStart([0, 0, 0.05, 0, 0, 0], control.FEATURE_TOOL, 1.0)
    time.sleep(0.5)
    results["jog_speed"] = receive.getActualTCPSpeed()
    control.jogStop()
    time.sleep(0.1)
    results["rest"] = receive.getActualQd()
    return results


def test_speeds_and_jogging(twin: TwinProcess) -> None:
    seen = run_client(drive, twin.host)
    assert seen["speedL"]
    assert seen["speedStop"]
    assert seen["speedJ"]
    np.testing.assert_allclose(seen["tool_speed"], [0, 0, -0.05, 0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(seen["joint_speed"], [0.2, 0, 0, 0, 0, -0.1], atol=1e-9)
    assert seen["jog"]
    assert seen["jog_speed"][2] == pytest.approx(-0.05, abs=1e-3)  # along the tool, which points down
    np.testing.assert_array_equal(seen["rest"], 0.0)


def ask(host: str) -> dict[str, Any]:
    import time

    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    q, pose = receive.getActualQ(), receive.getActualTCPPose()
    results: dict[str, Any] = {
        "q": q,
        "pose": pose,
        "fk": control.getForwardKinematics(),
        "fk_args": control.getForwardKinematics([0.1, -1.2, 1.3, -1.4, -1.5, 0.6], [0, 0, 0.1, 0, 0, 0]),
        "ik": control.getInverseKinematics(pose),
        "ik_near": control.getInverseKinematics(pose, [a + 0.1 for a in q]),
        "has_ik": [control.getInverseKinematicsHasSolution(p) for p in (pose, [2.0, 0, 0, 0, 0, 0])],
        "within": [control.isPoseWithinSafetyLimits(pose), control.isPoseWithinSafetyLimits([2.0, 0, 0, 0, 0, 0])],
        "joints_within": [control.isJointsWithinSafetyLimits(q), control.isJointsWithinSafetyLimits([7.0, *q[1:]])],
        "pose_trans": control.poseTrans([0.1, 0.2, 0.3, 0, 0, 1.0], [0.1, 0, 0, 0, 0, 0]),
        "set_tcp": control.setTcp([0, 0, 0.15, 0, 0, 0]),
    }
    time.sleep(0.05)
    results |= {"tcp": control.getTCPOffset(), "pose_with_tcp": receive.getActualTCPPose()}
    results |= {"payload": control.setPayload(1.5, [0, 0, 0.05]), "steady": control.isSteady()}
    time.sleep(0.05)
    # The client reads the answer of these before the controller can have given it: the second call has the first's.
    control.getStepTime()
    time.sleep(0.05)
    results |= {"step": control.getStepTime(), "got_payload": [receive.getPayload(), receive.getPayloadCog()]}
    return results


def test_kinematics_tool_and_payload(twin: TwinProcess) -> None:
    seen = run_client(ask, twin.host)
    q = np.array(seen["q"])
    np.testing.assert_allclose(seen["pose"], matrix_pose(UR5E.forward(q)), atol=1e-12)
    np.testing.assert_allclose(seen["fk"], seen["pose"], atol=1e-12)
    other = UR5E.forward([0.1, -1.2, 1.3, -1.4, -1.5, 0.6]) @ pose_matrix([0, 0, 0.1, 0, 0, 0])
    np.testing.assert_allclose(seen["fk_args"], matrix_pose(other), atol=1e-12)
    np.testing.assert_allclose(seen["ik"], q, atol=1e-9)
    np.testing.assert_allclose(seen["ik_near"], q, atol=1e-9)
    assert seen["has_ik"] == seen["within"] == seen["joints_within"] == [True, False]
    rotated = [0.1 + 0.1 * math.cos(1.0), 0.2 + 0.1 * math.sin(1.0), 0.3, 0, 0, 1.0]
    np.testing.assert_allclose(seen["pose_trans"], rotated, atol=1e-12)
    assert seen["set_tcp"]
    np.testing.assert_allclose(seen["tcp"], [0, 0, 0.15, 0, 0, 0])
    assert seen["pose_with_tcp"][2] == pytest.approx(seen["pose"][2] - 0.15)
    assert seen["payload"]
    assert seen["steady"]
    assert seen["step"] == 0.002
    assert seen["got_payload"] == [1.5, [0, 0, 0.05]]


def switch(host: str) -> dict[str, Any]:
    import time

    import rtde_io
    import rtde_receive

    io, receive = rtde_io.RTDEIOInterface(host), rtde_receive.RTDEReceiveInterface(host)
    done = [
        io.setStandardDigitalOut(0, True),
        io.setStandardDigitalOut(7, True),
        io.setStandardDigitalOut(7, False),
        io.setConfigurableDigitalOut(1, True),
        io.setToolDigitalOut(1, True),
        io.setAnalogOutputVoltage(0, 0.5),
        io.setAnalogOutputCurrent(1, 0.25),
        io.setSpeedSlider(0.4),
        io.setInputIntRegister(18, -12),
        io.setInputDoubleRegister(19, 2.5),
    ]
    time.sleep(0.1)
    return {
        "done": done,
        "out": receive.getActualDigitalOutputBits(),
        "states": [receive.getDigitalOutState(i) for i in (0, 7, 9, 17)],
        "analog": [receive.getStandardAnalogOutput0(), receive.getStandardAnalogOutput1()],
        "slider": receive.getTargetSpeedFraction(),
        "in": [receive.getDigitalInState(i) for i in (0, 9)],
    }


def test_inputs_and_outputs(twin: TwinProcess) -> None:
    since = twin.state()["log_count"]
    twin.call("digital_input", index=9, on=True)
    seen = run_client(switch, twin.host)
    assert all(seen["done"])
    assert seen["out"] & 0b11_0000_0011_1000_0011 == 1 << 0 | 1 << 9 | 1 << 17
    assert seen["states"] == [True, False, True, True]
    np.testing.assert_allclose(seen["analog"], [5.0, 0.008])
    assert seen["slider"] == pytest.approx(0.4)
    assert seen["in"] == [False, True]
    written = {name: value for entry in twin.log(since, "input") for name, value in entry["values"].items()}
    assert written["input_int_register_18"] == -12
    assert written["input_double_register_19"] == 2.5


def run_custom_script(host: str) -> dict[str, Any]:
    import rtde_control
    import rtde_receive

    control, receive = rtde_control.RTDEControlInterface(host), rtde_receive.RTDEReceiveInterface(host)
    body = "movej([0.1,-1.5,1.5,-1.5,-1.5,0],a=6,v=3)\nset_tool_digital_out(0,True)"
    ran = control.sendCustomScriptFunction("custom", body)
    return {
        "ran": ran,
        "q": receive.getActualQ(),
        "running": control.isProgramRunning(),
        "fk": control.moveJ([0.0] * 6),
    }


def test_a_custom_script_runs_and_the_control_script_comes_back(twin: TwinProcess) -> None:
    seen = run_client(run_custom_script, twin.host)
    assert seen["ran"]
    np.testing.assert_allclose(seen["q"], [0.1, -1.5, 1.5, -1.5, -1.5, 0], atol=1e-9)
    assert seen["running"]
    assert seen["fk"]


def watch_forces(host: str) -> list[float]:
    import rtde_receive

    receive = rtde_receive.RTDEReceiveInterface(host, variables=["timestamp", "actual_TCP_force"])
    return receive.getActualTCPForce()


def test_an_injected_wrench_is_measured(twin: TwinProcess) -> None:
    twin.call("wrench", values=[1, -2, 30, 0.1, 0.2, 0.3])
    assert run_client(watch_forces, twin.host) == [1, -2, 30, 0.1, 0.2, 0.3]
