"""The walls: joint ranges, the boxes of tool and elbow, the table.

They stand a little inside of the configured ones, so that an arm that came to rest at one can start again from there,
measured a millimetre beyond. What stands between the inner and the configured wall may stay and go back, not further.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlasteer.kinematics import Vector
from vlasteer.robots.ur.limits import Limits, Workspace
from vlasteer.robots.ur.points import ArmPoints, Points
from vlasteer.robots.ur.reasons import Reason

Kept = NDArray[np.bool_]

WALL = 0.005
"""How far inside of the configured walls those of the filter are, m."""
JOINT_WALL = 0.01
"""Likewise of the joints' margin, rad."""


class Walls:
    """The walls of one arm in one workspace."""

    def __init__(self, points: ArmPoints, limits: Limits, workspace: Workspace) -> None:
        tool_low = np.array([*workspace.tcp_low[:2], workspace.tool_floor])
        elbow_low = np.array([*workspace.elbow_low[:2], workspace.elbow_floor])
        self._points = points
        self._outer = (tool_low, np.array(workspace.tcp_high), elbow_low, np.array(workspace.elbow_high))
        self._inner = tuple(wall + side * WALL for wall, side in zip(self._outer, (1, -1, 1, -1), strict=True))
        self._outer_joints = np.array(points.arm.joint_limit) - limits.joint_margin
        self._joints = self._outer_joints - JOINT_WALL
        self._tool_floor = Reason.TABLE if workspace.tool_floor > workspace.tcp_low[2] else Reason.TCP_WORKSPACE
        self._elbow_floor = Reason.TABLE if workspace.elbow_floor > workspace.elbow_low[2] else Reason.ELBOW_WORKSPACE

    def problem(self, q: Vector) -> str:
        """What of joint angles [6] is outside of the configured limits, in words; "" where all is inside."""
        here = self._points.at(q[None])
        for joint, (angle, limit) in enumerate(zip(q, self._outer_joints, strict=True)):
            if abs(angle) > limit:
                return f"joint {joint} is at {angle:.3f} rad, its range less the margin ends at {limit:.3f}"
        for name, point, low, high in (
            ("tool point", here.tool[:, 0], *self._outer[:2]),
            ("elbow", here.elbow[:, 0], *self._outer[2:]),
        ):
            for axis, value, a, b in zip("xyz", point, low, high, strict=True):
                if not a <= value <= b:
                    return f"the {name} is at {axis} = {value:.3f} m, its workspace is {a:.3f} to {b:.3f}"
        return ""

    def joints_inside(self, q: Vector, now: Vector) -> Vector:
        """Joint angles [6] moved back into their ranges, seen from `now`."""
        return np.clip(q, np.minimum(-self._joints, now), np.maximum(self._joints, now))

    def inside(self, position: Vector, now: Vector) -> Vector:
        """A position [3] of the tool moved back into its box, well inside, seen from the position `now`."""
        low, high = self._inner[0] + WALL, self._inner[1] - WALL
        return np.clip(position, np.minimum(low, now), np.maximum(high, now))

    def outside(self, now: Vector, q: Vector) -> Reason:
        """Which walls joint angles q [6] are beyond, seen from those of `now`."""
        here, there = self._points.at(now[None]), self._points.at(q[None])
        checks = self.checks(now, here, q[None, None], there.tool[:, None], there.elbow[:, None])
        return sum((reason for kept, reason in checks if not kept.all()), Reason(0))

    def checks(self, q: Vector, here: Points, ways: Vector, tool: Vector, elbow: Vector) -> list[tuple[Kept, Reason]]:
        """Whether ways [k, n, 6] from q with points [3, k, n] stay inside, [k, n], each with what it says when not."""
        turned = (ways >= np.minimum(-self._joints, q)) & (ways <= np.maximum(self._joints, q))
        joints: Kept = np.all(turned, axis=2)
        found = [(joints, Reason.JOINT_LIMIT)]
        for now, then, low, high, side, floor in (
            (here.tool[:, 0], tool, *self._inner[:2], Reason.TCP_WORKSPACE, self._tool_floor),
            (here.elbow[:, 0], elbow, *self._inner[2:], Reason.ELBOW_WORKSPACE, self._elbow_floor),
        ):
            above = then >= np.minimum(low, now)[:, None, None]
            below = then <= np.maximum(high, now)[:, None, None]
            found += [(above[0] & above[1] & below.all(axis=0), side), (above[2], floor)]
        return found
