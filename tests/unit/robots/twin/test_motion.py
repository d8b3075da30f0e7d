"""Motions: where they lead, how fast, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.kinematics import UR5E, Vector, rotation_vector
from vlasteer.robots.twin.arm import Arm
from vlasteer.robots.twin.motion import (
    Motion,
    MotionEngine,
    MotionError,
    Move,
    Profile,
    ServoJoints,
    SpeedJoints,
    SpeedTool,
    StopJoints,
    StopTool,
    Waypoint,
)
from vlasteer.robots.twin.settings import HOME

DT = 0.002
ARM = Arm(UR5E, (0.0, 0.0, 0.1, 0.0, 0.0, 0.0))
Q = np.array(HOME)


def run(motion: Motion, seconds: float, scale: float = 1.0) -> Vector:
    """Setpoints [n, 6] of that time."""
    return np.array([motion.advance(DT, scale) for _ in range(round(seconds / DT))])


def _tick(engine: MotionEngine, times: int) -> None:
    for _ in range(times):
        engine.tick(DT, 1.0)


def lowered(dx: float, dy: float, dz: float) -> Vector:
    pose = ARM.forward(Q)
    pose[:3, 3] += (dx, dy, dz)
    return pose


@given(distance=st.floats(0, 10), speed=st.floats(0.01, 5), acceleration=st.floats(0.01, 50))
def test_profiles_keep_speed_and_acceleration(distance: float, speed: float, acceleration: float) -> None:
    profile = Profile(distance, speed, acceleration)
    assert profile.at(0) == (0 if profile.duration else distance)
    assert profile.at(profile.duration) == distance
    step = max(profile.duration, 1e-3) / 400
    s = np.array([profile.at(i * step) for i in range(402)])
    v = np.diff(s) / step
    assert v.min() >= -1e-9
    assert v.max() <= speed * (1 + 1e-6) + 1e-9
    assert np.abs(np.diff(v)).max() / step <= acceleration * (1 + 1e-3) + 1e-6 * distance / step**2


def test_a_move_in_joint_space_ends_at_its_target_with_all_joints_together() -> None:
    target = Q + np.array([0.5, -0.3, 0.2, 0.1, -0.4, 0.6])
    move = Move(ARM, Q, [Waypoint(1.0, 2.0, joints=target)])
    path = run(move, move.duration + DT)
    np.testing.assert_array_equal(path[-1], target)
    assert move.done
    fractions = (path[:-1] - Q) / (target - Q)
    assert np.ptp(fractions, axis=1).max() < 1e-9


def test_a_linear_move_is_straight_and_turns_evenly() -> None:
    target = lowered(0.1, 0.05, -0.1)
    target[:3, :3] = ARM.forward(Q + np.array([0, 0, 0, 0, 0, 0.5]))[:3, :3]
    move = Move(ARM, Q, [Waypoint(0.2, 0.5, pose=target)])
    path = run(move, move.duration + DT)
    points = np.array([ARM.forward(q)[:3, 3] for q in path[::10]])
    start, way = ARM.forward(Q)[:3, 3], target[:3, 3] - ARM.forward(Q)[:3, 3]
    along = (points - start) @ way / (way @ way)
    np.testing.assert_allclose(points, start + along[:, None] * way, atol=1e-9)
    np.testing.assert_allclose(ARM.forward(path[-1]), target, atol=1e-9)
    speed = np.linalg.norm(np.diff(points, axis=0), axis=1) / (10 * DT)
    assert speed.max() == pytest.approx(0.2, rel=1e-3)


def test_the_speed_slider_stretches_a_move() -> None:
    target = Q + 0.3
    full, half = (Move(ARM, Q, [Waypoint(1.0, 2.0, joints=target)]) for _ in range(2))
    np.testing.assert_allclose(run(full, 0.5), run(half, 1.0, scale=0.5)[1::2], atol=1e-12)


@pytest.mark.parametrize("linear", [False, True])
def test_blends_do_not_stop_at_the_waypoint(linear: bool) -> None:
    first, second = (lowered(0, 0.1, 0), lowered(0, 0.2, 0)) if linear else (Q + 0.2, Q + 0.4)
    key = "pose" if linear else "joints"
    stops, passes = (
        Move(ARM, Q, [Waypoint(0.5, 1.0, blend=blend, **{key: first}), Waypoint(0.5, 1.0, **{key: second})])
        for blend in (0.0, 0.05)
    )
    assert passes.duration < stops.duration - 0.1
    end = run(passes, passes.duration + DT)[-1]
    np.testing.assert_allclose(ARM.forward(end), second if linear else ARM.forward(second), atol=1e-9)


def test_a_blend_stays_within_its_radius() -> None:
    corner, target = lowered(0, 0.1, 0), lowered(0, 0.1, -0.1)
    move = Move(ARM, Q, [Waypoint(0.5, 1.0, pose=corner, blend=0.02), Waypoint(0.5, 1.0, pose=target)])
    points = np.array([ARM.forward(q)[:3, 3] for q in run(move, move.duration)])
    nearest = np.linalg.norm(points - corner[:3, 3], axis=1).min()
    assert 0 < nearest <= 0.02


@pytest.mark.parametrize(
    "waypoint",
    [
        Waypoint(1.0, 0.0, joints=Q),
        Waypoint(0.0, 1.0, joints=Q),
        Waypoint(math.nan, 1.0, joints=Q),
        Waypoint(1.0, 1.0, joints=Q * math.nan),
        Waypoint(1.0, 1.0, pose=np.full((4, 4), math.inf)),
        Waypoint(1.0, 1.0),
    ],
)
def test_moves_that_cannot_be_are_refused(waypoint: Waypoint) -> None:
    with pytest.raises(MotionError):
        Move(ARM, Q, [waypoint])


def test_a_linear_move_out_of_reach_fails_on_the_way() -> None:
    move = Move(ARM, Q, [Waypoint(1.0, 5.0, pose=lowered(-2.0, 0, 0))])
    with pytest.raises(MotionError, match="reach"):
        run(move, move.duration)


def test_servo_lags_a_ramp_by_the_lookahead_time_and_comes_to_rest_without_overshoot() -> None:
    servo, rate = ServoJoints(Q, np.zeros(6), Q, 0.1, 300.0), 0.5
    for tick in range(1000):
        servo.retarget(Q + rate * DT * tick, 0.1, 300.0)
        q = servo.advance(DT, 1.0)
    lag = (servo.target - q) / rate
    np.testing.assert_allclose(lag, 0.1, rtol=0.05)
    rest = run(servo, 2.0)
    np.testing.assert_allclose(rest[-1], servo.target, atol=1e-6)
    assert np.all(rest <= servo.target + 1e-9)


def test_a_larger_gain_follows_closer() -> None:
    target = Q + 0.05
    soft, stiff = (run(ServoJoints(Q, np.zeros(6), target, 0.1, gain), 0.2)[-1] for gain in (100.0, 2000.0))
    assert np.all(target - stiff < target - soft)


def test_speed_in_joint_space_ramps_and_goes_on_for_ever() -> None:
    motion = SpeedJoints(Q, np.zeros(6), np.array([0.5, 0, 0, 0, 0, -0.25]), 1.0)
    path = run(motion, 3.0)
    qd = np.diff(path, axis=0) / DT
    np.testing.assert_allclose(qd[-1], [0.5, 0, 0, 0, 0, -0.25], atol=1e-9)
    np.testing.assert_allclose(qd[124], [0.25, 0, 0, 0, 0, -0.125], atol=2e-3)
    assert not motion.done


def test_speed_of_the_tool_is_that_of_the_base_frame() -> None:
    motion = SpeedTool(ARM, Q, np.zeros(6), np.array([0.05, 0, -0.05, 0, 0, 0.2]), 1.0)
    path = run(motion, 1.0)
    before, after = ARM.forward(path[-101]), ARM.forward(path[-1])
    np.testing.assert_allclose((after - before)[:3, 3] / (100 * DT), [0.05, 0, -0.05], atol=1e-6)
    np.testing.assert_allclose(rotation_vector(after[:3, :3] @ before[:3, :3].T) / (100 * DT), [0, 0, 0.2], atol=1e-6)


def test_stopj_brakes_at_its_rate() -> None:
    motion = StopJoints(Q, np.array([1.0, -0.5, 0, 0, 0, 0]), 2.0)
    path = run(motion, 0.6)
    assert motion.done
    np.testing.assert_allclose(path[-1] - Q, [0.25, -0.125, 0, 0, 0, 0], atol=2e-3)  # v^2 / 2a


def test_stopl_brakes_on_the_line() -> None:
    qd = np.linalg.solve(ARM.jacobian(Q), [0, 0, -0.2, 0, 0, 0])
    motion = StopTool(ARM, Q, qd, 1.0)
    end = ARM.forward(run(motion, 0.3)[-1])
    assert motion.done
    np.testing.assert_allclose(end[:3, 3] - ARM.forward(Q)[:3, 3], [0, 0, -0.02], atol=3e-4)
    np.testing.assert_allclose(end[:3, :3], ARM.forward(Q)[:3, :3], atol=1e-9)


def test_the_engine_refuses_what_the_arm_cannot_follow_and_stands() -> None:
    for target, message in ((Q + 1.0, "rad/s"), (Q * math.nan, "no number")):
        engine = MotionEngine(ARM, Q)
        engine.motion = ServoJoints(Q, np.zeros(6), target, 0.03, 2000.0)
        with pytest.raises(MotionError, match=message):
            _tick(engine, 100)
        assert np.all(np.isfinite(engine.q))
        assert np.abs(engine.qd).max() <= 1.05 * math.pi


def test_the_engine_refuses_to_leave_a_joints_range() -> None:
    near = Q.copy()
    near[5] = 6.2
    engine = MotionEngine(ARM, near)
    engine.motion = SpeedJoints(near, np.zeros(6), np.array([0, 0, 0, 0, 0, 1.0]), 10.0)
    with pytest.raises(MotionError, match="range"):
        _tick(engine, 200)
    assert engine.q[5] <= 2 * math.pi
