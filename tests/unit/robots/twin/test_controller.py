"""The controller around its program: watchdog, stops, power, and what may start again."""

from __future__ import annotations

import numpy as np
import pytest
from twin_bench import Bench

from vlasteer.robots.twin.states import RobotMode, RuntimeState, SafetyMode

SERVO, SPEED_L, MOVE_J, WATCHDOG = 11, 10, 1, 35


def servo(bench: Bench, target: np.ndarray) -> None:
    bench.order(SERVO, *target, 0.5, 0.5, 0.002, 0.1, 300.0)


def pose(bench: Bench) -> np.ndarray:
    return bench.controller.readings.tcp_pose


# --- watchdog ---------------------------------------------------------------------------------------------------------


def test_a_starved_watchdog_ends_the_program_and_stops_the_arm(bench: Bench) -> None:
    bench.order(SPEED_L, 0, 0, 0.05, 0, 0, 0, 0.5, 0.0)
    bench.run(0.3)
    bench.order(WATCHDOG, 10.0)
    bench.order(0)
    at = pose(bench)
    bench.run(0.5)
    assert bench.controller.runtime_state == RuntimeState.STOPPED
    assert bench.events("watchdog")[-1]["tripped"]
    assert np.linalg.norm((pose(bench) - at)[:3]) < 0.05 * 0.1 + 0.002  # its period, and 2 mm of braking


def test_a_fed_watchdog_lets_the_program_run_and_one_lapse_ends_it(bench: Bench) -> None:
    bench.do(WATCHDOG, 10.0)
    for _ in range(20):
        bench.run(0.09)
        bench.order(0)
    assert bench.controller.program_running
    bench.run(0.12)
    assert not bench.controller.program_running


def test_a_blocking_move_starves_the_watchdog(bench: Bench) -> None:
    bench.do(WATCHDOG, 10.0)
    bench.do(MOVE_J, *(bench.q + 0.5), 0.5, 0.5)
    assert bench.events("watchdog")[-1]["tripped"]
    assert not bench.controller.program_running


def test_a_watchdog_is_cleared_by_the_end_of_the_program_and_by_zero(bench: Bench) -> None:
    bench.do(WATCHDOG, 10.0)
    bench.order(255)
    bench.run(1.0)
    bench.order(0)
    bench.upload()
    bench.run(1.0)
    assert bench.controller.program_running  # a new upload is not watched
    bench.do(WATCHDOG, 10.0)
    bench.upload()  # in place of the one that runs
    bench.run(1.0)
    assert bench.controller.program_running
    bench.do(WATCHDOG, 10.0)
    bench.do(WATCHDOG, 0.0)
    bench.run(1.0)
    assert bench.controller.program_running


# --- stops ------------------------------------------------------------------------------------------------------------


def test_a_protective_stop_pauses_and_nothing_goes_on_by_itself(bench: Bench) -> None:
    bench.order(SPEED_L, 0, 0, 0.05, 0, 0, 0, 0.5, 0.0)
    bench.run(0.3)
    bench.controller.protective_stop("test")
    bench.run(0.2)
    at = bench.q
    assert bench.controller.runtime_state == RuntimeState.PAUSED
    assert not bench.controller.play()
    assert not bench.controller.safety.unlock()
    bench.run(5.0)
    assert bench.controller.safety.unlock()
    bench.run(5.0)
    assert bench.controller.runtime_state == RuntimeState.PAUSED
    np.testing.assert_allclose(bench.q, at, atol=1e-12)
    assert bench.controller.play()
    bench.run(0.5)
    assert bench.controller.engine.moving


def test_uploads_are_refused_in_a_protective_stop_and_taken_after_it(bench: Bench) -> None:
    bench.controller.protective_stop("test")
    bench.run(0.1)
    assert not bench.upload()
    assert bench.controller.runtime_state == RuntimeState.PAUSED
    bench.run(5.0)
    bench.controller.safety.unlock()
    assert bench.upload()
    assert bench.controller.program_running
    assert not bench.controller.engine.moving


def test_a_move_that_was_interrupted_ends_at_its_target_after_play(bench: Bench) -> None:
    target = bench.q + 0.5
    bench.order(MOVE_J, *target, 1.0, 2.0)
    bench.run(0.3)
    bench.controller.protective_stop("test")
    bench.run(5.5)
    bench.controller.safety.unlock()
    bench.controller.play()
    bench.until(lambda: bench.controller.io.int_out[0] == 2)
    np.testing.assert_allclose(bench.q, target, atol=1e-9)


