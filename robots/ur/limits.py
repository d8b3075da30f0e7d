"""What the arm may do: speeds, distances, ages and the space that it may be in.

Defaults are strict. A configuration may change them within the ceilings that are written here and nowhere else: no
configuration, knob or policy goes beyond those. They supplement the safety configuration on the pendant and never
replace it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from vlasteer.errors import ConfigError

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Limits:
    """Each value is refused outside of the range in `RANGES`.

    Attributes:
        joint_speed: largest speed of any joint, rad/s.
        joint_acceleration: largest acceleration of any joint, and what it brakes with, rad/s^2.
        tcp_speed: largest speed of the tool point, m/s. 0.25 is the reduced speed of ISO 10218-1.
        tcp_turn: largest angular speed of the tool, rad/s.
        elbow_speed: largest speed of the elbow, m/s.
        joint_margin: how far from the ends of its range a joint stays, rad.
        singular_wrist: sine of wrist_2 below which the joints slow down.
        singular_elbow: sine of the elbow's angle below which they do (arm stretched or folded).
        singular_shoulder: distance of the wrist from the base's axis below which they do, m.
        delta_distance: a translation by one action that is larger is refused as an error of units, m.
        delta_turn: likewise its rotation, rad.
        joint_jump: likewise from one joint target to the next (the first: to the last command), and between the
            inverse kinematics of neighbouring poses, rad.
        chunk_age: an action chunk whose observation is older when it arrives is refused, s.
        chunk_expiry: what is left of a chunk is dropped when its observation gets older, s.
        permit_age: the operator's permission counts as released when it is older, s.
        state_age: the robot's state counts as lost when it is older, s.
        tool_force: largest force at the tool before the arm is stopped, N.
    """

    joint_speed: float = 1.0
    joint_acceleration: float = 5.0
    tcp_speed: float = 0.25
    tcp_turn: float = 0.6
    elbow_speed: float = 0.25
    joint_margin: float = 0.1
    singular_wrist: float = 0.15
    singular_elbow: float = 0.2
    singular_shoulder: float = 0.1
    delta_distance: float = 0.1
    delta_turn: float = 1.0
    joint_jump: float = 1.0
    chunk_age: float = 1.0
    chunk_expiry: float = 3.0
    permit_age: float = 0.3
    state_age: float = 0.05
    tool_force: float = 50.0

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high, unit = RANGES[field.name]
            _check_number(f"limit '{field.name}'", getattr(self, field.name), low, high, unit)


RANGES: dict[str, tuple[float, float, str]] = {
    "joint_speed": (0.05, 2.0, "rad/s"),
    "joint_acceleration": (1.0, 15.0, "rad/s^2"),
    "tcp_speed": (0.005, 0.5, "m/s"),
    "tcp_turn": (0.02, 1.5, "rad/s"),
    "elbow_speed": (0.005, 0.5, "m/s"),
    "joint_margin": (0.02, 3.0, "rad"),
    "singular_wrist": (0.05, 0.7, "(a sine)"),
    "singular_elbow": (0.05, 0.7, "(a sine)"),
    "singular_shoulder": (0.03, 0.3, "m"),
    "delta_distance": (0.005, 0.2, "m"),
    "delta_turn": (0.02, 1.6, "rad"),
    "joint_jump": (0.05, 1.6, "rad"),
    "chunk_age": (0.05, 5.0, "s"),
    "chunk_expiry": (0.1, 30.0, "s"),
    "permit_age": (0.1, 0.5, "s"),
    "state_age": (0.01, 0.1, "s"),
    "tool_force": (5.0, 150.0, "N"),
}
"""Lowest value, highest value and unit of every limit."""


@dataclass(frozen=True)
class Workspace:
    """Where the tool point and the elbow may be, in the arm's base frame (z up, m).

    The tool is a point: fingers, hand and cables reach further, and the box has to leave room for them. The elbow is
    the origin of the frame behind the upper arm; the joint around it has a radius of about 6 cm.

    Attributes:
        tcp_low, tcp_high: corners of the tool point's box.
        elbow_low, elbow_high: corners of the elbow's box.
        table_z: height of the table.
        tool_clearance: how far above the table the tool point stays.
        elbow_clearance: how far above it the elbow stays.
    """

    tcp_low: Point
    tcp_high: Point
    elbow_low: Point = (-0.7, -0.7, -0.3)
    elbow_high: Point = (0.7, 0.7, 0.8)
    table_z: float = 0.0
    tool_clearance: float = 0.01
    elbow_clearance: float = 0.1

    def __post_init__(self) -> None:
        for name in ("tcp", "elbow"):
            low, high = getattr(self, f"{name}_low"), getattr(self, f"{name}_high")
            for corner, point in (("low", low), ("high", high)):
                if len(point) != 3:
                    raise ConfigError(f"workspace '{name}_{corner}' has {len(point)} numbers", expected="x, y, z in m")
                for axis, value in zip("xyz", point, strict=True):
                    _check_number(f"workspace '{name}_{corner}' {axis}", value, -_REACH, _REACH, "m")
            for axis, a, b in zip("xyz", low, high, strict=True):
                if b - a < _SMALLEST:
                    raise ConfigError(
                        f"the workspace of the {name} goes from {a:g} to {b:g} m along {axis}",
                        expected=f"{name}_high at least {_SMALLEST:g} m above {name}_low",
                    )
        _check_number("workspace 'table_z'", self.table_z, -_REACH, _REACH, "m")
        _check_number("workspace 'tool_clearance'", self.tool_clearance, 0.0, 0.3, "m")
        _check_number("workspace 'elbow_clearance'", self.elbow_clearance, 0.06, 0.5, "m")
        for name, floor, high in (
            ("tcp", self.tool_floor, self.tcp_high),
            ("elbow", self.elbow_floor, self.elbow_high),
        ):
            if high[2] - floor < _SMALLEST:
                raise ConfigError(
                    f"workspace '{name}_high' z is {high[2]:g} m, with the table's clearance at {floor:g} m",
                    expected=f"at least {_SMALLEST:g} m of room above it",
                )

    @property
    def tool_floor(self) -> float:
        """Lowest height that the tool point may have by the table and by its box, m."""
        return max(self.table_z + self.tool_clearance, self.tcp_low[2])

    @property
    def elbow_floor(self) -> float:
        """Lowest height that the elbow may have by the table and by its box, m."""
        return max(self.table_z + self.elbow_clearance, self.elbow_low[2])


_REACH = 1.5  # m; more than a UR5 with any tool that it can carry
_SMALLEST = 0.03  # m; a smaller box has no inside once the filter keeps its distance from both walls


def _check_number(name: str, value: object, low: float, high: float, unit: str) -> None:
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not low <= number <= high:
        raise ConfigError(f"{name} is {value!r}", expected=f"a number from {low:g} to {high:g} {unit}")
