"""The robot's numbers are those of the tabletop, so that what was trained there can drive it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vlasteer.kinematics import UR5E, matrix_pose, pose_matrix
from vlasteer.robots.ur.config import TABLETOP_TCP, ActionConfig, RobotConfig
from vlasteer.robots.ur.convention import Convention
from vlasteer.types import Gripper

CONFIG = RobotConfig.of_twin("127.0.0.2")


def test_the_state_is_that_of_the_tabletop() -> None:
    from vlasteer.envs import tabletop
    from vlasteer.types import EpisodeKey

    world = tabletop.make("tabletop_transport", resolution=32)
    convention = Convention(CONFIG)
    assert convention.state_names == world.state_names
    assert CONFIG.action.spec == world.action_spec
    for start in range(4):
        world.reset(EpisodeKey(0, start, 0))
        for _ in range(3):
            world.act(np.array([0.3, -0.2, -0.1, 0.1, 0.2, -0.3, 1.0 - 2 * (start % 2)]), look=False)
        seen = world.observe().state
        simulation = world._simulation
        q = simulation.data.qpos[:6].copy()
        pose = matrix_pose(UR5E.forward(q) @ pose_matrix(np.array(TABLETOP_TCP)))
        fingers = simulation.data.qpos[6:8]
        state = convention.state(q, pose, float(fingers.mean()) / 0.04)
        assert seen is not None
        np.testing.assert_allclose(state[:6], seen[:6], atol=1e-9)
        np.testing.assert_allclose(state[6:], seen[6:], atol=2e-3)
    world.close()


@pytest.mark.parametrize("kind", ["ee_delta", "joint_target"])
def test_what_is_executed_says_what_was_commanded(kind: str) -> None:
    action = ActionConfig(kind="joint_target") if kind == "joint_target" else CONFIG.action
    config = replace(CONFIG, action=action)
    convention = Convention(config)
    q = np.array([0.3, -1.7, 2.0, -1.9, -1.5, 0.2])
    if kind == "joint_target":
        command = np.array([*(q + 0.01), 0.5])
        after = convention.motions(command[None])[0]
    else:
        command = np.array([0.2, -0.1, 0.3, 0.05, -0.1, 0.2, 0.5])
        motion = convention.motions(command[None])[0]
        tool = pose_matrix(np.array(config.tcp))
        pose = UR5E.forward(q) @ tool
        turned = pose_matrix(np.array([0.0, 0.0, 0.0, *motion[3:]]))[:3, :3] @ pose[:3, :3]
        pose[:3, 3] += motion[:3]
        pose[:3, :3] = turned
        found = UR5E.inverse(pose @ np.linalg.inv(tool), q)
        assert found is not None
        after = found
    np.testing.assert_allclose(convention.executed(q, after, 0.5), command, atol=1e-9)


@pytest.mark.parametrize(
    ("gripper", "commands", "openings", "opens"),
    [
        (Gripper.MINUS_OPEN_PLUS_CLOSED, [-1.0, 0.0, 1.0, 3.0], [1.0, 0.5, 0.0, 0.0], -1.0),
        (Gripper.ZERO_OPEN_ONE_CLOSED, [0.0, 0.25, 1.0, 3.0], [1.0, 0.75, 0.0, 0.0], 0.0),
        (Gripper.ZERO_CLOSED_ONE_OPEN, [0.0, 0.25, 1.0, 3.0], [0.0, 0.25, 1.0, 1.0], 1.0),
    ],
)
def test_grippers(gripper: Gripper, commands: list[float], openings: list[float], opens: float) -> None:
    convention = Convention(replace(CONFIG, action=replace(CONFIG.action, gripper=gripper)))
    np.testing.assert_allclose(convention.openings(np.array(commands)), openings)
    assert convention.open == opens
