"""The arm with a tool on it: forward and inverse kinematics of the tool centre point (TCP)."""

from __future__ import annotations

import numpy as np

from vlasteer.kinematics import ArmModel, Vector, inverse_transform, matrix_pose, pose_matrix


class Arm:
    """Kinematics of one arm and its current tool.

    Attributes:
        model: geometry and limits.
        tcp: pose of the tool in the flange's frame, [6]; set with `set_tcp`.
    """

    def __init__(self, model: ArmModel, tcp: tuple[float, ...] | Vector = (0.0,) * 6) -> None:
        self.model = model
        self.set_tcp(np.array(tcp, np.float64))

    def set_tcp(self, tcp: Vector) -> None:
        """Change the tool; tcp is its pose [6] in the flange's frame."""
        self.tcp = tcp
        self._tool = pose_matrix(tcp)
        self._tool_inverse = inverse_transform(self._tool)

    def flange(self, q: Vector) -> Vector:
        """Pose [4, 4] of the flange in the base frame."""
        return self.model.forward(q)

    def forward(self, q: Vector) -> Vector:
        """Pose [4, 4] of the TCP in the base frame."""
        return self.model.forward(q) @ self._tool

    def pose(self, q: Vector) -> Vector:
        """Pose [6] of the TCP in the base frame."""
        return matrix_pose(self.forward(q))

    def jacobian(self, q: Vector) -> Vector:
        """Geometric Jacobian [6, 6] of the TCP in the base frame."""
        return self.model.jacobian(q, self._tool)

    def inverse(self, tcp_pose: Vector, near: Vector) -> Vector | None:
        """Joint angles [6] that put the TCP at the [4, 4] pose, the closest to `near`; None when there are none.

        Closed form. A real controller iterates from its calibrated model instead, and stops earlier near singularities.
        Where wrist_2 is zero, wrist_3 is not determined and stays as it is in `near`.
        """
        return self.model.inverse(tcp_pose @ self._tool_inverse, near)

    def within_limits(self, q: Vector) -> bool:
        """Whether every joint is finite and inside its range."""
        return bool(np.all(np.abs(q) <= self.model.joint_limit))
