"""How joint setpoints move, tick by tick: trapezoidal moves with blends, servoing, speeds, stops.

Every motion turns the state it starts from into a stream of joint setpoints; `MotionEngine` runs one at a time and
refuses setpoints that the arm could not follow. Approximations of a real controller, whose planner is not public:
profiles are trapezoids without jerk limits; a blend adds the end of one segment to the beginning of the next; `servoj`
is a critically damped follower (see `ServoJoints`); the speed slider scales moves and speeds but not `servoj`; a move
ordered while the arm is still moving first brakes it; a setpoint beyond a joint's speed or range is a protective stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vlasteer.kinematics import Vector, rotation_matrix, rotation_vector
from vlasteer.robots.twin.arm import Arm

SPEED_TOLERANCE = 1.05
"""Setpoints faster than this times a joint's limit are refused."""

_STILL = 1e-9  # rad/s


class MotionError(Exception):
    """The arm cannot follow; on a real one this is a protective stop."""


class Motion(Protocol):
    """A source of joint setpoints."""

    @property
    def done(self) -> bool:
        """Whether it has come to its end; endless motions never do."""
        ...

    def advance(self, dt: float, scale: float) -> Vector:
        """The setpoint [6] `dt` seconds on, with the speed slider at `scale`.

        Raises:
            MotionError: there is none.
        """
        ...


class Hold:
    """Stand still."""

    def __init__(self, q: Vector) -> None:
        self._q = q
        self.done = True

    def advance(self, dt: float, scale: float) -> Vector:
        return self._q


@dataclass(frozen=True)
class Profile:
    """Trapezoidal (or triangular) speed profile over a distance, from rest to rest."""

    distance: float
    speed: float
    acceleration: float

    @property
    def peak(self) -> float:
        """Highest speed that is reached."""
        return min(self.speed, math.sqrt(self.distance * self.acceleration))

    @property
    def ramp(self) -> float:
        """Seconds of speeding up, and again of braking."""
        return self.peak / self.acceleration

    @property
    def duration(self) -> float:
        """Seconds in all."""
        return self.distance / self.peak + self.ramp if self.peak else 0.0  # also next to nothing is nothing

    def at(self, t: float) -> float:
        """Distance covered after t seconds."""
        if t >= self.duration:
            return self.distance
        if t <= 0:
            return 0.0
        if t < self.ramp:
            return 0.5 * self.acceleration * t * t
        left = self.duration - t
        if left < self.ramp:
            return self.distance - 0.5 * self.acceleration * left * left
        return self.peak * (t - 0.5 * self.ramp)


@dataclass(frozen=True)
class Waypoint:
    """One `movej`, `movel` or `movep`.

    Attributes:
        joints: target [6] in rad of a move in joint space; None for a straight line.
        pose: target [4, 4] of the TCP of a straight line; None for a move in joint space.
        speed, acceleration: of the leading joint (rad/s, rad/s^2), or of the tool (m/s, m/s^2).
        blend: how far before the target the next segment may begin, m (in joint space: rad of the leading joint).
    """

    speed: float
    acceleration: float
    joints: Vector | None = None
    pose: Vector | None = None
    blend: float = 0.0


class Move:
    """Consecutive moves of one kind, blended where their waypoints say so.

    Raises:
        MotionError: a speed or acceleration that is not positive, or a target that is not finite.
    """

    def __init__(self, arm: Arm, q: Vector, waypoints: Sequence[Waypoint]) -> None:
        self._arm, self._q, self._t = arm, q, 0.0
        self._linear = waypoints[0].pose is not None
        self._start = arm.forward(q) if self._linear else q
        self._segments: list[tuple[float, Profile, Vector, Vector]] = []  # begin, profile, translation, rotation
        at, begin, overlap = self._start, 0.0, 0.0
        for waypoint in waypoints:
            target = waypoint.pose if self._linear else waypoint.joints
            if target is None or not np.all(np.isfinite(target)):
                raise MotionError("a move to something that is no number, or moves of different kinds in one")
            if not (waypoint.speed > 0 and waypoint.acceleration > 0):
                raise MotionError(f"a move with speed {waypoint.speed} and acceleration {waypoint.acceleration}")
            shift, turn = _difference(at, target, self._linear)
            distance = float(np.linalg.norm(shift)) if self._linear else float(np.abs(shift).max())
            if distance < 1e-9:  # a turn on the spot is paced by its angle
                distance = float(np.linalg.norm(turn))
            profile = Profile(distance, waypoint.speed, waypoint.acceleration)
            begin -= min(overlap, profile.ramp)
            self._segments.append((begin, profile, shift, turn))
            begin += profile.duration
            overlap = min(math.sqrt(2 * max(waypoint.blend, 0.0) / waypoint.acceleration), profile.ramp)
            at = target
        self.duration = begin

    @property
    def done(self) -> bool:
        return self._t >= self.duration

    @property
    def segment(self) -> int:
        """Index of the waypoint that it is on the way to."""
        return max((i for i, segment in enumerate(self._segments) if segment[0] <= self._t), default=0)

    def advance(self, dt: float, scale: float) -> Vector:
        self._t += dt * scale
        if not self._linear:
            q = self._start.copy()
            for begin, profile, shift, _ in self._segments:
                q += shift * _fraction(profile, self._t - begin)
            return q
        pose = self._start.copy()
        for begin, profile, shift, turn in self._segments:
            fraction = _fraction(profile, self._t - begin)
            pose[:3, 3] += shift * fraction
            pose[:3, :3] = rotation_matrix(turn * fraction) @ pose[:3, :3]
        self._q = _solve(self._arm, pose, self._q)
        return self._q


