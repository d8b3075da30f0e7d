"""The written-out geometry is that of the Denavit-Hartenberg table."""

from __future__ import annotations

import numpy as np
import pytest
from ur_motion import HOME, LIMITS, TCP

from vlasteer.kinematics import UR5, UR5E, ArmModel, Vector, rotation_matrix
from vlasteer.robots.ur.points import SLOWEST, ArmPoints, slowing, turns


def random_joints(count: int) -> Vector:
    return np.random.default_rng(0).uniform(-2 * np.pi, 2 * np.pi, (count, 6))


@pytest.mark.parametrize("arm", [UR5, UR5E], ids=lambda arm: arm.name)
def test_points_agree_with_the_table(arm: ArmModel) -> None:
    points, q = ArmPoints(arm, np.array(TCP)), random_joints(50)
    found = points.at(q)
    for i, joints in enumerate(q):
        frames = arm.frames(joints)
        np.testing.assert_allclose(found.tool[:, i], (frames[6] @ points.tool)[:3, 3], atol=1e-12)
        np.testing.assert_allclose(found.axes[:, i].reshape(3, 3).T, frames[6, :3, :3], atol=1e-12)
        np.testing.assert_allclose(found.elbow[:, i], frames[2, :3, 3], atol=1e-12)
        np.testing.assert_allclose(points.pose(joints), frames[6] @ points.tool, atol=1e-12)


@pytest.mark.parametrize("angle", [1e-7, 1e-3, 0.5, 3.0])
def test_turns_are_exact_for_small_and_large_angles(angle: float) -> None:
    turned = rotation_matrix(np.array([0.6, 0.0, 0.8]) * angle)
    found = turns(np.eye(3).reshape(9, 1), turned.T.reshape(9, 1))
    np.testing.assert_allclose(found, angle, rtol=1e-6)


def test_the_arm_slows_down_where_the_jacobian_degenerates_and_only_there() -> None:
    points, q = ArmPoints(UR5E, np.array(TCP)), random_joints(2000)
    share = slowing(points.at(q), LIMITS)
    smallest = np.array([np.linalg.svd(UR5E.jacobian(joints), compute_uv=False)[-1] for joints in q])
    assert smallest[share == 1.0].min() > 0.01
    assert share[smallest < 0.005].max() < 0.7
    assert slowing(points.at(HOME[None]), LIMITS)[0] == 1.0


@pytest.mark.parametrize(("joint", "angle"), [(4, 0.0), (4, np.pi), (2, 0.0), (2, np.pi)])
def test_a_singular_arm_is_slowest_but_can_leave(joint: int, angle: float) -> None:
    q = HOME.copy()
    q[joint] = angle
    assert slowing(ArmPoints(UR5E, np.zeros(6)).at(q[None]), LIMITS)[0] == pytest.approx(SLOWEST)
