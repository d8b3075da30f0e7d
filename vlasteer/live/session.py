"""What the live loops share: knobs in, records and status out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlasteer.controller import AppliedChange, Controller, Moved
from vlasteer.conventions import Converter
from vlasteer.knobs import MARK, KnobBoard, KnobReading
from vlasteer.live.pace import Pace
from vlasteer.live.status import LiveOptions, LivePhase, LiveStatus
from vlasteer.live.takes import Takes
from vlasteer.protocols import Policy, Robot, World
from vlasteer.types import ActionChunk, EpisodeInfo, Observation, Outcome, Phase, StepRecord

OnTick = Callable[[LiveStatus], None]


@dataclass(frozen=True)
class Thought:
    """An answer of the policy, with all that is to be known of the question.

    Attributes:
        chunk: the answer.
        observation: that it answers, with the instruction that the policy was given.
        asked: `Controller.generation` at the question.
    """

    chunk: ActionChunk
    observation: Observation
    asked: int


@dataclass(frozen=True)
class Step:
    """A control step that was executed.

    Attributes:
        observation: before it.
        thought: that its action is from.
        count: 0-based count of thoughts.
        index: place of the action in its chunk.
        first: whether no earlier step was from this thought.
        action: float64 [size], commanded, in the world's convention.
        executed: float64 [size], what was really done.
        paced: `Controller.generation` when the action was handed over.
        age_s: from the observation of the thought to the end of the step.
        dropped: actions of the thought that were past when it came.
        extra: what the robot adds.
    """

    observation: Observation
    thought: Thought
    count: int
    index: int
    first: bool
    action: NDArray[np.float64]
    executed: NDArray[np.float64]
    paced: int
    age_s: float
    dropped: int
    extra: dict[str, float]


class Session:
    """One live episode on its way.

    Attributes:
        policy, world, robot, options, convert: as they were given; `robot` is the world if it is one.
        period_s: control period.
        steps: control steps made so far.
        note: what is to be said; see `LiveStatus`.
        underruns: see `LiveStatus`; so is `rejected`.
    """

    def __init__(
        self,
        policy: Policy,
        world: World,
        robot: Robot | None,
        info: EpisodeInfo,
        convert: Converter,
        board: KnobBoard,
        controller: Controller,
        takes: Takes,
        pace: Pace,
        options: LiveOptions,
        on_tick: OnTick | None,
    ) -> None:
        self.policy, self.world, self.robot, self.options, self.convert = policy, world, robot, options, convert
        self.period_s = 1.0 / world.action_spec.rate_hz
        self.pace, self.controller = pace, controller
        self.steps = self.underruns = self.rejected = 0
        self.note = ""
        self._info, self._board, self._takes, self._on_tick = info, board, takes, on_tick
        self._reading = controller.apply()
        self._phase = LivePhase.WAITING
        self._observation: Observation | None = None
        self._record: StepRecord | None = None
        self._changes: tuple[AppliedChange, ...] = ()
        self._marks = len(self._reading.marks)
        self._chunk, self._age_s, self._inference_s, self._latency_s = -1, math.nan, math.nan, math.nan

    def begin(self, elapsed_s: float | None = None) -> KnobReading:
        """A control period begins: the knobs are applied. Returns them, with `held` as it counts in this episode."""
        reading = self.controller.apply(elapsed_s)
        if not self.options.hold_to_run:
            reading = replace(reading, held=not reading.stop)
        self._takes.switch(reading.recording)
        self._marks += len(reading.marks)
        if reading.held:
            self._phase = LivePhase.RUNNING
        elif self._phase is LivePhase.RUNNING and not reading.stop:
            self._phase = LivePhase.PAUSED
            self.pace.rest()
        self._reading, self._record, self._changes = reading, None, ()
        return reading

    def may_move(self) -> bool:
        """Whether the operator still holds, and nobody has stopped: for after a long inference."""
        return not self._board.stopping and (self._board.held() or not self.options.hold_to_run)

    def ended(self, reading: KnobReading) -> Outcome | None:
        """How the episode ended, if it did: by a source's stop, by the robot's own, or as the world says."""
        if reading.stop:
            self.note = f"stopped by {self._board.stopped_by}"
            if self.robot is not None:
                self.robot.stop(self.note)
            return Outcome.STOPPED
        outcome = self.world.outcome
        if outcome is not Outcome.RUNNING:
            return outcome
        if self.robot is not None and (status := self.robot.status).phase is Phase.STOPPED:
            self.note = status.reason or "the robot has stopped"
            return Outcome.STOPPED
        return None

    def now(self) -> float:
        """The board's clock."""
        return self._board.clock()

    def look(self) -> Observation:
        """The newest observation, with the words that the policy is to be given."""
        seen = self.world.observe()
        words = self._reading.instruction or self._info.instruction
        self._observation = seen if seen.instruction == words else replace(seen, instruction=words)
        return self._observation

    def think(self, observation: Observation, asked: int) -> Thought:
        """Ask the policy and wait; `asked` is the controller's generation."""
        return Thought(self.policy.act(observation), observation, asked)

    def made(self, step: Step) -> None:
        """A control step was executed: record it."""
        chunk, seen, now = step.thought.chunk, step.observation, self._board.clock()
        words = step.thought.observation.instruction
        if seen.instruction != words:
            seen = replace(seen, instruction=words)
        # Without pictures only where a recording can repeat the last ones: never at the beginning of a take.
        if not (self.options.look_always or step.first or self._takes.at_start):
            seen = replace(seen, images={})
        self.pace.stepped()
        self._chunk, self._age_s, self._inference_s = step.count, step.age_s, chunk.inference_s
        self._record = StepRecord(
            step=self.steps,
            observation=seen,
            chunk=step.count,
            chunk_step=step.index,
            action_policy=chunk.actions[step.index],
            action=step.action,
            executed=step.executed,
            applied=chunk.applied,
            inference_s=chunk.inference_s if step.first else 0.0,
            non_action_tokens=chunk.non_action_tokens if step.first else 0,
            outcome=self.world.outcome,
            tokens=len(chunk.token_ids) if step.first else 0,
            extra=self._extra(step, now) | step.extra,
        )
        moved = Moved(self.steps, step.count, step.thought.asked, step.paced, now)
        self._changes = self.controller.moved(moved)
        latencies = (c.latency_s for c in reversed(self._changes) if c.change.knob != MARK)
        self._latency_s = next((s for s in latencies if s is not None), self._latency_s)
        self._takes.step(self._record)
        self._marks = 0
        self.steps += 1

    def tick(self, outcome: Outcome = Outcome.RUNNING) -> None:
        """The period ends, or with an `outcome` the episode: tell it."""
        if self._on_tick is None:
            return
        self._on_tick(
            LiveStatus(
                step=self.steps,
                phase=self._phase if outcome is Outcome.RUNNING else LivePhase.ENDED,
                rate_hz=self.pace.rate_hz,
                inference_s=self._inference_s,
                chunk_age_s=self._age_s,
                underruns=self.underruns,
                rejected=self.rejected,
                reading=self._reading,
                robot=None if self.robot is None else self.robot.status,
                record=self._record,
                observation=self._observation,
                outcome=outcome,
                chunk=self._chunk,
                knob_latency_s=self._latency_s,
                changes=self._changes,
                note=self.note,
            )
        )

    def _extra(self, step: Step, now: float) -> dict[str, float]:
        """What is recorded beside the step: the knobs as they stand, and the times that a replay needs."""
        reading = self._reading
        extra = {f"knob.{name}.setpoint": _number(value) for name, value in reading.setpoints.items()}
        extra |= {f"knob.{name}": _number(value) for name, value in reading.values.items()}
        return extra | {
            "speed": reading.speed,
            "replan": float(reading.replan or self.options.replan),
            "held": float(reading.held),
            "mark": float(self._marks),
            "chunk_age_s": step.age_s,
            "observed_at_s": step.thought.observation.time_s,
            "clock_s": now,
            "dropped": float(step.dropped if step.first else 0),
        }


def _number(value: float | None) -> float:
    return math.nan if value is None else value
