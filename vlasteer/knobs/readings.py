"""What comes out of a board: a reading for the controller, a state for people. All are immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why a setpoint changed."""

    SET = "set"
    """A source set it."""
    RELEASED = "released"
    """Its source let go of it: another's setting came back, or the default."""
    LOST = "lost"
    """Its source fell silent or was closed: another's setting came back, or the knob froze or decays."""


@dataclass(frozen=True)
class KnobChange:
    """A setpoint that changed since the previous reading.

    What was set and overwritten between two readings affected nothing and is not told.

    Attributes:
        time_s: when the source set it (or was found lost), by the board's clock.
        knob: its name; "instruction" for the instruction, "mark" for a mark (`new` is its label).
        source: who set it, or lost it.
        old: before; None is off.
        new: after.
        cause: why.
    """

    time_s: float
    knob: str
    source: str
    old: float | str | None
    new: float | str | None
    cause: Cause = Cause.SET


@dataclass(frozen=True)
class KnobReading:
    """What the controller works with for one control step.

    Attributes:
        values: coefficient of every feature (None: off), groups expanded, after slew.
        setpoints: of every knob, groups and loop knobs included.
        speed: scale of speed in (0, 1]; 1 without such a knob.
        replan: actions between two questions to the policy; None without such a knob.
        instruction: the words for the policy; "" when nobody said any.
        held: whether the operator holds to run.
        stop: whether a source asked to stop; stays until `KnobBoard.rearm`.
        recording: whether steps are to be recorded.
        marks: labels that were set since the previous reading.
        changes: setpoints that changed since the previous reading.
        time_s: when it was read, by the board's clock.
    """

    values: Mapping[str, float | None]
    setpoints: Mapping[str, float | None]
    speed: float
    replan: int | None
    instruction: str
    held: bool
    stop: bool
    recording: bool
    marks: tuple[str, ...]
    changes: tuple[KnobChange, ...]
    time_s: float


@dataclass(frozen=True)
class KnobState:
    """How a knob stands.

    Attributes:
        setpoint: where it is to go; None is off.
        value: where it was at the latest reading.
        source: who has it, or had it last; "" while nobody has.
        stale: whether that source was lost.
    """

    setpoint: float | None
    value: float | None
    source: str
    stale: bool


@dataclass(frozen=True)
class SourceState:
    """How a source stands.

    Attributes:
        name: of the source.
        live: whether it has to show signs of life.
        rank: in arbitration.
        age_s: since its last sign of life.
    """

    name: str
    live: bool
    rank: int
    age_s: float


@dataclass(frozen=True)
class BoardState:
    """How the board stands, for pages and status lines.

    Attributes:
        knobs: by name, in the board's order.
        held: hold-to-run, now.
        holder: the source that holds; "" for none.
        instruction: the words for the policy.
        sources: that are there, in the order in which they came.
        stop: whether a source asked to stop.
        recording: whether steps are to be recorded.
        note: the newest remark, e.g. that a value was clamped; "" for none.
    """

    knobs: Mapping[str, KnobState]
    held: bool
    holder: str
    instruction: str
    sources: tuple[SourceState, ...]
    stop: bool
    recording: bool
    note: str
