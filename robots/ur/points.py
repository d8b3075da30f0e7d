"""Where tool and elbow are at many joint angles at once: what the safety filter looks at every tick.

The same geometry as `vlasteer.kinematics.ArmModel`, written out for arms of UR's build (three parallel axes, then two
right angles) and for arrays; tests hold the two together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vlasteer.kinematics import ArmModel, Vector, pose_matrix
from vlasteer.robots.ur.limits import Limits


@dataclass(frozen=True)
class Points:
    """At n joint angles, in the base frame.

    Attributes:
        tool: [3, n] position of the tool point, m.
        axes: [9, n] the flange's three axes one below the other.
        elbow: [3, n] position of the elbow, m.
        sine_elbow, sine_wrist: [n] of the elbow's and wrist_2's angle.
        wrist_way: [n] distance of the wrist from the plane in which the shoulder is singular, m.
    """

    tool: Vector
    axes: Vector
    elbow: Vector
    sine_elbow: Vector
    sine_wrist: Vector
    wrist_way: Vector

    def pick(self, i: int) -> Points:
        """Those at the i-th joint angles alone."""
        one = slice(i, i + 1)
        return Points(
            self.tool[:, one],
            self.axes[:, one],
            self.elbow[:, one],
            self.sine_elbow[one],
            self.sine_wrist[one],
            self.wrist_way[one],
        )


class ArmPoints:
    """The geometry of one arm with one tool.

    Args:
        arm: the arm.
        tcp: pose [6] of the tool point in the flange's frame, m and rad.
    """

    def __init__(self, arm: ArmModel, tcp: Vector) -> None:
        self.arm = arm
        self.tool = pose_matrix(np.asarray(tcp, np.float64))
        self._offset = tuple(float(v) for v in self.tool[:3, 3])

    def at(self, q: Vector) -> Points:
        """At joint angles q [n, 6]."""
        d, a = self.arm.d, self.arm.a
        angles = np.empty((6, len(q)))
        angles[0], angles[1], angles[4], angles[5] = q[:, 0], q[:, 1], q[:, 4], q[:, 5]
        angles[2] = q[:, 1] + q[:, 2]
        angles[3] = angles[2] + q[:, 3]
        (s1, s2, s23, st, s5, s6), (c1, c2, c23, ct, c5, c6) = np.sin(angles), np.cos(angles)
        reach = a[1] * c2  # of the elbow, in the vertical plane of the arm
        rise = d[0] + a[1] * s2
        wrist = reach + a[2] * c23 + d[4] * st
        # The arm's plane: x along the forearm's sum of angles, y across it, n its normal.
        xx, xy, xz = c1 * ct, s1 * ct, st
        nx, ny = s1, -c1
        axes = np.empty((9, len(q)))
        axes[6], axes[7], axes[8] = c5 * nx - s5 * xx, c5 * ny - s5 * xy, -s5 * xz
        ux, uy, uz = c5 * xx + s5 * nx, c5 * xy + s5 * ny, c5 * xz
        vx, vy, vz = -c1 * st, -s1 * st, ct
        axes[0], axes[1], axes[2] = c6 * ux + s6 * vx, c6 * uy + s6 * vy, c6 * uz + s6 * vz
        axes[3], axes[4], axes[5] = c6 * vx - s6 * ux, c6 * vy - s6 * uy, c6 * vz - s6 * uz
        x, y, z = self._offset
        tool = x * axes[0:3] + y * axes[3:6] + (z + d[5]) * axes[6:9]
        tool[0] += c1 * wrist + d[3] * nx
        tool[1] += s1 * wrist + d[3] * ny
        tool[2] += rise + a[2] * s23 - d[4] * ct
        elbow = np.empty((3, len(q)))
        elbow[0], elbow[1], elbow[2] = c1 * reach, s1 * reach, rise
        return Points(tool, axes, elbow, np.sin(q[:, 2]), s5, wrist)

    def pose(self, q: Vector) -> Vector:
        """[4, 4] pose of the tool at joint angles [6]."""
        return self.arm.forward(q) @ self.tool


def turns(before: Vector, after: Vector) -> Vector:
    """Angles [n] in rad between orientations whose axes are [9, n]."""
    distance = np.sqrt(((after - before) ** 2).sum(axis=0))  # 2 sqrt(2) sin(angle / 2), exact for small ones too
    return 2.0 * np.arcsin(np.minimum(distance / _FROBENIUS, 1.0))


def slowing(points: Points, limits: Limits) -> Vector:
    """Share [n] of its speed that a joint may have, by the nearest singularity: 1 away from all, `SLOWEST` in one.

    A tool that is to move straight makes the joints fast there and the inverse kinematics of a noisy pose jump.
    """
    near = np.minimum(
        np.minimum(
            np.abs(points.sine_wrist) / limits.singular_wrist, np.abs(points.sine_elbow) / limits.singular_elbow
        ),
        np.abs(points.wrist_way) / limits.singular_shoulder,
    )
    return np.clip(near, SLOWEST, 1.0)


SLOWEST = 0.1
_FROBENIUS = 2.0 * math.sqrt(2.0)