def test_the_script_can_stop_itself(bench: Bench) -> None:
    bench.order(31)
    bench.run(0.01)
    assert bench.controller.safety.safety_mode == SafetyMode.PROTECTIVE_STOP


@pytest.mark.parametrize("mode", [SafetyMode.ROBOT_EMERGENCY_STOP, SafetyMode.SYSTEM_EMERGENCY_STOP, SafetyMode.FAULT])
def test_an_emergency_stop_ends_the_program_and_takes_the_power(bench: Bench, mode: SafetyMode) -> None:
    servo(bench, bench.q + 0.1)
    bench.run(0.05)
    bench.controller.enter(mode, "test")
    at = bench.q
    bench.run(0.5)
    assert bench.controller.runtime_state == RuntimeState.STOPPED
    assert bench.controller.safety.robot_mode == RobotMode.POWER_OFF
    assert np.abs(bench.q - at).max() < 0.05
    assert not bench.upload()
    bench.controller.safety.release()
    bench.controller.safety.restart()
    bench.run(1.0)
    assert not bench.upload()
    bench.controller.safety.release_brakes()
    bench.run(1.0)
    assert bench.upload()


def test_power_off_ends_the_program(bench: Bench) -> None:
    bench.controller.power_off()
    bench.run(0.1)
    assert bench.controller.runtime_state == RuntimeState.STOPPED


def test_local_control_refuses_uploads_on_e_series_only() -> None:
    for model, taken in (("ur5e", False), ("ur5", True)):
        bench = Bench(model=model, remote_control=False)
        assert bench.upload() == taken
        assert bench.events("script")[-1]["accepted"] == taken


def test_a_script_that_never_starts(bench: Bench) -> None:
    bench.order(255)
    bench.run(0.1)
    bench.controller.never_start = True
    assert not bench.upload()
    assert bench.controller.runtime_state == RuntimeState.STOPPED
    assert bench.events("script")[-1]["accepted"]


def test_the_slider_that_leaves_zero_is_a_protective_stop(bench: Bench) -> None:
    io = bench.controller.io
    io.set_speed_slider(0.01)
    io.set_speed_slider(0.5)
    bench.run(0.1)
    assert bench.controller.program_running
    io.set_speed_slider(0.0)
    bench.run(0.1)
    assert bench.controller.program_running
    io.set_speed_slider(0.5)
    bench.run(0.1)
    assert bench.controller.safety.safety_mode == SafetyMode.PROTECTIVE_STOP


def test_the_slider_slows_moves(bench: Bench) -> None:
    bench.controller.io.set_speed_slider(0.5)
    took = bench.do(MOVE_J, *(bench.q + np.array([0.5, 0, 0, 0, 0, 0])), 1.0, 10.0)
    assert took == pytest.approx(2 * (0.5 + 0.1), abs=0.02)


def test_a_large_force_is_a_protective_stop(bench: Bench) -> None:
    bench.controller.inject_wrench(np.array([0, 0, -100.0, 0, 0, 0]), 0.5)
    bench.run(0.4)
    np.testing.assert_allclose(bench.controller.readings.tcp_force, [0, 0, -100, 0, 0, 0])
    bench.run(0.2)
    np.testing.assert_allclose(bench.controller.readings.tcp_force, 0)
    assert bench.controller.safety.may_move
    bench.controller.inject_wrench(np.array([300.0, 0, 0, 0, 0, 0]), 0.5)
    bench.run(0.1)
    assert bench.controller.safety.safety_mode == SafetyMode.PROTECTIVE_STOP


def test_moving_until_contact_stops_at_the_contact(bench: Bench) -> None:
    at = pose(bench)
    bench.order(51, 0, 0, -0.05, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0.5)
    bench.run(1.0)
    bench.controller.inject_wrench(np.array([0, 0, 30.0, 0, 0, 0]), 5.0)
    bench.until(lambda: bench.controller.io.int_out[0] == 2)
    assert 0.03 < at[2] - pose(bench)[2] < 0.06
    assert not bench.controller.engine.moving


def test_a_reset_goes_back_to_the_start(bench: Bench) -> None:
    start = np.array(bench.controller.settings.joints)
    bench.do(MOVE_J, *(bench.q + 0.3), 1.0, 2.0)
    bench.controller.enter(SafetyMode.FAULT, "test")
    bench.controller.never_start = True
    bench.controller.reset()
    clock = bench.controller.time_s
    assert clock > 0
    np.testing.assert_array_equal(bench.q, start)
    assert bench.upload()
