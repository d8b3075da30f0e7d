"""The last thing before the wire: whatever goes in, what comes out keeps every limit.

How it is sure. A command leaves only together with a braking path from it to rest, every tick of which keeps all
limits too: joint range, speed and acceleration, speeds of tool and elbow, workspace, table, slow-down near
singularities. Where no such path exists the wanted motion is scaled back, and in the end the braking path of the tick
before is followed, which was checked then. So there is always a way to stop inside the limits, by induction from
`start`, at which the arm stands still inside them.

Braking is in a straight line in joint space, all joints together, the one that takes longest at its full acceleration.

Everything is anchored on the last command, never on a measurement: a delay of the robot's state cannot make a jump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vlasteer.errors import ConfigError, WorldError
from vlasteer.kinematics import ArmModel, Vector
from vlasteer.robots.ur.limits import Limits, Workspace
from vlasteer.robots.ur.points import ArmPoints, Points, slowing, turns
from vlasteer.robots.ur.reasons import Reason
from vlasteer.robots.ur.walls import Kept, Walls


@dataclass(frozen=True)
class Filtered:
    """What one tick lets through.

    Attributes:
        q: float64 [6] joint angles to command, rad.
        qd: float64 [6] the speed at which they were reached, rad/s.
        reasons: why they are not what was wanted; empty when they are.
        held: the arm stands still: nothing is wanted, or a limit keeps it from all that is.
    """

    q: Vector
    qd: Vector
    reasons: Reason
    held: bool


class SafetyFilter:
    """One arm's filter. Deterministic: the same calls give the same results, bit for bit.

    Args:
        arm: the arm.
        tcp: pose [6] of the tool point in the flange's frame, m and rad.
        limits: what it may do.
        workspace: where it may be.
        period_s: time from tick to tick.
    """

    def __init__(
        self, arm: ArmModel, tcp: ArrayLike, limits: Limits, workspace: Workspace, period_s: float = 0.008
    ) -> None:
        if not 0.001 <= period_s <= 0.02:
            raise ConfigError(f"a control period of {period_s!r} s", expected="0.008 (125 Hz) or 0.002 (500 Hz)")
        self.arm, self.limits, self.workspace, self.period_s = arm, limits, workspace, period_s
        self.points = ArmPoints(arm, np.asarray(tcp, np.float64))
        self._range = np.array(arm.joint_limit)
        self.walls = Walls(self.points, limits, workspace)
        self._started = False
        self._q = self._qd = np.zeros(6)
        self._way = np.empty((0, 6))

    # --- what the caller sees -----------------------------------------------------------------------------------------

    @property
    def q(self) -> Vector:
        """The last command [6], rad."""
        return self._q

    @property
    def qd(self) -> Vector:
        """Its speed [6], rad/s."""
        return self._qd

    def start(self, q_actual: ArrayLike) -> None:
        """Begin where the arm stands, at zero speed. That it does stand is the caller's to know.

        Raises:
            WorldError: it stands outside of the limits, or these are no six finite numbers; the message names which.
        """
        self._started = False
        q = np.array(q_actual, np.float64)
        if q.shape != (6,) or not np.all(np.isfinite(q)):
            raise WorldError(f"the robot reports joint angles {q.tolist()}", expected="6 finite numbers, rad")
        problem = self.walls.problem(q)
        if problem:
            raise WorldError(
                f"the arm stands outside of its limits: {problem}",
                fix="Move it inside with the pendant, or correct the limits in the configuration",
            )
        self._q, self._qd, self._way = q, np.zeros(6), np.empty((0, 6))
        self._here = self.points.at(q[None])
        self._started = True

    def tick(self, q_wanted: ArrayLike | None) -> Filtered:
        """One period: towards the joint angles `q_wanted` [6] (rad), or, for None, decelerate to hold.

        What can be reached at the end of this period within the limits is reached exactly; of a jump, as much as the
        limits allow, without overshoot.

        Raises:
            WorldError: not started.
        """
        if not self._started:
            raise WorldError("the safety filter has no start", fix="Call start with the measured joint angles")
        target, reasons = self._checked(q_wanted)
        if target is None:
            return self._brake(reasons)
        slow = float(slowing(self._here, self.limits)[0])
        velocity, why = self._towards(target, slow)
        reasons |= why
        speeding = (velocity - self._qd) / (self.limits.joint_acceleration * self.period_s)
        excess = float(np.abs(speeding).max())
        if excess > 1.0:
            velocity = self._qd + (velocity - self._qd) / excess
            reasons |= Reason.JOINT_ACCELERATION
        ways, points, fine, why = self._ways(velocity[None])
        if fine[0]:
            return self._go(ways[0], points.pick(0), reasons)
        reasons = why  # the cause; that a speed was also cut is no news in front of a wall
        braking = (self._way[0] - self._q) / self.period_s if len(self._way) else np.zeros(6)
        ways, points, fine, _ = self._ways(braking + _SHARES[:, None] * (velocity - braking))
        if fine.any():
            best = int(np.argmax(fine))
            return self._go(ways[best], points.pick(best * ways.shape[1]), reasons)
        return self._brake(reasons)

    # --- the steps of a tick ------------------------------------------------------------------------------------------

    def _checked(self, wanted: ArrayLike | None) -> tuple[Vector | None, Reason]:
        """The wanted angles within the joints' limits, or None where there is nothing to be trusted."""
        if wanted is None:
            return None, Reason(0)
        try:
            target = np.array(wanted, np.float64)
        except (TypeError, ValueError):
            return None, Reason.NOT_FINITE
        if target.shape != (6,) or not np.all(np.isfinite(target)):
            return None, Reason.NOT_FINITE
        if np.any(np.abs(target) > self._range):
            return None, Reason.BEYOND_RANGE
        inside = self.walls.joints_inside(target, self._q)
        return inside, Reason(0) if np.array_equal(inside, target) else Reason.JOINT_LIMIT

    def _towards(self, target: Vector, slow: float) -> tuple[Vector, Reason]:
        """The joint speeds that lead to the target, within the limits on speed."""
        dt, limits = self.period_s, self.limits
        way = target - self._q
        velocity, reasons = way / dt, Reason(0)
        jump = float(np.abs(velocity - self._qd).max()) > limits.joint_acceleration * dt * _ROUNDING
        if jump:  # no faster than it can brake in front of the target
            distance = float(np.abs(way).max()) / limits.joint_acceleration
            speed = math.sqrt(dt * dt / 4 + 2 * distance) - dt / 2
            velocity *= min(1.0, speed * dt / distance) if distance > 0.0 else 0.0
            reasons |= Reason.JOINT_ACCELERATION
        fastest = float(np.abs(velocity).max())
        cap = limits.joint_speed * slow * _INSIDE
        if fastest > cap:
            velocity *= cap / fastest
            reasons |= Reason.JOINT_SPEED if slow == 1.0 else Reason.SINGULARITY
        if jump:
            after, share = self.points.at((self._q + velocity * dt)[None]), 1.0
            for way, limit, reason in (
                (_distances(self._here.tool, after.tool), limits.tcp_speed, Reason.TCP_SPEED),
                (turns(self._here.axes, after.axes), limits.tcp_turn, Reason.TCP_TURN),
                (_distances(self._here.elbow, after.elbow), limits.elbow_speed, Reason.ELBOW_SPEED),
            ):
                speed = float(way[0]) / dt
                if speed > limit * _INSIDE:
                    share = min(share, limit * _INSIDE / speed)
                    reasons |= reason
            velocity *= share
        return velocity, reasons

    def _ways(self, velocities: Vector) -> tuple[Vector, Points, Kept, Reason]:
        """Of each speed [k, 6]: the way to rest [k, n, 6], its k * n points, and whether it keeps all limits [k].

        With it comes what the first of them does not keep.
        """
        dt, limits = self.period_s, self.limits
        seconds = np.abs(velocities).max(axis=1) / limits.joint_acceleration
        count = max(1, math.ceil(float(seconds.max()) / dt - 1e-9))
        ticks = np.arange(count)
        share = np.maximum(0.0, 1.0 - ticks * (dt / np.maximum(seconds, 1e-12))[:, None])
        share[:, 0] = 1.0
        steps = share[:, :, None] * velocities[:, None, :]
        ways = self._q + np.cumsum(steps, axis=1) * dt
        many = len(ways)
        points = self.points.at(ways.reshape(-1, 6))
        tool, axes, elbow = (
            np.concatenate([np.repeat(now[:, None, :], many, axis=1), then.reshape(-1, many, count)], axis=2)
            for now, then in (
                (self._here.tool, points.tool),
                (self._here.axes, points.axes),
                (self._here.elbow, points.elbow),
            )
        )
        slow = slowing(points, limits).reshape(many, count)
        # The share of its speed that a joint may have between two ticks is the smaller of both ends'.
        slow = np.minimum(slow, np.concatenate([np.full((many, 1), slowing(self._here, limits)[0]), slow[:, :-1]], 1))
        fast = np.abs(steps).max(axis=2)
        checks = [
            (fast <= limits.joint_speed * slow * _ROUNDING, Reason.JOINT_SPEED | Reason.SINGULARITY),
            (_distances(tool[:, :, :-1], tool[:, :, 1:]) <= limits.tcp_speed * dt, Reason.TCP_SPEED),
            (turns(axes[:, :, :-1], axes[:, :, 1:]) <= limits.tcp_turn * dt, Reason.TCP_TURN),
            (_distances(elbow[:, :, :-1], elbow[:, :, 1:]) <= limits.elbow_speed * dt, Reason.ELBOW_SPEED),
        ]
        checks += self.walls.checks(self._q, self._here, ways, tool[:, :, 1:], elbow[:, :, 1:])
        fine, reasons = np.ones(many, bool), Reason(0)
        for kept, reason in checks:
            kept = kept.all(axis=1)
            if not kept[0]:
                reasons |= reason
            fine &= kept
        return ways, points, fine, reasons

    def _go(self, way: Vector, here: Points, reasons: Reason) -> Filtered:
        """Take the first step of a checked way; the rest is how to brake from there."""
        self._qd = (way[0] - self._q) / self.period_s
        self._q, self._way, self._here = way[0], way[1:], here
        return Filtered(self._q.copy(), self._qd.copy(), reasons, held=False)

    def _brake(self, reasons: Reason) -> Filtered:
        if len(self._way):
            return self._go(self._way, self.points.at(self._way[:1]), reasons)
        self._qd = np.zeros(6)
        return Filtered(self._q.copy(), self._qd.copy(), reasons, held=True)


def _distances(before: Vector, after: Vector) -> Vector:
    """Distances [...] of points [3, ...]."""
    return np.sqrt(((after - before) ** 2).sum(axis=0))


_INSIDE = 0.99  # of a limit on speed is aimed at, so that the way to rest, which bends, keeps it too
_ROUNDING = 1.0 + 1e-9
_SHARES = np.array([0.85, 0.7, 0.5, 0.3, 0.15, 0.05])  # of the wanted change of speed, tried in turn
