"""Manner: how a task is done. The two concepts that are known by construction, each with three levels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Speed(StrEnum):
    """How long the expert's steps are."""

    SLOW = "slow"
    NORMAL = "normal"
    FAST = "fast"

    @property
    def share(self) -> float:
        """Length of a step as a share of the longest that an action can ask for along one axis."""
        return {"slow": 0.30, "normal": 0.58, "fast": 0.92}[self.value]


class Height(StrEnum):
    """How high the expert travels."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def travel_m(self) -> float:
        """Height of the pinch point over the table while travelling; the lowest still clears a rim with a cube."""
        return {"low": 0.10, "normal": 0.20, "high": 0.32}[self.value]


@dataclass(frozen=True)
class Manner:
    """One level of each."""

    speed: Speed = Speed.NORMAL
    height: Height = Height.NORMAL

    @property
    def concepts(self) -> tuple[str, ...]:
        """The levels that are not normal, speed first: what an instruction with this manner mentions."""
        levels = ((self.speed, Speed.NORMAL), (self.height, Height.NORMAL))
        return tuple(level.value for level, normal in levels if level is not normal)


MANNERS = tuple(Manner(speed, height) for speed in Speed for height in Height)
"""All nine; manner i has speed i // 3 and height i % 3."""
