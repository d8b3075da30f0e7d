"""The loop of a robot that moves while the policy thinks.

At every control period the robot's newest observation is taken; when the policy is free and its next answer is due, it
is asked about it in a thread of its own. Its answer replaces what the robot has not executed yet, and the robot drops
the steps that are past by then. When actions run out the robot decelerates and holds until the next answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlasteer.errors import WorldError
from vlasteer.knobs import KnobReading
from vlasteer.live.policy_thread import PolicyThread
from vlasteer.live.session import Session, Step, Thought
from vlasteer.protocols import Robot
from vlasteer.types import Executed, Observation, Outcome, Phase


@dataclass
class _Flight:
    """The newest chunk that the robot has taken.

    Attributes:
        thought: that it is.
        actions: float64 [n, size], in the robot's convention.
        paced: `Controller.generation` when it was submitted.
        dropped: how many of its actions were past.
        moved: whether one of its actions was executed.
        next: index of the action after the newest executed one.
        over: whether the operator has let go since.
    """

    thought: Thought
    actions: NDArray[np.float64]
    paced: int
    dropped: int
    moved: bool = False
    next: int = 0
    over: bool = False


_BLIND_S = 2.0
"""How long a robot may go without a fresh observation before its episode ends."""
_IDLE = 3
"""Periods without motion after which a robot is taken to have dropped what it had."""


def run_overlapped(session: Session, robot: Robot, thread: PolicyThread) -> Outcome:
    """Run to the end of the episode; how it ended."""
    loop = _Overlapped(session, robot, thread)
    while (ended := loop.period()) is None:
        pass
    return ended


class _Overlapped:
    def __init__(self, session: Session, robot: Robot, thread: PolicyThread) -> None:
        self.session, self.robot, self.thread = session, robot, thread
        self.flight: _Flight | None = None
        self.count = -1
        self.idle = _IDLE
        self.held, self.pressed_s = False, 0.0
        self.seen: Observation | None = None
        self.blind_since_s: float | None = None

    def period(self) -> Outcome | None:
        """One control period; how the episode ended, if it did."""
        session = self.session
        reading = session.begin()
        if (ended := session.ended(reading)) is not None:
            return ended
        observation, fresh = self._look()
        thought = self.thread.take()
        if reading.held:
            if thought is not None:
                self._submit(thought, reading)
            self.pressed_s = self.pressed_s if self.held else reading.time_s
            # What was seen before the press is not asked about: the robot would refuse the answer.
            fresh = fresh and observation.time_s >= self.pressed_s
            if fresh and not self.thread.busy and self._due(reading):
                self.thread.ask(observation, session.controller.generation)
        else:
            self.thread.forget()
            if self.flight is not None:
                self.flight.over = True
        self.held = reading.held
        executed = self.robot.advance()
        if executed is not None and self.flight is not None:
            self._record(executed, self.flight, observation)
            self.idle = 0
        else:
            session.underruns += self.idle == 0 and reading.held
            self.idle += 1
        ended = session.ended(reading)
        session.tick()
        return ended

    def _look(self) -> tuple[Observation, bool]:
        """The newest observation, and whether it is fresh.

        A stale one is not asked about, and what was answered before expires: the robot slows down to hold, and goes on
        when it can be seen again. One that stays stale ends the episode.
        """
        session = self.session
        try:
            self.seen, self.blind_since_s = session.look(), None
            return self.seen, True
        except WorldError as error:
            now = session.now()
            self.blind_since_s = now if self.blind_since_s is None else self.blind_since_s
            stopped = self.robot.status.phase is Phase.STOPPED or self.robot.outcome is not Outcome.RUNNING
            if self.seen is None or stopped or now - self.blind_since_s > _BLIND_S:
                raise
            session.note = str(error)
            return self.seen, False

    def _due(self, reading: KnobReading) -> bool:
        """Whether the next answer is wanted: it should come when `replan` actions are executed, or none are left."""
        flight = self.flight
        if flight is None or flight.over or self.idle >= _IDLE:
            return True
        replan = reading.replan or self.session.options.replan
        # A chunk that is shorter than the interval would run out: ask so early that the answer is there by then.
        ahead = math.ceil(flight.thought.chunk.inference_s / self.session.period_s) + 1
        return flight.next >= min(replan, len(flight.actions) - ahead)

    def _submit(self, thought: Thought, reading: KnobReading) -> None:
        actions = self.session.convert(thought.chunk.actions)
        try:
            dropped = self.robot.submit(actions, thought.observation.time_s, speed=reading.speed)
        except WorldError as error:
            if self.robot.status.phase is Phase.STOPPED:
                raise
            self.session.rejected += 1  # it came too late; the next one may not
            self.session.note = str(error)
            return
        if dropped >= len(actions):  # it looked before the robot had seen the press
            self.session.rejected += 1
            return
        self.session.note = ""
        self.count += 1
        self.idle = min(self.idle, 1)
        self.flight = _Flight(thought, actions, self.session.controller.generation, dropped)

    def _record(self, executed: Executed, flight: _Flight, observation: Observation) -> None:
        first, index = not flight.moved, min(executed.index, len(flight.actions) - 1)
        flight.moved, flight.next = True, index + 1
        if self.idle and not flight.over:
            # Nothing has moved since the policy looked: what it saw is what the world showed before this step.
            observation = flight.thought.observation
        now = self.session.now()
        self.session.made(
            Step(
                observation=observation,
                thought=flight.thought,
                count=self.count,
                index=index,
                first=first,
                action=flight.actions[index],
                executed=executed.action,
                paced=flight.paced,
                age_s=now - flight.thought.observation.time_s,
                dropped=flight.dropped,
                extra=dict(executed.extra),
            )
        )
