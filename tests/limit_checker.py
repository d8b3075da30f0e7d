"""Whether a stream of joint commands keeps the limits, judged from the commands alone.

Shares nothing with the filter but the arm's forward kinematics and the numbers of the configuration: speeds are
differences of positions, accelerations differences of speeds, and every quantity is computed one configuration at a
time. Made for the filter's output and for the `servoj` targets in the wire log of the twin alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vlasteer.kinematics import ArmModel, Vector, pose_matrix, rotation_vector
from vlasteer.robots.ur.limits import Limits, Workspace

TOLERANCE = 1e-6
"""Of rounding, relative and absolute; targets on the wire are integers of 1e-6 at the coarsest."""


@dataclass(frozen=True)
class Violation:
    """One limit that one command broke."""

    tick: int
    what: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"tick {self.tick}: {self.what} {self.value:.6g}, limit {self.limit:.6g}"


def violations(
    commands: ArrayLike,
    dt: float,
    arm: ArmModel,
    tcp: ArrayLike,
    limits: Limits,
    workspace: Workspace,
    *,
    before: ArrayLike | None = None,
) -> list[Violation]:
    """Everything that commands [n, 6] (rad), `dt` seconds apart, break.

    `before` is where the arm stood at rest before the first of them; None takes the first command for it.
    """
    path = np.asarray(commands, np.float64)
    path = np.vstack([path[:1] if before is None else np.asarray(before, np.float64)[None], path])
    found: list[Violation] = []
    for tick in np.flatnonzero(~np.isfinite(path).all(axis=1)):
        found.append(Violation(int(tick) - 1, "no number", math.nan, math.nan))
    if found:
        return found
    tool = pose_matrix(np.asarray(tcp, np.float64))
    frames = [arm.frames(q) for q in path]
    tips = [frame[6] @ tool for frame in frames]
    elbows = [frame[2][:3, 3] for frame in frames]
    shares = [_share(frame, limits) for frame in frames]
    speeds = np.vstack([np.zeros(6), np.diff(path, axis=0) / dt])

    def check(tick: int, what: str, value: float, limit: float, *, at_least: bool = False) -> None:
        slack = TOLERANCE * max(1.0, abs(limit))
        if value < limit - slack if at_least else value > limit + slack:
            found.append(Violation(tick - 1, what, value, limit))

    for i in range(1, len(path)):
        for j in range(6):
            check(i, f"joint {j} angle", abs(path[i, j]), arm.joint_limit[j] - limits.joint_margin)
            share = min(shares[i - 1], shares[i])
            check(i, f"joint {j} speed", abs(speeds[i, j]), min(limits.joint_speed * share, arm.joint_speed[j]))
            check(i, f"joint {j} step", abs(path[i, j] - path[i - 1, j]), limits.joint_speed * dt)
            gained = abs(speeds[i, j] - speeds[i - 1, j]) / dt
            check(i, f"joint {j} acceleration", gained, limits.joint_acceleration)
        check(i, "tcp speed", float(np.linalg.norm(tips[i][:3, 3] - tips[i - 1][:3, 3])) / dt, limits.tcp_speed)
        turn = float(np.linalg.norm(rotation_vector(tips[i][:3, :3] @ tips[i - 1][:3, :3].T)))
        check(i, "tcp turn", turn / dt, limits.tcp_turn)
        check(i, "elbow speed", float(np.linalg.norm(elbows[i] - elbows[i - 1])) / dt, limits.elbow_speed)
        for name, point, low, high, clearance in (
            ("tcp", tips[i][:3, 3], workspace.tcp_low, workspace.tcp_high, workspace.tool_clearance),
            ("elbow", elbows[i], workspace.elbow_low, workspace.elbow_high, workspace.elbow_clearance),
        ):
            for axis in range(3):
                check(i, f"{name} {'xyz'[axis]} low", float(point[axis]), low[axis], at_least=True)
                check(i, f"{name} {'xyz'[axis]} high", float(point[axis]), high[axis])
            check(i, f"{name} table", float(point[2]), workspace.table_z + clearance, at_least=True)
    return found


def _share(frames: Vector, limits: Limits) -> float:
    """Share of the joints' speed that is allowed near singularities, from the frames [7, 4, 4]."""
    axis_x = frames[:, :3, 0]
    axis_z = frames[:, :3, 2]
    elbow = float(np.linalg.norm(np.cross(axis_x[2], axis_x[3])))  # upper arm and forearm in line
    wrist = float(np.linalg.norm(np.cross(axis_z[3], axis_z[5])))  # axes of wrist_1 and wrist_3 parallel
    shoulder = abs(float(axis_x[1] @ frames[5, :3, 3]))  # wrist above the base
    near = min(elbow / limits.singular_elbow, wrist / limits.singular_wrist, shoulder / limits.singular_shoulder, 1.0)
    return max(near, 0.1)
