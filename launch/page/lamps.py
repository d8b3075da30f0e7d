"""Lamps: what a person must see at a glance, each a label, a value with its unit, and a colour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlasteer.knobs import BoardState
    from vlasteer.live import LiveStatus
    from vlasteer.types import RobotStatus

STALE_STATE_S = (0.05, 0.1)
"""Age of a robot's state from which on it is amber, red."""
STALE_CAMERA_S = (0.2, 0.5)
SLOW_LOOP = (0.95, 0.8)
"""Measured over nominal rate below which a loop is amber, red."""
LATE_MOTION_S = (0.5, 1.5)


class Level(StrEnum):
    """Colour of a lamp."""

    OFF = "off"
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Lamp:
    """One lamp.

    Attributes:
        label: what it is about.
        text: value and unit.
        level: how it is.
        hint: what it means, for who points at it.
    """

    label: str
    text: str
    level: Level
    hint: str


def lamps(status: LiveStatus | None, board: BoardState, rate_hz: float, latency_s: float) -> list[Lamp]:
    """All lamps, in their order.

    Args:
        status: newest of the loop; None before the first.
        board: state of the knobs.
        rate_hz: nominal control rate.
        latency_s: from a moved knob to the motion that it changed; NaN before the first.
    """
    found: list[Lamp] = []
    robot = None if status is None else status.robot
    if robot is not None:
        found.extend(_of_robot(robot))
    if status is not None:
        found.extend(_of_loop(status, rate_hz, latency_s))
    found.extend(
        Lamp(f"source {source.name}", f"silent {source.age_s:.1f} s", Level.WARN, "A live source of knobs was lost")
        for source in board.sources
        if source.live and source.age_s > 1.0 and source.name != "page"
    )
    return found


def _of_robot(robot: RobotStatus) -> Iterator[Lamp]:
    normal = robot.safety.lower() in ("normal", "reduced")
    yield Lamp("safety", robot.safety or "?", Level.OK if normal else Level.BAD, "Safety state of the controller")
    yield Lamp("robot state", milliseconds(robot.state_age_s), _above(robot.state_age_s, STALE_STATE_S), "Its age")
    yield Lamp("servo loop", f"{robot.loop_rate_hz:.0f} Hz", Level.OK, "Measured rate of the servo loop")
    for name, age in robot.camera_ages_s.items():
        yield Lamp(f"camera {name}", milliseconds(age), _above(age, STALE_CAMERA_S), "Age of its newest picture")


def _of_loop(status: LiveStatus, rate_hz: float, latency_s: float) -> Iterator[Lamp]:
    running = status.phase == "running"
    if status.robot is None:
        rate_hz *= status.reading.speed  # a simulation that is slowed down makes its steps more slowly
    rate = status.rate_hz / rate_hz if rate_hz else math.nan
    level = Level.OFF if not running else Level.BAD if rate < SLOW_LOOP[1] else _below(rate, SLOW_LOOP[0])
    rate_text = "–" if not running or math.isnan(status.rate_hz) else f"{status.rate_hz:.1f} / {rate_hz:.0f} Hz"
    yield Lamp("control loop", rate_text, level, "Measured and nominal control rate")
    thought = _level_of(status.inference_s)
    yield Lamp("inference", milliseconds(status.inference_s), thought, "Time that the policy took for its last answer")
    if status.robot is not None:
        sight = status.robot.latency_s
        yield Lamp("sight to motion", milliseconds(sight), _above(sight, LATE_MOTION_S), "From picture to motion")
    hint = "From a moved knob to the first motion that it changed"
    yield Lamp("knob to motion", milliseconds(latency_s), _above(latency_s, LATE_MOTION_S), hint)
    if status.robot is not None:
        level = Level.WARN if status.underruns else Level.OK
        yield Lamp("underruns", str(status.underruns), level, "Times the arm held because the policy was late")


def milliseconds(seconds: float) -> str:
    """A duration for people: "85 ms", "1.20 s", or a dash where there is none."""
    if not math.isfinite(seconds):
        return "–"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"


def _above(value: float, limits: tuple[float, float]) -> Level:
    if math.isnan(value):
        return Level.OFF
    return Level.BAD if value > limits[1] else Level.WARN if value > limits[0] else Level.OK


def _below(value: float, limit: float) -> Level:
    return Level.WARN if value < limit else Level.OK


def _level_of(value: float) -> Level:
    return Level.OK if math.isfinite(value) and value > 0 else Level.OFF
