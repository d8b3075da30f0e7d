"""Action chunks to wanted joint angles: waypoints, the time from one to the next, and a smooth way along them.

Three stages, all in joint space and all anchored on the last command:

1. An action becomes a waypoint when it is its turn. A joint target is one. A delta of the end effector is chained to
   the waypoint before it and solved by the inverse kinematics nearest to it; where there is no solution, or only one by
   a jump to another branch, the action is left out: the arm waits for its period, the next delta goes on from there.
2. A reference goes in a straight line from waypoint to waypoint, each in one action's period, or in as much more as the
   limits on speed ask for: the path stays, time is stretched.
3. The command follows the reference: critically damped, and never faster than it can brake before the reference. So it
   comes to rest without overshoot where the reference stands, which it does when no action is left; it lags a moving
   one by about 0.1 s. When it falls back further, because the filter holds it, the reference waits.

A new chunk replaces the actions that have not begun. A delta that has begun is finished first, in less than a period:
arrivals that jitter lose nothing by it. Joint targets are absolute and lead away at once. Fewer actions than fill the
time until the next chunk is expected (a policy that answers slowly, and with one action) are spread over that time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from vlasteer.kinematics import Vector, inverse_transform, rotation_matrix
from vlasteer.robots.ur.limits import Limits
from vlasteer.robots.ur.points import ArmPoints, slowing, turns
from vlasteer.robots.ur.reasons import Reason
from vlasteer.robots.ur.walls import Walls
from vlasteer.types import ActionKind


@dataclass
class _Segment:
    """A straight line in joint space, `duration` seconds long, of which `at` seconds are done."""

    start: Vector
    end: Vector
    duration: float
    reasons: Reason
    shortest: float
    at: float = 0.0

    @property
    def point(self) -> Vector:
        return self.start + (self.end - self.start) * min(1.0, self.at / self.duration)

    @property
    def speed(self) -> float:
        return float(np.abs(self.end - self.start).max()) / self.duration

    def hurry(self, left: float) -> None:
        """End within `left` seconds: faster as far as the limits allow; what then takes longer is cut off."""
        if self.duration - self.at <= left:
            return
        start, quickest = self.point, self.shortest * (1.0 - self.at / self.duration)
        if quickest > left:
            self.end = start + (self.end - start) * (left / quickest)
        self.start, self.at, self.duration, self.shortest = start, 0.0, left, min(quickest, left)


class Trajectory:
    """Wanted joint angles of one arm. Deterministic.

    Attributes:
        step: which action of the newest chunk the reference is at; -1 before the first.
        stretch: by how much the limits lengthen that action; 1 where they do not.
    """

    def __init__(self, points: ArmPoints, limits: Limits, walls: Walls, period_s: float) -> None:
        self._points, self._limits, self._walls, self._dt = points, limits, walls, period_s
        self._tool_inverse = inverse_transform(points.tool)
        self._actions: deque[tuple[int, Vector]] = deque()
        self._kind, self._step_s = ActionKind.JOINT_TARGET, 0.05
        self._segment: _Segment | None = None
        self._reference: Vector | None = None
        self._pace, self._waits = 0.0, False
        self.step, self.stretch = -1, 1.0

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to execute; the command may still be on its way to the last waypoint."""
        return self._segment is None and not self._actions

    @property
    def queued(self) -> int:
        """How many actions have not begun."""
        return len(self._actions)

    def clear(self) -> None:
        """Forget everything."""
        self._actions.clear()
        self._segment = self._reference = None
        self._waits = False

    def replace(self, actions: Vector, kind: ActionKind, step_s: float, first: int, pace_s: float = 0.0) -> None:
        """Take actions [n, 6] (SI units) instead of those that have not begun; `first` is the number of the first.

        `pace_s` is when the next chunk is expected: fewer actions than fit until then are spread over that time.
        """
        if self._waits:  # the last waypoint cannot be reached: go on from where the arm is
            self.clear()
        left = 0.0
        if self._segment is not None:
            if kind is self._kind is ActionKind.EE_DELTA:
                self._segment.hurry(_FINISH * step_s)
                left = self._segment.duration - self._segment.at
                self.step = -1
            else:
                self._reference, self._segment = self._segment.point, None
        self._kind, self._step_s = kind, max(step_s, (pace_s - left / 2) / len(actions))
        self._actions = deque(enumerate(actions, first))

    def advance(self, q: Vector, qd: Vector) -> tuple[Vector | None, Reason]:
        """Wanted joint angles [6] one tick after the command q that moves at qd; None where nothing is wanted."""
        if self._reference is None:
            if not self._actions:
                return None, Reason(0)
            self._reference = q
        reasons = self._move_on(q, qd)
        way = self._reference - q
        if np.abs(way).max() < _ARRIVED and np.abs(qd).max() <= self._limits.joint_acceleration * self._dt / 2:
            return (None if self.idle and not way.any() else self._reference), reasons
        return self._follow(q, qd, way), reasons

    # --- the reference ------------------------------------------------------------------------------------------------

    def _move_on(self, q: Vector, qd: Vector) -> Reason:
        """Let the reference go on for one tick, as far as the command keeps up."""
        assert self._reference is not None
        if self._segment is None:
            self._begin()
        if self._segment is not None:
            self._pace = self._segment.speed / self._braking
        lag, pace = float(np.abs(self._reference - q).max()) / self._braking, self._pace
        usual = pace / _RATE if pace < 1.0 / _RATE else pace * pace / 2 + 0.5 / _RATE**2
        share = min(1.0, max(0.0, 3.0 - 2.0 * lag / (1.2 * usual + _SLACK)))
        self._waits = share == 0.0 or (lag > _SLACK and not qd.any())
        left, reasons = self._dt * share, Reason(0)
        while self._segment is not None:
            segment = self._segment
            reasons |= segment.reasons
            took = min(left, segment.duration - segment.at)
            segment.at += took
            left -= took
            if segment.at < segment.duration - 1e-9:
                self._reference = segment.point
                break
            self._reference, self._segment = segment.end, None
            self._begin()
            if left <= 1e-9:
                break
        return reasons

    def _begin(self) -> None:
        if not self._actions:
            return
        assert self._reference is not None
        self.step, action = self._actions.popleft()
        if self._kind is ActionKind.JOINT_TARGET:
            end = self._walls.joints_inside(action, self._reference)
            reasons = Reason(0) if np.array_equal(end, action) else Reason.JOINT_LIMIT
        else:
            end, reasons = self._solve(self._reference, action)
        shortest = self._shortest(self._reference, end)
        self.stretch = max(1.0, shortest / self._step_s)
        if self.stretch > 1.0 + 1e-9:
            reasons |= Reason.STRETCHED
        self._segment = _Segment(self._reference, end, max(shortest, self._step_s), reasons, shortest)

    def _solve(self, near: Vector, delta: Vector) -> tuple[Vector, Reason]:
        """Joint angles of the pose that is `delta` (base frame; m, rotation vector) from that at `near`."""
        pose = self._points.pose(near)
        wanted = pose[:3, 3] + delta[:3]
        position = self._walls.inside(wanted, pose[:3, 3])
        reasons = Reason(0) if np.array_equal(position, wanted) else Reason.CLIPPED
        pose[:3, 3] = position
        pose[:3, :3] = rotation_matrix(delta[3:]) @ pose[:3, :3]
        found = self._points.arm.inverse(pose @ self._tool_inverse, near)
        if found is None:
            return near, reasons | Reason.OUT_OF_REACH
        if float(np.abs(found - near).max()) > self._limits.joint_jump:
            return near, reasons | Reason.BRANCH_JUMP
        wall = self._walls.outside(near, found)
        return (near, reasons | wall) if wall else (found, reasons)

    def _shortest(self, start: Vector, end: Vector) -> float:
        """Seconds that the straight line takes within the limits on speed."""
        limits = self._limits
        points = self._points.at(start + _SAMPLES[:, None] * (end - start))
        joints = float(np.abs(end - start).max()) / limits.joint_speed / float(slowing(points, limits).min())
        tool = float(np.sqrt((np.diff(points.tool) ** 2).sum(axis=0)).max()) / limits.tcp_speed
        turn = float(turns(points.axes[:, :-1], points.axes[:, 1:]).max()) / limits.tcp_turn
        elbow = float(np.sqrt((np.diff(points.elbow) ** 2).sum(axis=0)).max()) / limits.elbow_speed
        return max(joints, (len(_SAMPLES) - 1) * max(tool, turn, elbow)) / _SHARE

    # --- the follower -------------------------------------------------------------------------------------------------

    @property
    def _braking(self) -> float:
        """What the follower brakes with, rad/s^2; the rest is for its corrections."""
        return 0.7 * self._limits.joint_acceleration

    def _follow(self, q: Vector, qd: Vector, way: Vector) -> Vector:
        # Distances and speeds in units of the braking acceleration: s^2 and s.
        distance = float(np.abs(way).max()) / self._braking
        if distance < 1.0 / _RATE**2:
            speed = _RATE * distance  # near: proportional, and with the lag of `change` critically damped
        else:
            speed = math.sqrt(2.0 * distance - 1.0 / _RATE**2)  # far: as fast as it can brake
        cap = _SHARE * self._limits.joint_speed / self._braking
        wanted = way * (min(speed, cap) / distance) if distance > 0.0 else way
        change = (wanted - qd) * -math.expm1(-4.0 * _RATE * self._dt)
        most = 0.95 * self._limits.joint_acceleration * self._dt
        excess = float(np.abs(change).max()) / most
        return q + (qd + change / max(1.0, excess)) * self._dt


_RATE = 15.0  # 1/s of the follower's approach
_SHARE = 0.95  # of the limits on speed that is planned with
_SLACK = 4e-4  # s^2: lag that never counts, about 1 mrad
_FINISH = 0.8  # periods in which an action that has begun is finished when a new chunk has come
_ARRIVED = 2e-5  # rad
_SAMPLES = np.linspace(0.0, 1.0, 5)
