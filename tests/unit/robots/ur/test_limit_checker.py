"""The checker that judges the filter and the wire finds each kind of violation, and only those."""

from __future__ import annotations

import numpy as np
import pytest
from limit_checker import violations
from ur_motion import ARM, DT, HOME, LIMITS, TCP, WORKSPACE

from vlasteer.kinematics import Vector
from vlasteer.robots.ur.limits import Limits


def kinds(path: Vector, limits: Limits = LIMITS) -> set[str]:
    return {v.what for v in violations(path, DT, ARM, TCP, limits, WORKSPACE, before=HOME)}


def ramp(joint: int, speed: float, ticks: int = 60) -> Vector:
    """Speed up at half the limit, then go on."""
    speeds = np.minimum(np.arange(1, ticks + 1) * DT * LIMITS.joint_acceleration / 2, abs(speed)) * np.sign(speed)
    path = np.tile(HOME, (ticks, 1))
    path[:, joint] += np.cumsum(speeds) * DT
    return path


def test_a_gentle_motion_breaks_nothing() -> None:
    assert kinds(ramp(0, 0.2)) == set()
    assert kinds(np.tile(HOME, (5, 1))) == set()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (np.full((1, 6), np.nan), {"no number"}),
        (HOME + np.outer([0.001], np.eye(6)[3]), {"joint 3 acceleration"}),
        (ramp(3, 0.62), {"tcp turn"}),
        (ramp(0, 0.7), {"tcp turn", "tcp speed"}),
        (ramp(1, 0.62), {"tcp turn", "elbow speed"}),
        (ramp(5, 1.2), {"tcp turn", "joint 5 speed", "joint 5 step"}),
        (ramp(1, 0.4, 250), {"tcp table", "tcp z low"}),
        (ramp(0, -0.45, 300), {"tcp y high"}),
        (ramp(4, 0.55, 500), {"joint 4 speed", "tcp y low"}),
    ],
    ids=["nan", "acceleration", "turn", "speed", "elbow", "joint speed", "table", "box", "singular"],
)
def test_each_limit_is_judged(path: Vector, expected: set[str]) -> None:
    assert expected <= kinds(path), kinds(path)


def test_a_jump_at_the_start_is_judged_from_where_the_arm_stood() -> None:
    assert "joint 0 acceleration" in kinds(ramp(0, 0.2)[20:])
    assert not violations(ramp(0, 0.2)[:1], DT, ARM, TCP, LIMITS, WORKSPACE)


def test_the_end_of_a_joints_range_is_judged() -> None:
    path = HOME + np.outer([1.0, 2.0], [0, 0, 0, 0, 0, 3.1])
    assert "joint 5 angle" in kinds(path)
