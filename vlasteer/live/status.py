"""How a live episode is run, and what is told of it at every control period."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vlasteer.controller import AppliedChange
from vlasteer.errors import ConfigError
from vlasteer.knobs import KnobReading
from vlasteer.types import Observation, Outcome, RobotStatus, StepRecord


@dataclass(frozen=True)
class LiveOptions:
    """How a live episode is run.

    Attributes:
        replan: actions of a chunk that are executed before the policy is asked again, unless a knob says another
            number.
        overlap: let a robot go on while the policy thinks; False waits for every answer. Simulations always wait.
        realtime: let a simulation run at its control rate (times the speed knob), not as fast as it can.
        look_always: record the pictures of every step, not only of those that the policy looks at.
        hold_to_run: move only while somebody holds; a robot always asks for it.
    """

    replan: int = 10
    overlap: bool = True
    realtime: bool = True
    look_always: bool = True
    hold_to_run: bool = True

    def __post_init__(self) -> None:
        if self.replan < 1:
            raise ConfigError(f"replan interval {self.replan}", expected="at least 1 action")


class LivePhase(StrEnum):
    """What a live episode is at."""

    WAITING = "waiting"
    """For the first hold."""
    RUNNING = "running"
    """Held; the policy is asked and its actions are executed."""
    PAUSED = "paused"
    """Let go; on the next hold it looks and thinks anew."""
    ENDED = "ended"
    """The last that is told."""


@dataclass(frozen=True)
class LiveStatus:
    """How a live episode stands at the end of a control period.

    Attributes:
        step: control steps made so far, which is the number of the next.
        phase: of the episode.
        rate_hz: measured rate of the latest steps; NaN before the second.
        inference_s: seconds that the newest answer of the policy took; NaN before the first.
        chunk_age_s: from the observation that the running chunk answers until now; NaN before the first.
        underruns: how often a robot ran out of actions while it was held.
        rejected: how many answers a robot refused for being too late.
        reading: the knobs as they were applied.
        robot: of a robot.
        record: the step that was just made; None when none was.
        observation: the newest; None before the first.
        outcome: of the episode.
        chunk: 0-based count of answers; -1 before the first.
        knob_latency_s: newest measured latency from a source's `set` to the motion that answered it; NaN before.
        changes: knob changes that the step just made was the first to answer.
        note: why an episode ended or an answer was refused; "" when there is nothing to say.
    """

    step: int
    phase: LivePhase
    rate_hz: float
    inference_s: float
    chunk_age_s: float
    underruns: int
    rejected: int
    reading: KnobReading
    robot: RobotStatus | None
    record: StepRecord | None
    observation: Observation | None
    outcome: Outcome
    chunk: int
    knob_latency_s: float
    changes: tuple[AppliedChange, ...]
    note: str
