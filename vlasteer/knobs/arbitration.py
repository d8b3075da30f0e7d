"""Who has a knob, and the value that follows its setpoint.

The rule, knob by knob:

1. The higher rank wins. A lower one's setting is kept and comes into force when the higher ones have let go.
2. Of equal ranks, the last who moved the knob has it; the other's setting is forgotten.
3. Who lets go (`release`), or is lost, gives the knob back: to the highest-ranking setting that waits and whose
   source is alive, the latest of these. When none waits, a released knob goes to its default, and a lost one freezes
   or decays, as its `when_stale` says.
4. A source is lost when it is closed, or is live and has been silent for the knob's `stale_after_s`. One that comes
   back has the knob again only by moving it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vlasteer.knobs.knob import Knob
from vlasteer.knobs.readings import Cause, KnobChange, KnobState


@dataclass
class Origin:
    """A source as the board keeps it.

    Attributes:
        name: of the source.
        rank: in arbitration.
        live: whether it has to show signs of life.
        seen_s: its last sign of life.
        closed: whether it has left.
    """

    name: str
    rank: int
    live: bool
    seen_s: float
    closed: bool = False

    def lost(self, now: float, after_s: float) -> bool:
        """Whether it is gone, or has been silent for longer than `after_s`."""
        return self.closed or (self.live and now - self.seen_s > after_s)


@dataclass(frozen=True)
class Setting:
    """What a source wants of a knob."""

    origin: Origin
    value: float | None
    time_s: float


class Channel:
    """One knob of a board. Not thread-safe: the board locks."""

    def __init__(self, knob: Knob) -> None:
        self.knob = knob
        self.setpoint = self.value = knob.default
        self._owner: Setting | None = None
        self._waiting: dict[str, Setting] = {}
        self._source, self._stale = "", False
        self._told = knob.default
        self._cause, self._changed_s = Cause.SET, 0.0

    @property
    def state(self) -> KnobState:
        """For people."""
        return KnobState(self.setpoint, self.value, self._source, self._stale)

    def set(self, setting: Setting) -> bool:
        """A source sets the knob; whether the setting is in force (rules 1 and 2)."""
        self.expire(setting.time_s)
        name, owner = setting.origin.name, self._owner
        if owner is not None and owner.origin.rank > setting.origin.rank:
            self._waiting[name] = setting
            return False
        if owner is not None and owner.origin.rank < setting.origin.rank:
            self._waiting[owner.origin.name] = owner
        self._waiting.pop(name, None)
        self._take(setting, Cause.SET, setting.time_s)
        return True

    def release(self, origin: Origin, now: float) -> None:
        """A source lets go of the knob (rule 3)."""
        self._waiting.pop(origin.name, None)
        if self._owner is not None and self._owner.origin is origin:
            self._give_back(Cause.RELEASED, now)

    def expire(self, now: float) -> None:
        """Take the knob from a source that is lost (rule 4)."""
        if self._owner is not None and self._owner.origin.lost(now, self.knob.stale_after_s):
            self._give_back(Cause.LOST, now)

    def follow(self, elapsed_s: float) -> None:
        """Let the value follow the setpoint for that many seconds, no faster than the slew."""
        if self.value == self.setpoint:
            return
        knob = self.knob
        if math.isinf(knob.slew_per_s):
            self.value = self.setpoint
            return
        start = knob.rest if self.value is None else self.value
        goal = knob.rest if self.setpoint is None else self.setpoint
        reach = knob.slew_per_s * elapsed_s
        self.value = goal if abs(goal - start) <= reach else start + math.copysign(reach, goal - start)
        if self.setpoint is None and self.value == goal:
            self.value = None

    def change(self) -> KnobChange | None:
        """How the setpoint differs from when this was last asked."""
        if self.setpoint == self._told:
            return None
        old, self._told = self._told, self.setpoint
        return KnobChange(self._changed_s, self.knob.name, self._source, old, self.setpoint, self._cause)

    def _take(self, setting: Setting, cause: Cause, now: float) -> None:
        self._owner, self.setpoint = setting, setting.value
        self._source, self._stale = setting.origin.name, False
        self._cause, self._changed_s = cause, now

    def _give_back(self, cause: Cause, now: float) -> None:
        self._owner = None
        alive = [s for s in self._waiting.values() if not s.origin.lost(now, self.knob.stale_after_s)]
        if alive:
            best = max(alive, key=lambda s: (s.origin.rank, s.time_s))
            del self._waiting[best.origin.name]
            self._take(best, cause, now)
            return
        freeze = cause is Cause.LOST and self.knob.when_stale == "freeze"
        self.setpoint = self.value if freeze else self.knob.default
        self._stale, self._cause, self._changed_s = cause is Cause.LOST, cause, now
        if cause is Cause.RELEASED:
            self._source = ""
