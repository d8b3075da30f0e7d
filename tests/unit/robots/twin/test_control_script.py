"""The client's control script: commands, threads, queries, and what kills it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from twin_bench import Bench

from vlasteer.robots.twin.states import RuntimeState, SafetyMode

SERVO, SPEED_L, SPEED_J, MOVE_J, MOVE_L, STOP_L, STOP_J, SPEED_STOP, SERVO_STOP = 11, 10, 9, 1, 3, 33, 34, 15, 16


def servo(bench: Bench, target: np.ndarray) -> None:
    bench.order(SERVO, *target, 0.5, 0.5, 0.002, 0.1, 300.0)


def pose(bench: Bench) -> np.ndarray:
    return bench.controller.readings.tcp_pose


def test_an_upload_plays_and_is_ready(bench: Bench) -> None:
    io = bench.controller.io
    assert bench.controller.runtime_state == RuntimeState.PLAYING
    assert io.int_out[0] == 1
    assert io.int_out[2] == 1 << 16  # no asynchronous operation, written once
    bench.order(255)
    bench.run(0.1)
    assert bench.controller.runtime_state == RuntimeState.STOPPED


def test_a_regular_command_acts_once_until_it_is_cleared(bench: Bench) -> None:
    bench.do(29, 0, 0, 0.1, 0, 0, 0)
    bench.order(29, 0, 0, 0.2, 0, 0, 0)
    bench.controller.io.float_in[2] = 0.3  # arguments of a command that was executed already
    bench.run(0.1)
    assert bench.controller.arm.tcp[2] == 0.2
    assert bench.controller.io.int_out[0] == 2
    bench.order(0)
    bench.run(0.01)
    assert bench.controller.io.int_out[0] == 1


def test_a_realtime_command_acts_in_every_period(bench: Bench) -> None:
    servo(bench, bench.q)
    bench.controller.io.float_in[5] = 0.05  # the register changes, the command stands
    bench.run(2.0)
    assert bench.controller.io.int_out[0] == 1
    assert bench.q[5] == pytest.approx(0.05, abs=1e-4)


def test_the_upper_registers_work_alike() -> None:
    bench = Bench()
    bench.upload(offset=24)
    io = bench.controller.io
    assert io.int_out[24] == 1
    io.float_in[24:30] = [0, 0, 0.25, 0, 0, 0]
    io.int_in[24] = 29
    bench.run(0.01)
    assert bench.controller.arm.tcp[2] == 0.25
    assert io.int_out[24] == 2
    assert io.int_out[0] == 0


def test_moves_end_where_they_should_and_take_their_time(bench: Bench) -> None:
    target = bench.q + np.array([0.4, 0, 0, 0, 0, -0.2])
    took = bench.do(MOVE_J, *target, 1.0, 2.0)
    np.testing.assert_allclose(bench.q, target, atol=1e-9)
    assert took == pytest.approx(0.4 / math.sqrt(0.8) + math.sqrt(0.8) / 2.0, abs=0.02)
    goal = pose(bench) + np.array([0, 0, -0.1, 0, 0, 0])
    bench.do(MOVE_L, *goal, 0.2, 1.0)
    np.testing.assert_allclose(pose(bench), goal, atol=1e-9)


def test_an_asynchronous_move_reports_its_progress(bench: Bench) -> None:
    io = bench.controller.io
    before = io.int_out[2]
    assert bench.do(MOVE_J, *(bench.q + 0.3), 1.0, 2.0, flag=1) < 0.01
    running = io.int_out[2]
    assert running & 1 << 15
    assert (running >> 24) == (before >> 24) + 1
    bench.until(lambda: not io.int_out[2] & 1 << 15)
    assert io.int_out[2] >> 24 == running >> 24
    assert not bench.controller.engine.moving


def test_stopping_an_asynchronous_move_ends_it_half_way(bench: Bench) -> None:
    target = bench.q + 0.5
    bench.do(MOVE_J, *target, 1.0, 2.0, flag=1)
    bench.run(0.3)
    bench.do(STOP_J, 5.0)
    assert not bench.controller.engine.moving
    assert not bench.controller.io.int_out[2] & 1 << 15
    bench.run(1.0)
    assert np.abs(bench.q - target).min() > 0.1


def test_a_path_is_moved_with_blends_and_progress() -> None:
    bench = Bench()
    waypoints = [bench.q + 0.1, bench.q + 0.2, bench.q]
    lines = [
        f"\tsignal_async_progress({i})\n\tmovej([{','.join(str(v) for v in q)}],a=2,v=1,r={r})\n"
        for i, (q, r) in enumerate(zip(waypoints, (0.02, 0.02, 0), strict=True))
    ]
    assert bench.upload(path="".join(lines))
    assert bench.events("script")[-1]["path"] == 6
    bench.order(45, flag=1)
    seen = []
    for _ in range(1000):
        bench.controller.tick()
        word = bench.controller.io.int_out[2]
        if word & 1 << 15 and (not seen or seen[-1] != word & 0x7FFF):
            seen.append(word & 0x7FFF)
    assert seen == [0, 1, 2]
    np.testing.assert_allclose(bench.q, waypoints[-1], atol=1e-9)


def test_servo_and_speed_threads_go_on_for_ever(bench: Bench) -> None:
    target = bench.q + 0.1
    servo(bench, target)
    bench.order(0)  # the client says nothing more, for it is dead
    bench.run(30.0)
    np.testing.assert_allclose(bench.q, target, atol=1e-6)
    assert bench.controller.program_running
    bench.order(SPEED_J, 0.01, 0, 0, 0, 0, 0, 1.0, 0.1)
    bench.order(0)
    bench.do(SERVO_STOP, 10.0)
    before = bench.q[0]
    bench.run(10.0)
    assert bench.q[0] - before == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("stop", [STOP_L, STOP_J])
def test_stopl_and_stopj_do_not_end_a_speed_thread(bench: Bench, stop: int) -> None:
    bench.order(SPEED_L, 0, 0, 0.05, 0, 0, 0, 0.5, 0.0)
    bench.run(0.5)
    bench.do(stop, 5.0)
    bench.run(1.0)
    assert bench.controller.readings.tcp_speed[2] == pytest.approx(0.05, abs=1e-4)
    bench.do(SPEED_STOP, 5.0)
    bench.run(1.0)
    assert not bench.controller.engine.moving


def test_servo_stop_ends_servoing(bench: Bench) -> None:
    servo(bench, bench.q + 0.1)
    bench.run(0.05)
    assert bench.controller.engine.moving
    bench.do(SERVO_STOP, 10.0)
    stopped_at = bench.q
    bench.run(2.0)
    np.testing.assert_allclose(bench.q, stopped_at, atol=1e-9)


@pytest.mark.parametrize("command", [2, 24, 46, MOVE_L])
def test_a_failing_inverse_kinematics_kills_the_script(bench: Bench, command: int) -> None:
    if command == 24:
        bench.order(command, 2, 0, 0, 0, 0, 0, 0.5, 0.5, 0.002, 0.1, 300.0)
    else:
        bench.order(command, 2, 0, 0, 0, 0, 0, 0.5, 0.5)
    bench.run(0.1)
    assert bench.controller.runtime_state == RuntimeState.STOPPED
    assert "inverse kinematics" in bench.events("program")[-2]["why"]
    assert bench.controller.safety.safety_mode == SafetyMode.NORMAL


def test_a_servo_target_that_is_no_number_stops_the_arm(bench: Bench) -> None:
    servo(bench, bench.q * math.nan)
    bench.run(0.1)
    assert bench.controller.safety.safety_mode == SafetyMode.PROTECTIVE_STOP
    assert np.all(np.isfinite(bench.q))


@pytest.mark.parametrize("command", [MOVE_J, MOVE_L])
def test_a_move_to_what_is_no_number_kills_the_script(bench: Bench, command: int) -> None:
    bench.order(command, *[math.nan] * 6, 0.5, 0.5)
    bench.run(0.1)
    assert bench.controller.runtime_state == RuntimeState.STOPPED
    assert np.all(np.isfinite(bench.q))


def test_a_jump_of_the_servo_target_is_a_protective_stop(bench: Bench) -> None:
    before = bench.q
    servo(bench, bench.q + 1.5)
    bench.run(1.0)
    assert bench.controller.safety.safety_mode == SafetyMode.PROTECTIVE_STOP
    assert "rad/s" in bench.controller.safety.reason
    assert np.abs(bench.q - before).max() < 0.5


def test_a_speed_through_a_singularity_is_a_protective_stop(bench: Bench) -> None:
    bench.order(SPEED_L, -0.25, 0, 0, 0, 0, 0, 2.0, 0.0)
    bench.run(5.0)  # straight out, until the elbow is stretched
    assert bench.controller.safety.safety_mode == SafetyMode.PROTECTIVE_STOP


# --- queries ----------------------------------------------------------------------------------------------------------


def test_kinematic_queries(bench: Bench) -> None:
    io, arm = bench.controller.io, bench.controller.arm
    bench.do(29, 0, 0, 0.1, 0, 0, 0)
    bench.do(43)
    np.testing.assert_allclose(io.float_out[:6], arm.pose(bench.q), atol=1e-12)
    bench.do(44, *bench.q, 0, 0, 0, 0, 0, 0)
    flange = list(io.float_out[:6])
    bench.order(58)
    np.testing.assert_allclose(io.float_out[:6], flange, atol=1e-12)
    bench.do(30, *pose(bench), *(bench.q + 0.01), 1e-10, 1e-10)
    np.testing.assert_allclose(io.float_out[:6], bench.q, atol=1e-9)
    bench.do(40)
    np.testing.assert_allclose(io.float_out[:6], [0, 0, 0.1, 0, 0, 0])
    bench.do(39, 1, 2, 3, 0, 0, math.pi / 2, 1, 0, 0, 0, 0, 0)
    np.testing.assert_allclose(io.float_out[:6], [1, 3, 3, 0, 0, math.pi / 2], atol=1e-12)


@pytest.mark.parametrize(("command", "near"), [(60, False), (61, True), (36, False)])
def test_reach_is_told_without_killing_the_script(bench: Bench, command: int, near: bool) -> None:
    extra = (*bench.q, 1e-10, 1e-10) if near else ()
    for target, expected in ((pose(bench), 1), (pose(bench) + np.array([2, 0, 0, 0, 0, 0]), 0)):
        bench.do(command, *target, *extra)
        assert bench.controller.io.int_out[1] == expected
    assert bench.controller.program_running


def test_joint_limits_are_told(bench: Bench) -> None:
    bench.do(37, *bench.q)
    assert bench.controller.io.int_out[1] == 1
    bench.do(37, 7, *bench.q[1:])
    assert bench.controller.io.int_out[1] == 0


def test_matrices_fill_the_registers_that_the_client_reads(bench: Bench) -> None:
    io, arm = bench.controller.io, bench.controller.arm
    bench.order(70)
    np.testing.assert_allclose([*io.float_out[:24], *io.float_out[36:48]], arm.jacobian(bench.q).T.ravel(), atol=1e-12)
    bench.order(67)
    np.testing.assert_allclose(
        [*io.float_out[:24], *io.float_out[36:48]], arm.model.mass_matrix(bench.q).T.ravel(), atol=1e-12
    )


def test_coriolis_torques_do_no_work() -> None:
    # d/dt (qd' M qd / 2) = 0 along free motion: with M qdd = -C qd, qd' (dM/dt qd / 2 - C qd) = 0.
    bench = Bench()
    bench.upload()
    bench.order(SPEED_J, 0.5, -0.4, 0.3, 0.2, 0.1, 0.6, 5.0, 0.0)
    bench.run(0.5)
    q, qd, model = bench.plant.q, bench.plant.qd, bench.controller.arm.model
    bench.order(68)
    torque = np.array(bench.controller.io.float_out[:6])
    rate = (model.mass_matrix(q + qd * 1e-5) - model.mass_matrix(q - qd * 1e-5)) / 2e-5
    assert qd @ torque == pytest.approx(qd @ rate @ qd / 2, rel=0.05, abs=1e-4)
    assert np.abs(torque).max() > 0.01


def test_payload_and_tool_are_taken_over(bench: Bench) -> None:
    bench.do(17, 1.5, 0.0, 0.0, 0.05)
    assert (bench.controller.payload, bench.controller.payload_cog) == (1.5, (0, 0, 0.05))
    bench.do(17, 2.0, 0, 0, 0)  # no centre of gravity: the old one stays
    assert (bench.controller.payload, bench.controller.payload_cog) == (2.0, (0, 0, 0.05))


def test_commands_that_do_not_exist_are_acknowledged(bench: Bench) -> None:
    for command in (5, 55, 99, 200, -3):
        bench.do(command)
    assert bench.controller.program_running