class SpeedJoints:
    """`speedj`: ramp the joint speeds to a target and keep them for ever."""

    done = False

    def __init__(self, q: Vector, qd: Vector, target: Vector, acceleration: float) -> None:
        self._q, self._qd = q, qd
        self.target, self.acceleration = target, acceleration

    def advance(self, dt: float, scale: float) -> Vector:
        self._qd = _ramp(self._qd, self.target * scale, self.acceleration * dt)
        self._q = self._q + self._qd * dt
        return self._q


class SpeedTool:
    """`speedl`: ramp the tool's velocity (base frame; m/s and rad/s) to a target and keep it for ever."""

    done = False

    def __init__(self, arm: Arm, q: Vector, qd: Vector, target: Vector, acceleration: float) -> None:
        self._arm, self._q, self._pose = arm, q, arm.forward(q)
        self._velocity = arm.jacobian(q) @ qd
        self.target, self.acceleration = target, acceleration

    def advance(self, dt: float, scale: float) -> Vector:
        wanted, step = self.target * scale, self.acceleration * dt
        self._velocity = np.concatenate(
            [_ramp(self._velocity[:3], wanted[:3], step), _ramp(self._velocity[3:], wanted[3:], step)]
        )
        self._pose = _moved(self._pose, self._velocity * dt)
        self._q = _solve(self._arm, self._pose, self._q)
        return self._q


class ServoJoints:
    """`servoj`: follow a target that changes at any time.

    Modelled as a critically damped second-order follower with a bandwidth of 2 / lookahead * sqrt(gain / 300) rad/s,
    integrated exactly: at the default gain of 300 it lags a steady ramp by the lookahead time, as real arms were
    measured to do; a larger gain follows closer. A jump of the target becomes a fast motion, not a smooth one.
    """

    done = False

    def __init__(self, q: Vector, qd: Vector, target: Vector, lookahead: float, gain: float) -> None:
        self._q, self._qd = q, qd
        self.retarget(target, lookahead, gain)

    def retarget(self, target: Vector, lookahead: float, gain: float) -> None:
        """Follow another target; lookahead in s (0.03 to 0.2), gain 100 to 2000, both held to those ranges."""
        self.target = target
        # The order of arguments makes a NaN become the lower bound.
        self._rate = 2.0 / min(max(0.03, lookahead), 0.2) * math.sqrt(min(max(100.0, gain), 2000.0) / 300.0)

    def advance(self, dt: float, scale: float) -> Vector:
        error = self._q - self.target
        drive = self._qd + self._rate * error
        decay = math.exp(-self._rate * dt)
        self._q = self.target + (error + drive * dt) * decay
        self._qd = (self._qd - self._rate * drive * dt) * decay
        return self._q


class StopJoints:
    """`stopj`, and every stop by the controller itself: all joints brake together, the path in joint space is kept."""

    def __init__(self, q: Vector, qd: Vector, deceleration: float) -> None:
        self._q, self._qd, self._deceleration = q, qd, max(deceleration, 0.1)

    @property
    def done(self) -> bool:
        return float(np.abs(self._qd).max()) < _STILL

    def advance(self, dt: float, scale: float) -> Vector:
        self._qd = _ramp(self._qd, np.zeros(6), self._deceleration * dt)
        self._q = self._q + self._qd * dt
        return self._q


