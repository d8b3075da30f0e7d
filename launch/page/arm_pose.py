"""Where the arm is: from a robot's status, or from what a simulation says of its end effector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlasteer.kinematics import UR5E, ArmModel, inverse_transform, pose_matrix

if TYPE_CHECKING:
    from vlasteer.live import LiveStatus

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ArmPose:
    """How the arm stands.

    Attributes:
        position: float64 [3] of the tool, m, in the frame of the scene.
        pose: [4, 4] of the tool in that frame, or None where only its position is known.
        joints: float64 [6], rad; None where they are not known.
        gripper: opening from 0 to 1; NaN when not known.
        speed: of the tool, m/s; NaN when not known.
    """

    position: Vector
    pose: Vector | None
    joints: Vector | None
    gripper: float
    speed: float


class ArmFollower:
    """Reads poses off statuses. A robot's frame is its base's; a simulation's is its world's.

    `read` is for the thread of the loop and costs little, `solve` for the one that draws.

    Args:
        arm: of the robot.
        base: [4, 4] pose of the arm's base in a simulation's world; None when no arm stands there that we know.
        tool: [4, 4] pose of the tool that the simulation speaks of in the flange's frame.
    """

    def __init__(self, arm: ArmModel = UR5E, base: Vector | None = None, tool: Vector | None = None) -> None:
        self.arm, self.base = arm, base
        self._to_flange = np.eye(4) if tool is None else inverse_transform(tool)
        self._joints: Vector | None = None
        self._last: tuple[float, Vector] | None = None

    def read(self, status: LiveStatus) -> ArmPose | None:
        """How the arm stands, or None where nothing is known of it."""
        robot, seen = status.robot, status.observation
        if robot is not None:
            pose = pose_matrix(robot.tcp_pose)
            return ArmPose(pose[:3, 3], pose, robot.joints, robot.gripper, robot.tcp_speed_m_s)
        if seen is None or seen.state is None or len(seen.state) < 3:
            return None
        position = np.asarray(seen.state[:3], np.float64)
        speed = self._speed(seen.time_s, position)
        if len(seen.state) < 6:
            return ArmPose(position, None, None, np.nan, speed)
        pose = pose_matrix(seen.state[:6])
        opening = float(np.clip(np.abs(seen.state[6:8]).sum() / 0.08, 0, 1)) if len(seen.state) >= 8 else np.nan
        return ArmPose(position, pose, None, opening, speed)

    def solve(self, pose: ArmPose) -> ArmPose:
        """With joint angles, where they can be told from the tool's pose."""
        if self.base is None or pose.joints is not None or pose.pose is None:
            return pose
        flange = inverse_transform(self.base) @ pose.pose @ self._to_flange
        found = self.arm.inverse(flange, _ELBOW_UP if self._joints is None else self._joints)
        self._joints = found if found is not None else self._joints
        return replace(pose, joints=self._joints)

    def _speed(self, time_s: float, position: Vector) -> float:
        # Of the world's own time, in which a simulation that waits for its policy does not move.
        last, self._last = self._last, (time_s, position)
        if last is None or not 0 < time_s - last[0] < 1.0:
            return np.nan if last is None or last[0] != time_s else 0.0
        return float(np.linalg.norm(position - last[1]) / (time_s - last[0]))


_ELBOW_UP = np.array([0.0, -1.74, 2.04, -1.87, -1.57, 0.0])


def follower_of(world_name: str, arm: ArmModel) -> ArmFollower:
    """The follower for a world: of the tabletop it is known where its arm stands."""
    if not world_name.startswith("tabletop"):
        return ArmFollower(arm)
    from vlasteer.envs.tabletop.gripper import TCP_OFFSET

    tool = np.eye(4)
    tool[2, 3] = TCP_OFFSET
    return ArmFollower(UR5E, np.diag([-1.0, -1.0, 1.0, 1.0]), tool)
