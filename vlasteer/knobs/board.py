"""The board: thread-safe setpoints that sources write and the controller reads once per control step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from vlasteer.errors import ConfigError, UnknownNameError
from vlasteer.knobs.arbitration import Channel, Origin, Setting
from vlasteer.knobs.hold import HoldToRun
from vlasteer.knobs.knob import Knob, KnobKind
from vlasteer.knobs.readings import BoardState, KnobChange, KnobReading, SourceState
from vlasteer.knobs.source import Source

INSTRUCTION, MARK = "instruction", "mark"
"""Names of the instruction and of marks in changes; no knob is called so."""


class KnobBoard:
    """The knobs of a session.

    Sources only record what is wanted; nothing moves before the controller reads. Among several sources
    `vlasteer.knobs.arbitration` decides, and for hold-to-run `vlasteer.knobs.hold`. The last instruction said counts,
    and any source's stop.

    Args:
        knobs: at most one of kind SPEED and one of kind REPLAN; members of groups must be features among them.
        instruction: the words that the policy begins with; "" leaves them to the episode.
        clock: seconds; the same clock as the robot's.

    Attributes:
        knobs: by name.
        clock: as given.

    Raises:
        ConfigError: two knobs of one name, two of a kind that there is once, or a group with unknown members.
    """

    def __init__(
        self, knobs: Iterable[Knob], *, instruction: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        listed = list(knobs)
        self.knobs: Mapping[str, Knob] = MappingProxyType({knob.name: knob for knob in listed})
        self.clock = clock
        _check(listed)
        self._lock = threading.Lock()
        self._channels = {knob.name: Channel(knob) for knob in listed}
        self._features = [c for c in self._channels.values() if c.knob.kind is KnobKind.FEATURE]
        self._speed = self._only(KnobKind.SPEED)
        self._replan = self._only(KnobKind.REPLAN)
        self._origins: dict[str, Origin] = {}
        self._hold = HoldToRun()
        self._instruction = instruction
        self._said: KnobChange | None = None
        self._stopped, self._stopper, self._recording, self._note = False, "", True, ""
        self._marks: list[KnobChange] = []
        self._read_s: float | None = None

    # -- sources -------------------------------------------------------------------------------------------------------
    def source(self, name: str, *, live: bool, rank: int = 0) -> Source:
        """A new source.

        Args:
            name: for people and logs.
            live: whether a person or program is behind it that may vanish: it must then write or beat more often than
                its knobs' `stale_after_s`, or it is lost. A file or script that cannot vanish is not live.
            rank: the higher wins.

        Raises:
            ConfigError: a source of that name is there already.
        """
        with self._lock:
            if name in self._origins:
                raise ConfigError(f"two knob sources are named '{name}'", expected="a name of its own for each")
            origin = self._origins[name] = Origin(name, rank, live, self.clock())
        return Source(self, origin)

    # -- the controller ------------------------------------------------------------------------------------------------
    def read(self, elapsed_s: float | None = None) -> KnobReading:
        """Settle who has what and let the values follow. For the controller alone, once per control step.

        Args:
            elapsed_s: seconds by which values may follow, for clocks that stand still or leap (a simulation's);
                default: those since the previous reading.
        """
        with self._lock:
            now = self.clock()
            if elapsed_s is None:
                elapsed_s = 0.0 if self._read_s is None else max(now - self._read_s, 0.0)
            self._read_s = now
            changes: list[KnobChange] = []
            for channel in self._channels.values():
                channel.expire(now)
                channel.follow(elapsed_s)
                if (change := channel.change()) is not None:
                    changes.append(change)
            if self._said is not None:
                changes.append(self._said)
                self._said = None
            changes += self._marks
            marks, self._marks = tuple(str(mark.new) for mark in self._marks), []
            speed, replan = self._speed, self._replan
            return KnobReading(
                values={channel.knob.name: channel.value for channel in self._features},
                setpoints={name: channel.setpoint for name, channel in self._channels.items()},
                speed=1.0 if speed is None or speed.value is None else speed.value,
                replan=None if replan is None or replan.value is None else round(replan.value),
                instruction=self._instruction,
                held=self._held(now),
                stop=self._stopped,
                recording=self._recording,
                marks=marks,
                changes=tuple(changes),
                time_s=now,
            )

    def held(self) -> bool:
        """Whether the operator holds to run, now."""
        with self._lock:
            return self._held(self.clock())

    def press(self) -> int:
        """Number of the press that holds to run now (see `HoldToRun.number`); 0 for none."""
        with self._lock:
            now = self.clock()
            return self._hold.number(now) if self._held(now) else 0

    @property
    def stopping(self) -> bool:
        """Whether a source asked to stop."""
        return self._stopped

    @property
    def stopped_by(self) -> str:
        """The source that last asked to stop; "" while none has."""
        return self._stopper

    def drop_hold(self) -> None:
        """Whoever holds has to press anew: a press of before is no order to start."""
        with self._lock:
            self._hold.drop()

    def lose_hold(self, press: int) -> None:
        """The robot does not count that press any more: if it still holds, it ends here too, for everybody to see."""
        with self._lock:
            if press and press == self._hold.number(self.clock()):
                self._hold.drop()
                self._note = "the hold came to the robot too late: let go and press again"

    def rearm(self) -> None:
        """Take back the stop, for another episode; whoever holds has to press anew."""
        with self._lock:
            self._stopped, self._stopper = False, ""
            self._hold.drop()

    # -- people --------------------------------------------------------------------------------------------------------
    def state(self) -> BoardState:
        """How everything stands; values and staleness as of the latest reading."""
        with self._lock:
            now = self.clock()
            held = self._held(now)
            return BoardState(
                knobs={name: channel.state for name, channel in self._channels.items()},
                held=held,
                holder=self._hold.holder(now) if held else "",
                instruction=self._instruction,
                sources=tuple(
                    SourceState(o.name, o.live, o.rank, max(now - o.seen_s, 0.0)) for o in self._origins.values()
                ),
                stop=self._stopped,
                recording=self._recording,
                note=self._note,
            )

    # -- what sources do -----------------------------------------------------------------------------------------------
    def _set(self, origin: Origin, name: str, value: float | None) -> float | None:
        knob = self._known(name)
        taken = knob.taken(value)
        with self._lock:
            now = self._seen(origin)
            if origin.closed:
                return taken
            if value is not None and taken != value and knob.kind is not KnobKind.REPLAN:
                self._note = f"{origin.name}: {name} {value:g} is out of range, {taken:g} was taken"
            in_force = self._channels[name].set(Setting(origin, taken, now))
            if not in_force:
                self._note = f"{origin.name}: {name} is in the hands of a source of higher rank"
            for member in knob.members if in_force else ():
                scaled = knob.scaled_to(taken, self.knobs[member])
                self._channels[member].set(Setting(origin, scaled, now))
        return taken

    def _release(self, origin: Origin, name: str) -> None:
        knob = self._known(name)
        with self._lock:
            now = self._seen(origin)
            for each in (name, *knob.members):
                self._channels[each].release(origin, now)

    def _beat(self, origin: Origin) -> None:
        with self._lock:
            self._seen(origin)

    def _press(self, origin: Origin, held: bool) -> None:
        with self._lock:
            now = self._seen(origin)
            if not origin.closed:  # another of that name may be there by now
                self._hold.press(origin.name, held, now)

    def _say(self, origin: Origin, instruction: str) -> None:
        words = " ".join(instruction.split())
        with self._lock:
            now = self._seen(origin)
            if not words:
                self._note = f"{origin.name}: an empty instruction was not taken"
            elif words != self._instruction:
                self._said = KnobChange(now, INSTRUCTION, origin.name, self._instruction, words)
                self._instruction = words

    def _stop(self, origin: Origin) -> None:
        with self._lock:
            self._seen(origin)
            self._stopped, self._stopper = True, origin.name
            self._note = f"{origin.name} stopped"
            self._hold.drop()

    def _record(self, origin: Origin, on: bool) -> None:
        with self._lock:
            self._seen(origin)
            self._recording = on

    def _mark(self, origin: Origin, label: str) -> None:
        with self._lock:
            now = self._seen(origin)
            self._marks.append(KnobChange(now, MARK, origin.name, None, label))

    def _close(self, origin: Origin) -> None:
        with self._lock:
            if not origin.closed:
                origin.closed = True
                self._hold.leave(origin.name)
                del self._origins[origin.name]

    def _seen(self, origin: Origin) -> float:
        origin.seen_s = now = self.clock()
        return now

    def _held(self, now: float) -> bool:
        return not self._stopped and bool(self._hold.holder(now))

    def _known(self, name: str) -> Knob:
        if name not in self.knobs:
            raise UnknownNameError.among("knob", name, self.knobs)
        return self.knobs[name]

    def _only(self, kind: KnobKind) -> Channel | None:
        return next((c for c in self._channels.values() if c.knob.kind is kind), None)


def _check(knobs: list[Knob]) -> None:
    names = [knob.name for knob in knobs]
    taken = [*names, INSTRUCTION, MARK]
    if doubled := next((name for name in names if taken.count(name) > 1), None):
        raise ConfigError(f"the knob name '{doubled}' is taken", expected="a name of its own for each knob")
    for kind in (KnobKind.SPEED, KnobKind.REPLAN):
        if sum(knob.kind is kind for knob in knobs) > 1:
            raise ConfigError(f"two knobs of kind {kind}", expected="one at most")
    features = [knob.name for knob in knobs if knob.kind is KnobKind.FEATURE]
    for knob in knobs:
        for member in knob.members:
            if member not in features:
                raise UnknownNameError.among(f"member of the group '{knob.name}'", member, features)
