"""The loop that waits for the policy: simulations, and robots when every step has to be reproducible."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vlasteer.broker import ChunkBroker
from vlasteer.knobs import KnobReading
from vlasteer.live.session import Session, Step, Thought
from vlasteer.types import Outcome


def run_synchronous(session: Session) -> Outcome:
    """Run to the end of the episode; how it ended.

    While nobody holds nothing moves and what is left of a chunk is forgotten. In a simulation knobs move by its own
    time, one control period a step, so that the same settings at the same steps give the same episode.
    """
    broker = ChunkBroker(session.convert, session.options.replan)
    simulated = session.robot is None
    thought: Thought | None = None
    count, shown = -1, False
    while True:
        reading = session.begin(session.period_s if simulated else None)
        if (ended := session.ended(reading)) is not None:
            return ended
        if not reading.held:
            broker.clear()
            if session.robot is not None or not shown:
                session.look()
                shown = True
            session.tick()
            session.pace.wait(session.period_s)
            continue
        shown = False
        broker.replan = reading.replan or session.options.replan
        observation = session.look()
        first = broker.empty
        if first:
            thought = session.think(observation, session.controller.generation)
            if not session.may_move():
                continue
            broker.fill(thought.chunk)
            count += 1
        assert thought is not None
        action = broker.pop()
        executed = _act(session, action.world, thought, reading)
        session.made(
            Step(
                observation=observation,
                thought=thought,
                count=count,
                index=action.chunk_step,
                first=first,
                action=action.world,
                executed=executed,
                paced=session.controller.generation,
                age_s=observation.time_s + session.period_s - thought.observation.time_s,
                dropped=0,
                extra={},
            )
        )
        ended = session.ended(reading)
        session.tick()
        if ended is not None:
            return ended
        if simulated and session.options.realtime:
            session.pace.wait(session.period_s / reading.speed)


def _act(session: Session, action: NDArray[np.float64], thought: Thought, reading: KnobReading) -> NDArray[np.float64]:
    """Execute one action; a robot that is slowed down takes several periods for it."""
    robot = session.robot
    if robot is None or reading.speed >= 1.0:
        return session.world.act(action)
    robot.submit(action[None], thought.observation.time_s, speed=reading.speed)
    executed = action
    for _ in range(math.ceil(1.0 / reading.speed)):
        done = robot.advance()
        executed = executed if done is None else done.action
    return executed
