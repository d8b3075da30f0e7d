"""Running one live episode: set up, run, and end in order whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from vlasteer.controller import AppliedChange, Controller
from vlasteer.conventions import converter
from vlasteer.errors import ConfigError, VlasteerError
from vlasteer.knobs import KnobBoard
from vlasteer.live.overlapped import run_overlapped
from vlasteer.live.pace import Pace
from vlasteer.live.policy_thread import PolicyThread
from vlasteer.live.session import OnTick, Session
from vlasteer.live.status import LiveOptions
from vlasteer.live.synchronous import run_synchronous
from vlasteer.live.takes import Takes
from vlasteer.protocols import Policy, Robot, World
from vlasteer.runtime import PlannedEpisode, Sinks
from vlasteer.steering import Port
from vlasteer.types import Outcome

_DEFAULTS = LiveOptions()


def is_robot(world: World) -> TypeGuard[Robot]:
    """Whether the world moves by itself. (A runtime check of the protocol would evaluate its properties.)"""
    return hasattr(type(world), "submit") and hasattr(type(world), "permit")


def run_live(
    policy: Policy,
    world: World,
    episode: PlannedEpisode,
    *,
    sinks: Sinks,
    board: KnobBoard,
    port: Port | None = None,
    options: LiveOptions = _DEFAULTS,
    on_tick: OnTick | None = None,
    log: Path | None = None,
    on_change: Callable[[AppliedChange], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Run an episode while a person holds, with the board's knobs applied at every control step.

    The world is reset, and then waits for a fresh press. A simulation is one thread: the policy is asked between two
    steps, and time stands still meanwhile. A robot goes on while the policy thinks (`LiveOptions.overlap`).

    Args:
        policy: mounted with what the board's features turn.
        world: a simulation or a robot.
        episode: what to run; its own knob values are not used, the board's are.
        sinks: makes the sinks of a take (see `vlasteer.live.takes`): the recorder.
        board: its clock is the robot's.
        port: of the mounted steering; has the board's features.
        options: see `LiveOptions`.
        on_tick: told after every control period, also while waiting and paused, from this thread.
        log: file for the changes of knobs, one JSON object a line.
        on_change: told every change once it has moved something.
        sleep: waits so many seconds of the board's clock.

    Returns:
        How it ended; `STOPPED` after a source's stop, or when a robot has stopped itself.

    Raises:
        Whatever a policy, world or sink raises, and KeyboardInterrupt; by then a robot is stopped and the recording is
        closed as `FAILED`, or `STOPPED` after an interruption.
    """
    robot = world if is_robot(world) else None
    if robot is not None and not options.hold_to_run:
        raise ConfigError("a robot was asked to run without being held", expected="hold_to_run=True")
    convert = converter(policy.action_spec, world.action_spec)
    if port is not None and not episode.info.feature_names:
        episode = replace(episode, info=replace(episode.info, feature_names=tuple(sorted(port.names))))
    takes = Takes(episode, sinks)
    pace = Pace(board.clock, sleep)
    outcome = Outcome.FAILED
    with ExitStack() as stack:
        controller = stack.enter_context(
            Controller(board, port=port, robot=robot, episode=episode.info.index, log=log, on_change=on_change)
        )
        session = Session(policy, world, robot, episode.info, convert, board, controller, takes, pace, options, on_tick)
        thread = stack.enter_context(PolicyThread(session.think))
        # Ended in this order: the permission to move, the recording, the last tick; only then is the policy waited for.
        stack.callback(lambda: session.tick(outcome))
        stack.callback(lambda: takes.close(outcome))
        stack.callback(controller.close)
        try:
            if board.stopping:
                session.note, outcome = "stopped before it began", Outcome.STOPPED
                return outcome
            world.reset(episode.info.key)
            board.drop_hold()
            session.tick()
            if robot is not None and options.overlap:
                outcome = run_overlapped(session, robot, thread)
            else:
                outcome = run_synchronous(session)
            if robot is not None and outcome in (Outcome.STOPPED, Outcome.FAILED):
                robot.stop(session.note)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
            outcome = Outcome.STOPPED if interrupted else Outcome.FAILED
            session.note = "interrupted" if interrupted else _in_words(error)
            if robot is not None:
                robot.stop(session.note)
            raise
    return outcome


def _in_words(error: BaseException) -> str:
    return str(error) if isinstance(error, VlasteerError) else f"{type(error).__name__}: {error}"