class StopTool:
    """`stopl`: the tool brakes on its line; where that line cannot be held, the joints brake instead."""

    def __init__(self, arm: Arm, q: Vector, qd: Vector, deceleration: float) -> None:
        self._arm, self._q, self._qd, self._pose = arm, q, qd, arm.forward(q)
        self._velocity, self._deceleration = arm.jacobian(q) @ qd, max(deceleration, 0.1)
        self._joints: StopJoints | None = None

    @property
    def done(self) -> bool:
        return self._joints.done if self._joints else float(np.abs(self._velocity).max()) < _STILL

    def advance(self, dt: float, scale: float) -> Vector:
        if self._joints is None:
            self._velocity = _ramp_together(self._velocity, self._deceleration * dt)
            self._pose = _moved(self._pose, self._velocity * dt)
            q = self._arm.inverse(self._pose, self._q)
            if q is not None and float(np.abs(q - self._q).max()) < self._arm.model.joint_speed[0] * dt:
                self._qd, self._q = (q - self._q) / dt, q
                return q
            self._joints = StopJoints(self._q, self._qd, 2 * self._deceleration)
        return self._joints.advance(dt, scale)


class MotionEngine:
    """Runs one motion at a time and holds the setpoint.

    Attributes:
        q, qd, qdd: joint setpoint [6], and its first and second differences by the tick, rad, rad/s, rad/s^2.
        motion: what moves now.
    """

    def __init__(self, arm: Arm, q: Vector) -> None:
        self.arm = arm
        self.place(q)

    def place(self, q: Vector) -> None:
        """Be there, at rest."""
        self.q, self.qd, self.qdd = q, np.zeros(6), np.zeros(6)
        self.motion: Motion = Hold(q)

    def hold(self) -> None:
        """Stand still where the setpoint is; for the end of a motion that is at rest."""
        self.motion = Hold(self.q)

    def stop(self, deceleration: float) -> None:
        """Brake in joint space, whatever goes on."""
        self.motion = StopJoints(self.q, self.qd, deceleration)

    @property
    def moving(self) -> bool:
        """Whether the setpoint is under way."""
        return bool(np.abs(self.qd).max() > 1e-6)

    def tick(self, dt: float, scale: float) -> None:
        """Advance the setpoint by one control period.

        Raises:
            MotionError: the motion has no setpoint there, or one that the arm cannot follow; the last one stands.
        """
        q = self.motion.advance(dt, scale)
        if not np.all(np.isfinite(q)):
            raise MotionError("a setpoint that is no number")
        qd = (q - self.q) / dt
        limits = self.arm.model.joint_speed
        for joint in range(6):
            if abs(qd[joint]) > SPEED_TOLERANCE * limits[joint]:
                raise MotionError(f"joint {joint} ordered to {qd[joint]:.1f} rad/s")
        if not self.arm.within_limits(q):
            raise MotionError("a joint ordered beyond its range")
        self.qdd = (qd - self.qd) / dt
        self.q, self.qd = q, qd


def _difference(start: Vector, target: Vector, linear: bool) -> tuple[Vector, Vector]:
    if not linear:
        return target - start, np.zeros(3)
    return target[:3, 3] - start[:3, 3], rotation_vector(target[:3, :3] @ start[:3, :3].T)


def _fraction(profile: Profile, t: float) -> float:
    # A segment without length is complete at once.
    return profile.at(t) / profile.distance if profile.distance else 1.0


def _moved(pose: Vector, step: Vector) -> Vector:
    moved = pose.copy()
    moved[:3, 3] += step[:3]
    moved[:3, :3] = rotation_matrix(step[3:]) @ pose[:3, :3]
    return moved


def _ramp(value: Vector, target: Vector, step: float) -> Vector:
    """`value` moved towards `target`, its farthest component by at most `step`, the others in proportion."""
    gap = target - value
    farthest = float(np.abs(gap).max())
    return target if farthest <= step else value + gap * (step / farthest)


def _ramp_together(velocity: Vector, step: float) -> Vector:
    speed = float(np.linalg.norm(velocity[:3])) or float(np.linalg.norm(velocity[3:]))
    return velocity * max(0.0, 1.0 - step / speed) if speed > step else np.zeros(6)


def _solve(arm: Arm, pose: Vector, near: Vector) -> Vector:
    if not np.all(np.isfinite(pose)):
        raise MotionError("a tool pose that is no number")
    q = arm.inverse(pose, near)
    if q is None:
        raise MotionError("a tool pose out of reach on the way")
    return q
