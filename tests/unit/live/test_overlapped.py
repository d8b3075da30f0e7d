"""The live loop on a robot: thinking while it moves, late and missing answers, letting go, stops."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from live_episodes import Memories, Operator, board_of, planned
from toys import SPEC, ToyClock, ToyPolicy, ToyRobot

from vlasteer.errors import ConfigError, WorldError
from vlasteer.knobs import Knob, Source
from vlasteer.live import LiveOptions, LivePhase, LiveStatus, run_live
from vlasteer.types import ActionChunk, EpisodeKey, Observation, Outcome

SIZE = 12
"""Actions of a chunk."""


class SlowPolicy(ToyPolicy):
    """Answers each question `periods` control periods of the robot later, with a chunk of small moves downwards.

    The numbers in a chunk tell which question it answers.
    """

    def __init__(self, robot: ToyRobot, periods: int = 3, size: int = SIZE) -> None:
        super().__init__()
        self.robot, self.periods, self.size = robot, periods, size
        self.questions: list[Observation] = []
        self.breaks_at, self.over = -1, False

    def act(self, observation: Observation, noise=None) -> ActionChunk:
        number = len(self.questions)
        self.questions.append(observation)
        if number == self.breaks_at:
            raise RuntimeError("the policy broke")
        with _period:
            due = self.robot.clock.now + self.periods * self.robot.period_s
            _period.wait_for(lambda: self.robot.clock.now >= due - 1e-9 or self.over, timeout=10)
        actions = np.tile(-1e-4 * (number + 1), (self.size, SPEC.size))
        actions[:, 0] = 1e-3 * np.arange(self.size)
        return ActionChunk(
            actions, SPEC, actions, observed_at_s=observation.time_s, inference_s=self.periods * self.robot.period_s
        )


_period = threading.Condition()


def tell(_: ToyRobot) -> None:
    with _period:
        _period.notify_all()


class Scene:
    """A robot, a policy that takes its time, a board and an operator."""

    def __init__(self, *knobs: Knob, periods: int = 3, size: int = SIZE, horizon: int = 60) -> None:
        self.clock = ToyClock(real_s=0.003)
        self.robot = ToyRobot(self.clock, horizon)
        self.robot.on_advance = tell
        self.policy = SlowPolicy(self.robot, periods, size)
        self.board = board_of(self.clock, *knobs)
        self.operator = Operator(self.board)
        self.memories = Memories()

    def tick(self, status: LiveStatus) -> None:
        self.operator(status)
        if status.phase is LivePhase.ENDED:
            self.policy.over = True  # nobody advances the clock any more
            tell(self.robot)

    def run(self, **options) -> Outcome:
        return run_live(
            self.policy,
            self.robot,
            planned(),
            sinks=self.memories,
            board=self.board,
            options=LiveOptions(**options),
            on_tick=self.tick,
            sleep=self.clock.sleep,
        )

    @property
    def records(self) -> Sequence:
        return self.memories.only.records


def test_the_robot_goes_on_while_the_policy_thinks() -> None:
    scene = Scene()
    assert scene.run(replan=5) is Outcome.HORIZON
    ticks = scene.operator.ticks
    running = [t for t in ticks if t.phase is LivePhase.RUNNING]
    first = next(i for i, t in enumerate(running) if t.record is not None)
    assert all(t.record is not None for t in running[first:]), "no period without motion after the first answer"
    assert running[-1].underruns == 0
    assert len(scene.policy.questions) > 5
    assert [r.step for r in scene.records] == list(range(len(scene.records)))
    assert scene.robot.stops == [], "an episode that came to its end needs no stop"
    assert not scene.robot.permitted, "and no permission any more"


def test_steps_that_are_past_are_dropped_and_records_say_which_action_it_was() -> None:
    scene = Scene()
    scene.run(replan=5)
    assert all(dropped >= 3 for _, dropped in scene.robot.submitted)
    for record in scene.records:
        assert record.action[0] == pytest.approx(1e-3 * record.chunk_step)
        assert record.executed[0] == pytest.approx(record.action[0])
        assert record.extra["toy"] == 1.0
    starts = [r for r in scene.records if r.extra["dropped"]]
    assert [r.chunk for r in starts] == list(range(len(starts)))
    assert all(r.chunk_step == r.extra["dropped"] for r in starts)
    assert all(r.inference_s > 0 for r in starts)


def test_a_replay_finds_the_observation_that_every_chunk_answers() -> None:
    scene = Scene()
    scene.run(replan=5)
    seen = {r.observation.time_s for r in scene.records}
    assert {r.extra["observed_at_s"] for r in scene.records} <= seen


def test_short_chunks_underrun_and_the_loop_goes_on() -> None:
    scene = Scene(periods=4, size=1, horizon=12)
    assert scene.run() is Outcome.HORIZON
    assert scene.operator.ticks[-1].underruns >= 8
    assert all(r.chunk_step == 0 for r in scene.records)


def test_letting_go_discards_what_was_thought_and_a_new_press_looks_anew() -> None:
    scene = Scene(horizon=40)
    scene.operator.acts = {30: scene.operator.let_go, 60: scene.operator.press}
    scene.run(replan=4)
    ticks = scene.operator.ticks
    paused = [i for i, t in enumerate(ticks) if t.phase is LivePhase.PAUSED]
    assert paused
    assert all(ticks[i].record is None for i in paused[3:])
    resumed_s = ticks[paused[-1]].reading.time_s
    later = [r for r in scene.records if r.extra["clock_s"] > resumed_s]
    assert later
    assert all(r.extra["observed_at_s"] >= resumed_s for r in later)


def test_a_robot_that_loses_its_chunk_is_given_another() -> None:
    scene = Scene(horizon=30)
    dropped = []

    def lose(robot: ToyRobot) -> None:
        tell(robot)
        if robot._steps == 10 and not dropped:
            dropped.append(True)
            robot._queue = []

    scene.robot.on_advance = lose
    assert scene.run(replan=10) is Outcome.HORIZON
    assert dropped
    assert scene.operator.ticks[-1].underruns == 1


def test_answers_that_come_too_late_are_refused_and_asked_again() -> None:
    scene = Scene(periods=4)
    scene.robot.late_s = 0.05
    scene.operator.acts = {80: lambda s: s.stop()}
    assert scene.run() is Outcome.STOPPED
    last = scene.operator.ticks[-1]
    assert last.rejected >= 3
    assert last.step == 0
    assert scene.memories.takes[0].records == []


def test_a_stop_reaches_the_robot_and_the_episode_is_saved() -> None:
    scene = Scene()
    scene.operator.acts = {30: lambda s: s.stop()}
    assert scene.run() is Outcome.STOPPED
    assert scene.robot.stops[0] == "stopped by operator"
    assert scene.memories.only.outcome is Outcome.STOPPED
    assert scene.operator.ticks[-1].note == "stopped by operator"


def test_a_policy_that_breaks_stops_the_robot() -> None:
    scene = Scene()
    scene.policy.breaks_at = 2
    with pytest.raises(RuntimeError, match="broke"):
        scene.run(replan=4)
    assert scene.robot.stops[0] == "RuntimeError: the policy broke"
    assert scene.memories.only.outcome is Outcome.FAILED
    assert scene.records


def test_a_robot_that_stops_itself_ends_the_episode() -> None:
    scene = Scene()

    def protective(robot: ToyRobot) -> None:
        tell(robot)
        if robot._steps == 8 and not robot.stops:
            robot.stop("protective stop")

    scene.robot.on_advance = protective
    assert scene.run() is Outcome.STOPPED
    assert scene.operator.ticks[-1].note == "protective stop"


def test_the_speed_knob_stretches_the_next_chunk() -> None:
    scene = Scene(Knob.speed(0.5), periods=1, horizon=40)
    scene.run(replan=4)
    steps = [r.chunk_step for r in scene.records[:8] if r.chunk == 0]
    assert max(steps.count(s) for s in set(steps)) == 2
    assert all(r.extra["speed"] == 0.5 for r in scene.records)


def test_knobs_are_logged_with_the_chunk_that_was_asked_after_them() -> None:
    scene = Scene(Knob.feature("fast"), Knob.replan(4))
    changes = []
    scene.operator.acts = {25: lambda s: (s.set("fast", 3.0), s.set("replan", 6))}
    run_live(
        scene.policy,
        scene.robot,
        planned(),
        sinks=scene.memories,
        board=scene.board,
        on_tick=scene.tick,
        sleep=scene.clock.sleep,
        on_change=changes.append,
    )
    by_knob = {c.change.knob: c for c in changes}
    fast, replan = by_knob["fast"], by_knob["replan"]
    answer = next(r for r in scene.records if r.step == fast.step)
    assert answer.extra["observed_at_s"] >= fast.change.time_s
    assert answer.chunk == fast.chunk
    assert replan.chunk <= fast.chunk
    assert fast.latency_s > 3 * scene.robot.period_s


def test_a_robot_is_never_run_unheld() -> None:
    with pytest.raises(ConfigError, match="held"):
        Scene().run(hold_to_run=False)


def test_synchronous_robots_are_waited_for() -> None:
    scene = Scene(Knob.speed(1.0), size=2, horizon=10)
    scene.policy.periods = 0
    assert scene.run(overlap=False) is Outcome.HORIZON
    assert [r.chunk_step for r in scene.records[:4]] == [0, 1, 0, 1]


def test_the_toy_fits_the_contract() -> None:
    from vlasteer.protocols import Robot

    robot = ToyRobot(ToyClock())
    robot.reset(EpisodeKey(0, 0, 0))
    assert isinstance(robot, Robot)


def test_a_slow_first_answer_is_waited_for_without_motion() -> None:
    scene = Scene(periods=15, horizon=5)
    scene.robot.late_s = 10.0
    assert scene.run() is Outcome.HORIZON
    waiting = [t for t in scene.operator.ticks if t.phase is LivePhase.RUNNING and t.chunk < 0]
    assert len(waiting) >= 14, "told all the while"
    assert all(t.record is None and t.underruns == 0 for t in waiting)


def test_what_was_seen_before_the_press_is_not_asked_about() -> None:
    scene = Scene(periods=1, horizon=10)
    observe, late = scene.robot.observe, 0.12

    def delayed() -> Observation:
        seen = observe()
        return Observation(seen.images, seen.instruction, seen.state, seen.time_s - late)

    scene.robot.observe = delayed
    scene.run()
    pressed_s = next(t.reading.time_s for t in scene.operator.ticks if t.reading.held)
    assert all(seen.time_s >= pressed_s for seen in scene.policy.questions)


def test_an_eye_that_closes_for_a_moment_is_waited_for_and_one_that_stays_closed_is_not() -> None:
    scene = Scene(horizon=40)
    observe = scene.robot.observe

    def blinking(closed: range) -> None:
        def look() -> Observation:
            if scene.robot._steps in closed:
                raise WorldError("the camera is stale")
            return observe()

        scene.robot.observe = look

    blinking(range(10, 12))
    assert scene.run(replan=4) is Outcome.HORIZON
    blinking(range(10, 1000))
    scene.operator.source.hold(False)
    scene.policy.over = False
    with pytest.raises(WorldError, match="stale"):
        scene.run(replan=4)
    assert scene.robot.stops[0] == "the camera is stale."
    assert scene.memories.takes[1].outcome is Outcome.FAILED
    assert scene.memories.takes[1].records


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_stops_the_robot_and_saves_the_episode(error: type[BaseException]) -> None:
    scene = Scene()

    def interrupt(_: Source) -> None:
        raise error

    scene.operator.acts = {30: interrupt}
    with pytest.raises(error):
        scene.run()
    assert scene.robot.stops[0] == "interrupted"
    assert scene.memories.only.outcome is Outcome.STOPPED
    assert scene.memories.only.records


def test_a_robot_that_cannot_be_stopped_does_not_cost_the_recording() -> None:
    scene = Scene()

    def broken(_: str) -> None:
        raise WorldError("the link is down")

    scene.robot.stop = broken
    scene.policy.breaks_at = 2
    with pytest.raises(WorldError, match="link"):
        scene.run(replan=4)
    assert scene.memories.only.outcome is Outcome.FAILED
    assert not scene.robot.permitted


def test_a_synchronous_robot_takes_more_periods_when_it_is_slowed_down() -> None:
    scene = Scene(Knob.speed(0.5), size=2, horizon=20)
    scene.policy.periods = 0
    assert scene.run(overlap=False) is Outcome.HORIZON
    assert len(scene.records) == 10, "two periods each"
    for record in scene.records:
        assert record.executed == pytest.approx(0.5 * record.action)
