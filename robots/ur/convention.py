"""A robot's numbers as policies have them: the state that they see, the actions that they give.

What a policy sees:

- with ee_delta actions: position (m) and rotation vector (rad) of the tool in the axes of `ActionConfig.frame`, then
  both fingers' positions (m, 0 closed to 0.04 open). That is what the tabletop shows: its policies can drive the arm.
- with joint_target actions: the six joint angles (rad), then the gripper (0 open to 1 closed), as openpi's UR5.

The rotation vector turns about +x rather than -x, with an angle in [0, 2 pi): a tool that points down is half a turn
about x, where the shorter vector jumps between signs.
"""

from __future__ import annotations

import math

import numpy as np

from vlasteer.kinematics import Vector, pose_matrix, rotation_vector
from vlasteer.robots.ur.config import RobotConfig
from vlasteer.types import ActionKind, Gripper

FINGER_TRAVEL = 0.04
"""What an open finger reports, m: the tabletop's and LIBERO's."""
_END_EFFECTOR = ("eef_x", "eef_y", "eef_z", "eef_rx", "eef_ry", "eef_rz", "finger_left", "finger_right")
_JOINTS = ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "gripper")
_TO_OPENING = {  # opening = offset + factor * command
    Gripper.ZERO_CLOSED_ONE_OPEN: (0.0, 1.0),
    Gripper.ZERO_OPEN_ONE_CLOSED: (1.0, -1.0),
    Gripper.MINUS_OPEN_PLUS_CLOSED: (0.5, -0.5),
}


class Convention:
    """Of one robot.

    Attributes:
        state_names: one per number of the state.
        open: the gripper command that opens.
    """

    def __init__(self, config: RobotConfig) -> None:
        spec = config.action.spec
        self._config, self._scale = config, np.array(spec.scale)
        self._offset, self._factor = _TO_OPENING[spec.gripper]
        self._by_joints = spec.kind is ActionKind.JOINT_TARGET
        self._tool, self._to_policy = pose_matrix(config.tcp), config.action.rotation.T
        self.state_names: tuple[str, ...] = _JOINTS if self._by_joints else _END_EFFECTOR
        self.open = (1.0 - self._offset) / self._factor

    def state(self, q: Vector, tcp_pose: Vector, opening: float) -> Vector:
        """float64 [7 or 8] of joint angles [6] (rad), pose [6] (base frame) and opening (0 closed to 1 open)."""
        if self._by_joints:
            return np.array([*q, 1.0 - opening])
        pose = pose_matrix(tcp_pose)
        turned = rotation_vector(self._to_policy @ pose[:3, :3])
        if turned[0] < 0:
            turned = turned * (1.0 - 2 * math.pi / float(np.linalg.norm(turned)))
        finger = FINGER_TRAVEL * opening
        return np.array([*(self._to_policy @ pose[:3, 3]), *turned, finger, finger])

    def motions(self, actions: Vector) -> Vector:
        """Actions [n, 7] -> what the servo process takes [n, 6]: SI units, deltas in the base frame's axes."""
        motions = actions[:, :-1] * self._scale
        if self._by_joints:
            return motions
        return np.hstack([self._config.to_base(motions[:, :3]), self._config.to_base(motions[:, 3:])])

    def openings(self, grippers: Vector) -> Vector:
        """Gripper commands [n] -> openings [n], 0 closed to 1 open; beyond that they are clipped."""
        return np.clip(self._offset + self._factor * grippers, 0.0, 1.0)

    def executed(self, before: Vector, after: Vector, gripper: float) -> Vector:
        """The action [7] that leads from joint angles `before` to `after`."""
        if self._by_joints:
            return np.array([*(after / self._scale), gripper])
        arm = self._config.arm
        one, other = arm.forward(before) @ self._tool, arm.forward(after) @ self._tool
        moved = self._to_policy @ (other[:3, 3] - one[:3, 3])
        turned = self._to_policy @ rotation_vector(other[:3, :3] @ one[:3, :3].T)
        return np.array([*(np.concatenate([moved, turned]) / self._scale), gripper])
