"""The arms' geometry: against an independent library, against derivatives, and there and back again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.errors import UnknownNameError
from vlasteer.kinematics import (
    ARMS,
    UR5E,
    ArmModel,
    arm_model,
    inverse_transform,
    matrix_pose,
    pose_matrix,
    rotation_matrix,
    rotation_vector,
)

MODELS = pytest.mark.parametrize("model", ARMS.values(), ids=ARMS)
HALF = math.pi / 2
# Angles that real programs use, and that make special cases of the geometry, among all others.
ANGLE = st.one_of(st.sampled_from([0.0, HALF, -HALF, math.pi, -math.pi]), st.floats(-6.2, 6.2))
ANGLES = st.lists(ANGLE, min_size=6, max_size=6).map(np.array)
COORDINATE = st.floats(-2.0, 2.0)


@MODELS
@given(q=ANGLES)
def test_forward_kinematics_are_those_of_ur_analytic_ik(model: ArmModel, q: np.ndarray) -> None:
    library = pytest.importorskip("ur_analytic_ik", reason="ur-analytic-ik has no wheel for this Python")
    np.testing.assert_allclose(model.forward(q), getattr(library, model.name).forward_kinematics(*q), atol=1e-14)


@MODELS
@given(q=ANGLES)
def test_inverse_kinematics_find_the_way_back(model: ArmModel, q: np.ndarray) -> None:
    flange = model.forward(q)
    found = model.inverse(flange, q)
    assert found is not None
    np.testing.assert_allclose(model.forward(found), flange, atol=1e-9)
    # Where axes line up, other angles give the same pose, and a little rounding can choose between them.
    lined_up = min(abs(math.sin(q[4])), abs(math.sin(q[2]))) < 1e-4 or _over_the_shoulder(model, flange) < 1e-4
    if not lined_up:
        np.testing.assert_allclose(found, q, atol=1e-5)


def _over_the_shoulder(model: ArmModel, flange: np.ndarray) -> float:
    wrist = flange[:3, 3] - model.d[5] * flange[:3, 2]
    return math.hypot(wrist[0], wrist[1]) - model.d[3]


@MODELS
def test_inverse_kinematics_at_a_pose_that_ur_analytic_ik_misses(model: ArmModel) -> None:
    # Tool straight down, wrist_2 at a right angle and wrist_3 at zero: the home pose of half of all programs.
    q = np.array([0.3, -HALF, HALF, -HALF, -HALF, 0.0])
    found = model.inverse(model.forward(q), q)
    assert found is not None
    np.testing.assert_allclose(found, q, atol=1e-12)


@MODELS
@given(q=ANGLES)
def test_every_solution_reaches_the_pose(model: ArmModel, q: np.ndarray) -> None:
    flange = model.forward(q)
    solutions = model.inverse_all(flange, q[5])
    assert 1 <= len(solutions) <= 8
    for solution in solutions:
        np.testing.assert_allclose(model.forward(solution), flange, atol=1e-9)


def test_the_closest_solution_keeps_whole_turns() -> None:
    q = np.array([5.0, -1.2, 1.1, -4.5, -1.4, -5.5])
    found = UR5E.inverse(UR5E.forward(q), q)
    assert found is not None
    np.testing.assert_allclose(found, q, atol=1e-9)


def test_no_solution_stays_outside_the_joints_range() -> None:
    q = np.array([0.1, -1.2, 1.1, -1.3, -1.4, 6.2])
    turned = UR5E.forward(q + np.array([0, 0, 0, 0, 0, 0.2]))  # 6.4 is more than a whole turn
    found = UR5E.inverse(turned, q)
    assert found is not None
    assert np.all(np.abs(found) <= UR5E.joint_limit)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_inverse_kinematics_refuse_what_is_no_number(value: float) -> None:
    flange = UR5E.forward(np.ones(6))
    assert UR5E.inverse(flange, np.full(6, value)) is None
    flange[0, 3] = value
    assert UR5E.inverse(flange, np.ones(6)) is None


@pytest.mark.parametrize("position", [(1.2, 0.0, 0.2), (0.0, 0.0, 0.3), (0.0, 0.05, 0.5)])
def test_inverse_kinematics_out_of_reach(position: tuple[float, float, float]) -> None:
    flange = np.eye(4)
    flange[:3, 3] = position  # beyond the stretched arm, or inside the cylinder of the shoulder
    assert UR5E.inverse(flange, np.zeros(6)) is None


@MODELS
@given(q=ANGLES, tool=st.lists(COORDINATE, min_size=6, max_size=6))
def test_jacobian_is_the_derivative(model: ArmModel, q: np.ndarray, tool: list[float]) -> None:
    frame, step = pose_matrix(tool), 1e-6
    jacobian = model.jacobian(q, frame)
    for joint in range(6):
        delta = np.zeros(6)
        delta[joint] = step
        before, after = model.forward(q - delta) @ frame, model.forward(q + delta) @ frame
        linear = (after[:3, 3] - before[:3, 3]) / (2 * step)
        angular = rotation_vector(after[:3, :3] @ before[:3, :3].T) / (2 * step)
        np.testing.assert_allclose(jacobian[:, joint], [*linear, *angular], atol=1e-6)


@MODELS
@given(q=ANGLES)
def test_mass_matrix_is_symmetric_and_positive(model: ArmModel, q: np.ndarray) -> None:
    inertia = model.mass_matrix(q)
    np.testing.assert_allclose(inertia, inertia.T, atol=1e-12)
    assert np.linalg.eigvalsh(inertia).min() > -1e-9


@given(vector=st.lists(st.floats(-1.8, 1.8), min_size=3, max_size=3).map(np.array))  # less than half a turn
def test_rotation_vector_there_and_back(vector: np.ndarray) -> None:
    np.testing.assert_allclose(rotation_vector(rotation_matrix(vector)), vector, atol=1e-9)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, -0.8, 0), (-0.6, 0, 0.8)])
@pytest.mark.parametrize("angle", [math.pi, math.pi - 1e-9, 1e-13, 1e-8])
def test_rotation_vector_at_half_turns_and_next_to_none(axis: tuple[float, float, float], angle: float) -> None:
    vector = np.array(axis) * angle
    matrix = rotation_matrix(vector)
    np.testing.assert_allclose(rotation_matrix(rotation_vector(matrix)), matrix, atol=1e-12)


@given(pose=st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6))
def test_pose_there_and_back(pose: list[float]) -> None:
    matrix = pose_matrix(pose)
    np.testing.assert_allclose(matrix_pose(matrix), pose, atol=1e-9)
    np.testing.assert_allclose(matrix @ inverse_transform(matrix), np.eye(4), atol=1e-12)


def test_unknown_arm_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="ur5e"):
        arm_model("ur6e")
