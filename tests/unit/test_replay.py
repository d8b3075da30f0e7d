"""Recorded episodes once more: in their world, and before their policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live_episodes import Operator, board_of, planned
from toys import SPEC, ToyClock, ToyPolicy, ToyRobot, ToyWorld

from vlasteer.errors import ConfigError, InputError, UnknownNameError
from vlasteer.knobs import Knob
from vlasteer.live import LiveOptions, run_live
from vlasteer.recording import DatasetWriter
from vlasteer.recording.calls import CallTap
from vlasteer.recording.episode import RecordedEpisode
from vlasteer.replay import Condition, Deviation, act_again, ask_again, displacements
from vlasteer.runtime import LoopOptions, PlannedEpisode, run_episodes
from vlasteer.steering import Feature, Port, Steering, steer
from vlasteer.types import ActionKind, EpisodeInfo, EpisodeKey, Observation, Outcome, StepRecord

KNOBS = Steering.of(Feature.of("fast", [ToyPolicy().anatomy.unflat(3)]), None) + Steering.of(
    Feature.of("up", [ToyPolicy().anatomy.unflat(40)]), None
)


def record(root: Path, *, lossless: bool = True, tap: bool = False, images: bool = False) -> None:
    """Two episodes of the toy, chunks of two, "fast" at 3 in the second one."""
    policy, writer = ToyPolicy(), DatasetWriter(root, lossless=lossless)
    plan = [
        PlannedEpisode(EpisodeInfo(i, EpisodeKey(i, i, 5), "go", "arm", "toy", SPEC, ("fast", "up")), {"fast": fast})
        for i, fast in enumerate((None, 3.0))
    ]
    with CallTap(policy, images=images) as calls, steer(policy, KNOBS) as port:
        run_episodes(
            calls.policy if tap else policy,
            [ToyWorld(horizon=7)],
            plan,
            sinks=lambda _: [writer.recorder([calls.recorder()] if tap else [])],
            port=port,
            options=LoopOptions(replan=2),
        )


@pytest.fixture
def lossless(tmp_path: Path) -> Path:
    record(tmp_path)
    return tmp_path


def test_the_same_world_repeats_an_episode_exactly(lossless):
    shown = []
    again = act_again(RecordedEpisode.load(lossless, 1), ToyWorld(horizon=7), lambda *at: shown.append(at))
    assert again.exact
    assert (again.steps, again.made, again.recorded, again.again) == (7, 7, Outcome.HORIZON, Outcome.HORIZON)
    assert again.states.rows == 7
    assert again.pictures == (4, 4)  # those that the policy looked at
    assert shown[-1] == (7, 7)
    assert str(again.states) == "identical at all 7 steps"


def test_a_world_that_behaves_otherwise_is_found_at_the_step(lossless):
    class Heavier(ToyWorld):
        def act(self, action, *, look=True):
            done = super().act(action, look=look)
            if self._steps == 3:
                self._position[1] += 0.001
            return done

    again = act_again(RecordedEpisode.load(lossless, 0), Heavier(horizon=7))
    assert not again.exact
    assert again.states.first == 3
    assert again.states.largest["state_1"] == pytest.approx(0.001)
    assert again.states.largest["state_0"] == 0
    assert again.executed.exact
    assert "first deviates at step 3 of 7" in str(again.states)


def test_a_world_that_ends_earlier_or_fails_does_not_reproduce(lossless):
    episode = RecordedEpisode.load(lossless, 0)
    again = act_again(episode, ToyWorld(horizon=4))
    assert (again.made, again.again, again.exact) == (4, Outcome.HORIZON, False)

    class Broken(ToyWorld):
        def act(self, action, *, look=True):
            from vlasteer.errors import WorldError

            raise WorldError("it diverged")

    again = act_again(episode, Broken())
    assert (again.made, again.again, again.exact) == (0, Outcome.FAILED, False)


def test_a_recording_with_gaps_and_another_world_are_refused(lossless):
    episode = RecordedEpisode.load(lossless, 0)
    with pytest.raises(InputError, match="lacks steps before its row 2"):
        act_again(replace(episode, step=np.array([0, 1, 5, 6, 7, 8, 9])), ToyWorld())
    other = ToyWorld()
    other.action_spec = replace(SPEC, rate_hz=10.0)
    with pytest.raises(ConfigError, match="other actions"):
        act_again(episode, other)


@pytest.mark.parametrize("index", [0, 1])
def test_the_policy_gives_the_recorded_answers_bit_for_bit(lossless, index):
    policy = ToyPolicy()
    with steer(policy, KNOBS) as port:
        asked = ask_again(policy, port, RecordedEpisode.load(lossless, index))
    assert asked.exact
    assert asked.actions.rows == 7
    assert list(asked.steps) == list(range(7))
    assert asked.tokens == (0, 0)


@pytest.mark.parametrize("images", [True, False])
def test_with_recorded_calls_the_tokens_are_compared_too(tmp_path, images):
    record(tmp_path, tap=True, images=images, lossless=not images)
    policy = ToyPolicy()
    with steer(policy, KNOBS) as port:
        asked = ask_again(policy, port, RecordedEpisode.load(tmp_path, 1))
    assert asked.exact
    assert asked.tokens == (4, 4)


def test_counterfactuals_change_what_they_name_and_nothing_else(lossless):
    policy, episode = ToyPolicy(), RecordedEpisode.load(lossless, 1)
    conditions = [Condition("fast=3", {"fast": 3.0}), Condition("off", {"fast": None}), Condition("up", {"up": -5.0})]
    with steer(policy, KNOBS) as port:
        recorded, same, off, up = ask_again(policy, port, episode, conditions).answers
        expected = []
        for step, seen in episode.observations():
            port.set_all({"fast": 3.0, "up": -5.0})
            expected.append((step, policy.act(seen).actions))
    np.testing.assert_array_equal(same.actions, recorded.actions)
    assert np.abs(off.actions - recorded.actions).max() > 0.01
    for step, actions in expected:
        np.testing.assert_array_equal(up.actions[step : step + 2], actions[: len(up.actions) - step])
    np.testing.assert_array_equal(episode.policy_actions, recorded.actions)


def test_another_instruction_reaches_the_policy(lossless):
    class Reader(ToyPolicy):
        def act_batch(self, observations, noise=None, rows=None):
            self.words = [*getattr(self, "words", []), *(seen.instruction for seen in observations)]
            return super().act_batch(observations, noise, rows)

    policy = Reader()
    with steer(policy, KNOBS) as port:
        ask_again(policy, port, RecordedEpisode.load(lossless, 0), [Condition("slowly", instruction="go slowly")])
    assert policy.words == ["go", "go slowly"] * 4


def test_an_unknown_knob_is_refused(lossless):
    policy = ToyPolicy()
    with steer(policy, KNOBS) as port, pytest.raises(UnknownNameError, match="fsat"):
        ask_again(policy, port, RecordedEpisode.load(lossless, 0), [Condition("fsat=0", {"fsat": 0.0})])


def step_of_a_robot(k: int, observed: float, chunk: int, chunk_step: int, image: int, action) -> StepRecord:
    seen = Observation({"image": np.full((8, 8, 3), image, np.uint8)}, "go", np.zeros(3), 10 + k / 20)
    extra = {"observed_at_s": observed}
    return StepRecord(k, seen, chunk, chunk_step, action, action, action, {"fast": None, "up": None}, 0.0, 0,
                      Outcome.RUNNING, extra=extra)  # fmt: skip


def test_steps_that_show_another_moment_than_the_policy_saw_are_left_out(tmp_path):
    policy, writer = ToyPolicy(), DatasetWriter(tmp_path, lossless=True)
    recorder = writer.recorder()
    recorder.open(EpisodeInfo(0, EpisodeKey(0, 0, 0), "go", "arm", "toy", SPEC, ("fast", "up")))
    first = Observation({"image": np.full((8, 8, 3), 3, np.uint8)}, "go", np.zeros(3), 10.0)
    answer = policy.act(first).actions
    recorder.step(step_of_a_robot(0, 10.0, 0, 0, 3, answer[0]))
    recorder.step(step_of_a_robot(1, 10.0, 0, 1, 4, answer[1]))
    recorder.step(step_of_a_robot(2, 10.03, 1, 1, 5, np.ones(7)))  # answers what was seen between two steps
    recorder.close(Outcome.STOPPED)
    episode = RecordedEpisode.load(tmp_path, 0)
    with steer(policy, KNOBS) as port:
        asked = ask_again(policy, port, episode)
        assert list(asked.steps) == [0, 1]
        assert asked.exact
        with pytest.raises(InputError, match="--lossless"):
            ask_again(policy, port, replace(episode, asked_s=episode.asked_s - 1))


def test_deviations_are_bit_for_bit():
    recorded = np.zeros((3, 2))
    same = Deviation.between(recorded, recorded.copy(), ["a", "b"])
    assert same.exact
    other = recorded.copy()
    other[1, 1] = 5e-324
    found = Deviation.between(recorded, other, ["a", "b"])
    assert (found.first, found.rows, found.exact) == (1, 3, False)
    assert not Deviation.between(recorded, np.full((3, 2), np.nan), ["a", "b"]).exact


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ActionKind.EE_DELTA, [[0.05, -0.1], [0.1, 0.0]]),
        (ActionKind.JOINT_TARGET, [[0.0, 0.0], [0.05, 0.1]]),
        (ActionKind.JOINT_VELOCITY, [[0.0025, -0.005], [0.005, 0.0]]),
    ],
)
def test_displacements_are_in_si_units(kind, expected):
    spec = replace(SPEC, kind=kind, scale=(0.05,) * 6)
    actions = np.zeros((2, 7))
    actions[:, :2] = [[1, -2], [2, 0]]
    np.testing.assert_allclose(displacements(actions, spec)[:, :2], expected)


def test_ports_need_not_know_all_recorded_knobs(lossless):
    policy = ToyPolicy()
    only = Steering.of(Feature.of("up", [policy.anatomy.unflat(40)]), None)
    with steer(policy, only) as port:
        assert isinstance(port, Port)
        assert ask_again(policy, port, RecordedEpisode.load(lossless, 0)).exact


def live(root: Path, world: ToyWorld, clock: ToyClock, acts: dict, **options) -> Outcome:
    """A live episode, recorded without loss, with the knob "fast" turned to 3 at tick 3."""
    policy, writer = ToyPolicy(), DatasetWriter(root, lossless=True)
    feature = Feature.of("fast", [policy.anatomy.unflat(3)])
    board = board_of(clock, Knob.feature("fast", 3.0))
    operator = Operator(board, {3: lambda source: source.set("fast", 3.0)})
    operator.acts |= {tick: getattr(operator, name) for tick, name in acts.items()}
    with (
        steer(policy, Steering.of(feature, None)) as port,
        CallTap(policy, images=isinstance(world, ToyRobot)) as tap,
    ):
        return run_live(
            tap.policy,
            world,
            planned(),
            sinks=lambda _: [writer.recorder([tap.recorder()])],
            board=board,
            port=port,
            options=LiveOptions(replan=2, **options),
            on_tick=operator,
            sleep=clock.sleep,
        )


def test_a_live_episode_with_a_pause_and_a_turned_knob_is_repeated_exactly(tmp_path):
    live(tmp_path, ToyWorld(horizon=12), ToyClock(), {5: "let_go", 9: "press"})
    episode = RecordedEpisode.load(tmp_path, 0)
    assert len(episode) == 12
    assert len(set(episode.knobs["fast"][~np.isnan(episode.knobs["fast"])])) > 0  # it was turned
    assert act_again(episode, ToyWorld(horizon=12)).exact
    policy = ToyPolicy()
    with steer(policy, Steering.of(Feature.of("fast", [policy.anatomy.unflat(3)]), None)) as port:
        recorded, off = ask_again(policy, port, episode, [Condition("off", {"fast": None})]).answers
        assert ask_again(policy, port, episode).exact
    turned = ~np.isnan(episode.knobs["fast"])
    np.testing.assert_array_equal(recorded.actions[~turned], off.actions[~turned])
    assert np.all(np.any(recorded.actions[turned] != off.actions[turned], axis=1))


def test_of_a_robot_that_moves_while_the_policy_thinks_every_question_is_asked_again(tmp_path):
    clock = ToyClock(real_s=0.003)
    live(tmp_path, ToyRobot(clock, horizon=16), clock, {})
    episode = RecordedEpisode.load(tmp_path, 0)
    policy = ToyPolicy()
    with steer(policy, Steering.of(Feature.of("fast", [policy.anatomy.unflat(3)]), None)) as port:
        asked = ask_again(policy, port, episode)
    assert asked.exact
    assert len(asked.steps) == len(episode)
