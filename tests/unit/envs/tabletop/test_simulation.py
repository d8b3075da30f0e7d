"""The physics: what is asked for is done, what cannot be done is told, and nothing depends on the past."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vlasteer.envs.tabletop.layout import Layout, draw_layout
from vlasteer.envs.tabletop.simulation import (
    ACTION_SPEC,
    RATE_HZ,
    STATE_NAMES,
    WORKSPACE,
    Simulation,
)
from vlasteer.envs.tabletop.splits import TRAIN
from vlasteer.envs.tabletop.tasks import TaskKind, tasks_of
from vlasteer.errors import ConfigError, ConventionError, WorldError
from vlasteer.kinematics import rotation_matrix

STILL = np.array([0, 0, 0, 0, 0, 0, -1.0])


def _layout(kind: TaskKind = TaskKind.LIFT, seed: int = 0) -> Layout:
    return draw_layout(tasks_of(kind, TRAIN)[0], TRAIN, 0, seed)


def _move(*xyz: float, gripper: float = -1.0, turn: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    return np.array([*xyz, *turn, gripper])


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    made = Simulation(32)
    yield made
    made.close()


def test_the_hand_starts_where_the_layout_says(simulation: Simulation) -> None:
    for seed in range(5):
        layout = _layout(seed=seed)
        simulation.reset(layout)
        state = dict(zip(STATE_NAMES, simulation.state(), strict=True))
        np.testing.assert_allclose([state["eef_x"], state["eef_y"], state["eef_z"]], layout.hand, atol=1e-4)
        np.testing.assert_allclose([state["eef_rx"], state["eef_ry"], state["eef_rz"]], [np.pi, 0, 0], atol=1e-3)
        assert state["finger_left"] == pytest.approx(0.04, abs=1e-3)
        assert simulation.time_s == 0.0


def test_a_held_cube_is_held(simulation: Simulation) -> None:
    simulation.reset(_layout(TaskKind.TRANSPORT))
    for _ in range(20):
        simulation.step(_move(0, 0, 0.3, gripper=1.0))
    now = simulation.snapshot()
    assert np.linalg.norm(now.objects[0] - now.tcp) < 0.01
    for _ in range(6):
        simulation.step(STILL)
    now = simulation.snapshot()
    assert now.tcp[2] - now.objects[0][2] > 0.05  # and falls when the gripper opens


def test_standing_still_is_standing_still(simulation: Simulation) -> None:
    simulation.reset(_layout())
    before = simulation.state()
    for _ in range(60):
        simulation.step(STILL)
    np.testing.assert_allclose(simulation.state(), before, atol=5e-4)
    assert simulation.time_s == pytest.approx(60 / RATE_HZ)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("amount", [-0.9, 0.35])
def test_a_delta_moves_the_hand_by_it(simulation: Simulation, axis: int, amount: float) -> None:
    simulation.reset(_layout())
    for _ in range(3):  # room below
        simulation.step(_move(0, 0, 0.9))
    simulation.step(STILL)
    before = simulation.tcp
    action = STILL.copy()
    action[axis] = amount
    for _ in range(3):
        np.testing.assert_array_equal(simulation.step(action), action)
    expected = before.copy()
    expected[axis] += 3 * amount * ACTION_SPEC.scale[axis]
    np.testing.assert_allclose(simulation.tcp, expected, atol=2e-3)


def test_a_turn_turns_the_hand_by_it(simulation: Simulation) -> None:
    simulation.reset(_layout())
    for _ in range(4):
        executed = simulation.step(_move(0, 0, 0.3, turn=(0.0, 0.0, 0.2)))
        np.testing.assert_array_equal(executed[3:6], [0, 0, 0.2])
    simulation.step(STILL)
    turned = rotation_matrix([0, 0, 4 * 0.2 * 0.5]) @ np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(rotation_matrix(simulation.state()[3:6]), turned, atol=5e-3)


def test_orientation_does_not_jump_at_half_a_turn(simulation: Simulation) -> None:
    simulation.reset(_layout())
    seen = []
    for step in range(12):
        simulation.step(_move(0, 0, 0.2, turn=(0.15 if step % 6 < 3 else -0.15, 0.0, 0.0)))
        seen.append(simulation.state()[3:6])
    assert min(v[0] for v in seen) < np.pi < max(v[0] for v in seen)
    assert np.abs(np.diff(seen, axis=0)).max() < 0.2


def test_the_workspace_is_kept_and_told(simulation: Simulation) -> None:
    simulation.reset(_layout())
    executed = [simulation.step(_move(0, 0, -0.7)) for _ in range(8)]
    assert simulation.tcp[2] == pytest.approx(WORKSPACE[2][0], abs=2e-3)
    assert executed[0][2] == -0.7
    np.testing.assert_allclose(executed[-1], STILL, atol=1e-9)


def test_joints_keep_their_speed_and_it_is_told(simulation: Simulation) -> None:
    simulation.reset(_layout())
    asked = _move(0, 0, 0, turn=(0, 0, 1.0))  # 0.5 rad in 50 ms is ten radians a second
    executed = simulation.step(asked)
    assert 0.2 < executed[5] < 0.4
    np.testing.assert_allclose(executed[:5], 0, atol=1e-9)
    for _ in range(3):  # room below the table's neighbours
        simulation.step(STILL)
    turned = rotation_matrix([0, 0, 0.5 * executed[5]]) @ np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(rotation_matrix(simulation.state()[3:6]), turned, atol=5e-3)


def test_values_beyond_one_are_clipped(simulation: Simulation) -> None:
    simulation.reset(_layout())
    executed = simulation.step(_move(0, 0, 7.0, gripper=-3.0))
    simulation.reset(_layout())
    np.testing.assert_array_equal(executed, simulation.step(_move(0, 0, 1.0, gripper=-1.0)))


@pytest.mark.parametrize(
    "bad", [np.full(7, np.nan), np.zeros(6), np.zeros((1, 7)), np.array([0, 0, np.inf, 0, 0, 0, 0])]
)
def test_what_is_no_action_steps_nothing(simulation: Simulation, bad: np.ndarray) -> None:
    simulation.reset(_layout())
    before, time_s = simulation.state(), simulation.time_s
    with pytest.raises(ConventionError, match="7 finite numbers"):
        simulation.step(bad)
    np.testing.assert_array_equal(simulation.state(), before)
    assert simulation.time_s == time_s


def test_an_arm_that_is_held_back_gives_way(simulation: Simulation) -> None:
    simulation.reset(_layout())
    while simulation.tcp[2] > 0.02:
        simulation.step(_move(0, 0, -0.5, gripper=1.0))
    for _ in range(15):  # straight through a bin's wall it would have to push the bin, which nothing moves
        simulation.step(_move(0.6, 0, 0, gripper=1.0))
    stuck = simulation.tcp
    for _ in range(3):
        simulation.step(_move(-0.6, 0, 0, gripper=1.0))
    assert simulation.tcp[0] < stuck[0] - 0.03  # there is no stored way to be undone first


def test_without_an_episode_there_is_nothing() -> None:
    fresh = Simulation(32)
    for attempt in (fresh.snapshot, fresh.pictures, lambda: fresh.step(STILL)):
        with pytest.raises(WorldError, match="no episode"):
            attempt()


@pytest.mark.parametrize("size", [0, 8, 1000])
def test_impossible_pictures_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="image size"):
        Simulation(size)


ACTIONS = arrays(np.float64, (12, 7), elements=st.floats(-1, 1))


@given(ACTIONS, ACTIONS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_actions_give_the_same_bits_whatever_came_before(
    simulation: Simulation, actions: np.ndarray, other: np.ndarray
) -> None:
    def run(layout: Layout, steps: np.ndarray, draw: bool) -> list[np.ndarray]:
        simulation.reset(layout)
        seen = [simulation.state()]
        for step in steps:
            seen.append(simulation.step(step))
            seen.append(simulation.state())
            if draw:
                simulation.pictures()
        return [*seen, *simulation.snapshot().objects, *simulation.pictures().values()]

    first = run(_layout(), actions, draw=False)
    run(_layout(TaskKind.TRANSPORT, 3), other, draw=True)
    for one, same in zip(first, run(_layout(), actions, draw=True), strict=True):
        np.testing.assert_array_equal(one, same)


@given(ACTIONS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_stays_finite_and_within_bounds(simulation: Simulation, actions: np.ndarray) -> None:
    simulation.reset(_layout(TaskKind.PUSH))
    for action in np.sign(actions):  # the worst: all at once, back and forth
        executed = simulation.step(action)
        assert np.all(np.abs(executed) <= 1 + 1e-9)
        assert np.all(np.isfinite(simulation.state()))
        for position, (low, high) in zip(simulation.tcp, WORKSPACE, strict=True):
            assert low - 0.03 < position < high + 0.03
