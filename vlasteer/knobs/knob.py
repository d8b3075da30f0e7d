"""What a knob is: its range, where it rests, how fast it may move, and what happens when its source is lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from vlasteer.errors import ConfigError

_REACH = 2.0
"""A feature's knob reaches this many times the coefficient that it is made around."""


class KnobKind(StrEnum):
    """What a knob turns."""

    FEATURE = "feature"
    """Coefficient of a mounted feature."""
    GROUP = "group"
    """Several features at once, each in proportion to its own range."""
    SPEED = "speed"
    """Scale of the robot's speed; downwards only. A simulation slows its clock."""
    REPLAN = "replan"
    """Actions that are executed before the policy is asked again."""


@dataclass(frozen=True)
class Knob:
    """One knob.

    Attributes:
        name: a feature's own, or what people call it.
        kind: what it turns.
        low: smallest value.
        high: largest value.
        default: where it begins and decays to; None is off, for features and groups only.
        slew_per_s: largest change of the value per second; switching on begins at `rest`, switching off ends there.
        stale_after_s: a live source that has been silent for so long has lost the knob.
        when_stale: what the knob then does: stay where it is, or slew back to its default.
        members: of a group: the features that it moves together.
        neutral: value that is nearest to off: 0 for `set` and `add`, 1 for `scale`.

    Raises:
        ConfigError: a range that is empty or not finite, or a value outside of it.
    """

    name: str
    kind: KnobKind = KnobKind.FEATURE
    low: float = -16.0
    high: float = 16.0
    default: float | None = None
    slew_per_s: float = math.inf
    stale_after_s: float = 1.0
    when_stale: Literal["freeze", "decay"] = "freeze"
    members: tuple[str, ...] = ()
    neutral: float = 0.0

    def __post_init__(self) -> None:
        knob = f"knob '{self.name}'"
        if not self.name:
            raise ConfigError("a knob without a name", expected="a non-empty name")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"{knob} from {self.low} to {self.high}", expected="a finite range, low below high")
        if self.default is not None and not self.low <= self.default <= self.high:
            raise ConfigError(f"{knob} with default {self.default}", expected=f"{self.low:g} to {self.high:g}")
        if not self.slew_per_s > 0:
            raise ConfigError(f"{knob} with a slew of {self.slew_per_s} per second", expected="a positive number")
        if not self.stale_after_s > 0:
            raise ConfigError(f"{knob} stale after {self.stale_after_s} s", expected="a positive number")
        if self.when_stale not in ("freeze", "decay"):
            raise ConfigError(f"{knob}: when_stale '{self.when_stale}'", expected="freeze or decay")
        if not math.isfinite(self.neutral):
            raise ConfigError(f"{knob} with neutral value {self.neutral}", expected="a finite number")
        if bool(self.members) != (self.kind is KnobKind.GROUP):
            raise ConfigError(
                f"{knob} of kind {self.kind} with {len(self.members)} members", expected="groups have some"
            )
        if self.kind in (KnobKind.SPEED, KnobKind.REPLAN):
            self._check_loop_knob(knob)

    def _check_loop_knob(self, knob: str) -> None:
        if self.default is None:
            raise ConfigError(f"{knob} of kind {self.kind} without a default", expected="a number")
        if self.kind is KnobKind.SPEED and not (self.low > 0 and self.high <= 1):
            raise ConfigError(f"{knob} from {self.low} to {self.high}", expected="a scale of speed within (0, 1]")
        if self.kind is KnobKind.SPEED and self.when_stale == "decay":
            raise ConfigError(
                f"{knob} decays when its source is lost", expected="freeze: a lost source speeds nothing up"
            )
        if self.kind is KnobKind.REPLAN and self.low < 1:
            raise ConfigError(f"{knob} from {self.low}", expected="at least 1 action")

    @classmethod
    def feature(
        cls,
        name: str,
        coefficient: float = 8.0,
        *,
        default: float | None = None,
        neutral: float = 0.0,
        when_stale: Literal["freeze", "decay"] = "freeze",
    ) -> Knob:
        """A feature's knob that reaches twice `coefficient` both ways, and from rest to `coefficient` in half a second.

        Args:
            name: the feature's.
            coefficient: of usual strength, e.g. what `--steer fast=8` says; its sign does not matter.
            default: where it begins; None: off.
            neutral: 1 where the feature's operator is `scale`.
            when_stale: see `Knob`.
        """
        reach = _REACH * abs(coefficient) or 1.0
        return cls(
            name,
            low=-reach,
            high=reach,
            default=default,
            slew_per_s=reach,
            when_stale=when_stale,
            neutral=neutral,
        )

    @classmethod
    def group(cls, name: str, members: tuple[str, ...]) -> Knob:
        """A knob from -1 to 1 that moves features together: 1 puts each at its highest, -1 at its lowest value."""
        return cls(name, KnobKind.GROUP, -1.0, 1.0, members=members)

    @classmethod
    def speed(cls, default: float = 1.0) -> Knob:
        """Speed scale from 0.05 to 1; it cannot make anything faster than unscaled."""
        return cls("speed", KnobKind.SPEED, 0.05, 1.0, default, slew_per_s=2.0)

    @classmethod
    def replan(cls, default: int = 10, high: int = 50) -> Knob:
        """Actions that are executed before the policy is asked again, from 1 to `high`."""
        return cls("replan", KnobKind.REPLAN, 1.0, float(max(high, default, 2)), float(default))

    @property
    def rest(self) -> float:
        """Value next to off: `neutral`, as far as the range allows."""
        return min(max(self.neutral, self.low), self.high)

    def taken(self, value: float | None) -> float | None:
        """`value` as the knob takes it: within its range, and whole for a replan interval.

        Raises:
            ConfigError: NaN, or off where the knob has no off.
        """
        if value is None:
            if self.kind in (KnobKind.SPEED, KnobKind.REPLAN):
                raise ConfigError(f"knob '{self.name}' cannot be off", expected=f"{self.low:g} to {self.high:g}")
            return None
        if math.isnan(value):
            raise ConfigError(f"knob '{self.name}' was set to NaN", expected=f"{self.low:g} to {self.high:g}")
        inside = min(max(float(value), self.low), self.high)
        return float(round(inside)) if self.kind is KnobKind.REPLAN else inside

    def scaled_to(self, value: float | None, member: Knob) -> float | None:
        """A group's value as a member's: the ends go to the member's ends, the rest to its rest."""
        if value is None:
            return None
        if value >= self.rest:
            span, reach = self.high - self.rest, member.high - member.rest
        else:
            span, reach = self.rest - self.low, member.rest - member.low
        return member.rest if span == 0 else member.taken(member.rest + (value - self.rest) / span * reach)
