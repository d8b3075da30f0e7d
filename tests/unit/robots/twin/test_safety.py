"""The safety system by itself."""

from __future__ import annotations

import pytest

from vlasteer.robots.twin.safety import UNLOCK_AFTER_S, SafetySystem
from vlasteer.robots.twin.states import RobotMode, SafetyMode, robot_status_bits, safety_status_bits

STOPS = (
    SafetyMode.PROTECTIVE_STOP,
    SafetyMode.SAFEGUARD_STOP,
    SafetyMode.SYSTEM_EMERGENCY_STOP,
    SafetyMode.ROBOT_EMERGENCY_STOP,
    SafetyMode.VIOLATION,
    SafetyMode.FAULT,
)


@pytest.mark.parametrize(
    ("mode", "bits"),
    [
        (SafetyMode.NORMAL, {0}),
        (SafetyMode.REDUCED, {1}),
        (SafetyMode.PROTECTIVE_STOP, {2, 10}),
        (SafetyMode.RECOVERY, {3}),
        (SafetyMode.SAFEGUARD_STOP, {4, 10}),
        (SafetyMode.SYSTEM_EMERGENCY_STOP, {5, 7, 10}),
        (SafetyMode.ROBOT_EMERGENCY_STOP, {6, 7, 10}),
        (SafetyMode.VIOLATION, {8, 10}),
        (SafetyMode.FAULT, {9, 10}),
    ],
)
def test_status_bits(mode: SafetyMode, bits: set[int]) -> None:
    assert safety_status_bits(mode) == sum(1 << bit for bit in bits)


def test_robot_status_bits() -> None:
    assert robot_status_bits(powered=True, program_running=False, freedrive=False) == 1
    assert robot_status_bits(powered=True, program_running=True, freedrive=True) == 0b111


def test_a_protective_stop_is_not_unlocked_for_five_seconds() -> None:
    safety = SafetySystem(powered=True)
    safety.tick(10.0)
    safety.stop(SafetyMode.PROTECTIVE_STOP, "test")
    for elapsed in (0.0, 1.0, UNLOCK_AFTER_S - 0.01):
        safety.tick(10.0 + elapsed)
        assert not safety.unlock()
        assert not safety.may_move
    safety.tick(10.0 + UNLOCK_AFTER_S)
    assert safety.unlock()
    assert safety.may_move


def test_a_second_stop_does_not_restart_the_wait() -> None:
    safety = SafetySystem(powered=True)
    safety.stop(SafetyMode.PROTECTIVE_STOP, "first")
    safety.tick(4.0)
    safety.stop(SafetyMode.PROTECTIVE_STOP, "second")
    safety.tick(5.0)
    assert safety.reason == "first"
    assert safety.unlock()


@pytest.mark.parametrize("mode", STOPS)
def test_nobody_moves_in_a_stop_and_power_goes_with_the_hard_ones(mode: SafetyMode) -> None:
    safety = SafetySystem(powered=True)
    safety.stop(mode, "test")
    assert not safety.may_move
    keeps_power = mode in (SafetyMode.PROTECTIVE_STOP, SafetyMode.SAFEGUARD_STOP)
    assert safety.powered == keeps_power
    if not keeps_power:
        assert not safety.power_on()
        assert not safety.release_brakes()


def test_power_does_not_come_back_with_the_button() -> None:
    safety = SafetySystem(powered=True)
    safety.stop(SafetyMode.ROBOT_EMERGENCY_STOP, "test")
    safety.release()
    safety.tick(100.0)
    assert (safety.safety_mode, safety.robot_mode) == (SafetyMode.NORMAL, RobotMode.POWER_OFF)
    assert not safety.may_move
    assert safety.release_brakes()
    for second in range(101, 105):
        safety.tick(float(second))
    assert safety.may_move


def test_a_protective_stop_survives_a_worse_one() -> None:
    safety = SafetySystem(powered=True)
    safety.stop(SafetyMode.PROTECTIVE_STOP, "collision")
    safety.stop(SafetyMode.SAFEGUARD_STOP, "gate")
    safety.stop(SafetyMode.PROTECTIVE_STOP, "again")
    assert safety.safety_mode == SafetyMode.SAFEGUARD_STOP
    safety.release()
    assert safety.safety_mode == SafetyMode.PROTECTIVE_STOP


def test_violations_need_a_restart() -> None:
    safety = SafetySystem(powered=True)
    safety.stop(SafetyMode.VIOLATION, "test")
    safety.release()
    assert safety.safety_mode == SafetyMode.VIOLATION
    safety.restart()
    assert (safety.safety_mode, safety.robot_mode) == (SafetyMode.NORMAL, RobotMode.POWER_OFF)


def test_reduced_mode_moves_and_does_not_lift_a_stop() -> None:
    safety = SafetySystem(powered=True)
    safety.set_reduced(True)
    assert safety.safety_mode == SafetyMode.REDUCED
    assert safety.may_move
    safety.stop(SafetyMode.PROTECTIVE_STOP, "test")
    safety.set_reduced(False)
    assert safety.safety_mode == SafetyMode.PROTECTIVE_STOP
