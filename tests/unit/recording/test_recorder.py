"""What is recorded comes back, field by field, and what does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlasteer.errors import ObservationError, OutputError
from vlasteer.recording import DatasetWriter, episode_frames, read_episodes, read_steps
from vlasteer.recording.tables import StepLog
from vlasteer.types import ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Gripper, Observation, Outcome, StepRecord

IN_TMP_PATH = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def same(recorded: Any, given: Any) -> None:
    np.testing.assert_array_equal(np.asarray(recorded), np.asarray(given))


def test_every_field_of_every_step_comes_back(tmp_path, info, steps, record):
    given = steps(9, look_every=3)
    record(DatasetWriter(tmp_path), info(), given, Outcome.SUCCESS)

    table = read_steps(tmp_path).to_pydict()
    assert table["step"] == [s.step for s in given]
    assert table["frame_index"] == table["index"] == list(range(9))
    assert table["episode_index"] == table["task_index"] == [0] * 9
    same(table["timestamp"], np.arange(9, dtype=np.float32) / np.float32(20))
    same(table["world.time_s"], [s.observation.time_s for s in given])
    same(table["world.state"], [s.observation.state for s in given])
    same(table["observation.state"], [np.float32(s.observation.state) for s in given])
    same(table["policy.action"], [s.action_policy for s in given])
    same(table["commanded.action"], [s.action for s in given])
    same(table["executed.action"], [s.executed for s in given])
    same(table["action"], [np.float32(s.executed) for s in given])
    same(table["policy.chunk"], [s.chunk for s in given])
    same(table["policy.chunk_step"], [s.chunk_step for s in given])
    same(table["policy.inference_s"], [s.inference_s for s in given])
    same(table["policy.non_action_tokens"], [s.non_action_tokens for s in given])
    same(table["steering.fast"], [10.0] * 9)
    same(table["steering.up"], [np.nan] * 9)
    assert table["steered"] == [True] * 9
    same(table["extra.tcp_speed"], [s.extra["tcp_speed"] for s in given])
    assert table["next.outcome"] == ["running"] * 8 + ["success"]
    assert table["next.done"] == table["next.success"] == [False] * 8 + [True]
    assert table["looked.front"] == table["looked.wrist"] == [True, False, False] * 3


def test_frames_are_those_that_were_seen_and_repeat_where_nobody_looked(tmp_path, info, steps, record):
    given = steps(9, look_every=3)
    record(DatasetWriter(tmp_path), info(), given, Outcome.SUCCESS)

    for camera in ("front", "wrist"):
        frames = list(episode_frames(tmp_path, 0, camera))
        assert len(frames) == 9
        for k, frame in enumerate(frames):
            seen = given[k - k % 3].observation.images[camera]
            assert frame.shape == seen.shape
            assert np.abs(frame.astype(int) - seen).max() <= 6  # of 255; colours are stored at 8 bits in YUV
    part = list(episode_frames(tmp_path, 0, "front", 4, 7))
    same(part, list(episode_frames(tmp_path, 0, "front"))[4:7])


def test_lossless_frames_are_exact(tmp_path, info, steps, record):
    noise = np.random.default_rng(0).integers(0, 256, (5, 30, 34, 3)).astype(np.uint8)
    given = [replace(s, observation=replace(s.observation, images={"front": noise[k]})) for k, s in enumerate(steps(5))]
    record(DatasetWriter(tmp_path, lossless=True), info(), given, Outcome.SUCCESS)
    same(list(episode_frames(tmp_path, 0, "front")), noise)


@pytest.mark.parametrize("shape", [(33, 48), (48, 33), (17, 19)])
def test_odd_sizes_are_kept(tmp_path, info, steps, record, shape):
    given = steps(3, cameras={"front": shape})
    record(DatasetWriter(tmp_path), info(), given, Outcome.SUCCESS)
    assert [frame.shape for frame in episode_frames(tmp_path, 0, "front")] == [(*shape, 3)] * 3


def test_episode_facts_come_back(tmp_path, info, steps, record):
    key = EpisodeKey(task=3, start=4, seed=5)
    extra = {"checkpoint": "ab12", "nested": {"list": [1, 2.5, None]}, "ünï": "çode"}
    episode = info(17, key=key, arm="fast=8", instruction="öffne", extra=extra)
    record(DatasetWriter(tmp_path), episode, steps(4), Outcome.HORIZON)

    (row,) = read_episodes(tmp_path)
    assert row["plan_index"] == 17
    assert (row["task"], row["start"], row["seed"]) == key
    assert (row["arm"], row["instruction"], row["world"]) == ("fast=8", "öffne", "libero_goal")
    assert row["extra"] == extra
    assert (row["outcome"], row["interrupted"], row["length"]) == ("horizon", False, 4)
    assert row["tasks"] == ["put the bowl on the plate"]


def test_an_instruction_that_changes_within_the_episode_is_recorded_step_by_step(tmp_path, info, steps, record):
    given = steps(4)
    given[2:] = [replace(s, observation=replace(s.observation, instruction="now the cup")) for s in given[2:]]
    writer = DatasetWriter(tmp_path)
    record(writer, info(0), given, Outcome.SUCCESS)
    record(writer, info(1), given[2:], Outcome.SUCCESS)
    assert read_steps(tmp_path)["task_index"].to_pylist() == [0, 0, 1, 1, 1, 1]
    assert [row["tasks"] for row in read_episodes(tmp_path)] == [
        ["put the bowl on the plate", "now the cup"],
        ["now the cup"],
    ]


def test_what_only_some_steps_have_is_nan_elsewhere(tmp_path, info, steps, record):
    given = [replace(s, extra=extra) for s, extra in zip(steps(4), ({}, {"b.x": 2.0}, {"a": True}, {}), strict=True)]
    record(DatasetWriter(tmp_path, extras=("b.x", "a")), info(), given, Outcome.SUCCESS)
    table = read_steps(tmp_path).to_pydict()
    same(table["extra.a"], [np.nan, np.nan, 1.0, np.nan])
    same(table["extra.b.x"], [np.nan, 2.0, np.nan, np.nan])

    # A later episode may lack them altogether, and have no more.
    record(DatasetWriter(tmp_path), info(1), [replace(s, extra={"a": 3.0}) for s in steps(2)], Outcome.SUCCESS)
    same(read_steps(tmp_path, [1])["extra.a"], [3.0, 3.0])
    same(read_steps(tmp_path, [1])["extra.b.x"], [np.nan, np.nan])
    with pytest.raises(OutputError, match="extras"):
        record(DatasetWriter(tmp_path), info(2), [replace(s, extra={"c": 3.0}) for s in steps(2)], Outcome.SUCCESS)


numbers = st.floats(-1e30, 1e30)


@st.composite
def recordings(draw) -> tuple[EpisodeInfo, list[StepRecord]]:
    """An episode of any number of features, dimensions and extras."""
    features = sorted(draw(st.sets(st.text("abcä_. ", min_size=1, max_size=6), max_size=4)))
    size, policy_size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    state_size = draw(st.integers(0, 3))
    extras = draw(st.sets(st.text("xyz", min_size=1, max_size=3), max_size=2))
    names = (*(f"a{i}" for i in range(size - 1)), "gripper")
    spec = ActionSpec(
        ActionKind.JOINT_TARGET,
        Gripper.ZERO_OPEN_ONE_CLOSED,
        (1.0,) * (size - 1),
        draw(st.sampled_from([5, 12.5])),
        names,
    )

    def vector(n: int) -> np.ndarray:
        return np.array(draw(st.lists(numbers, min_size=n, max_size=n)))

    steps = [
        StepRecord(
            step=k,
            observation=Observation({}, "go", vector(state_size) if state_size else None, draw(st.floats(0, 1e6))),
            chunk=k,
            chunk_step=0,
            action_policy=vector(policy_size),
            action=vector(size),
            executed=vector(size),
            applied={name: draw(st.none() | numbers) for name in features if draw(st.booleans())},
            inference_s=draw(st.floats(0, 10)),
            non_action_tokens=draw(st.integers(0, 1000)),
            outcome=Outcome.RUNNING,
            extra={name: draw(st.floats()) for name in extras},
        )
        for k in range(draw(st.integers(1, 4)))
    ]
    episode = EpisodeInfo(0, EpisodeKey(0, 0, 0), "go", "a", "w", spec, tuple(features))
    return episode, steps


@IN_TMP_PATH
@given(recordings())
def test_any_number_of_features_and_dimensions(tmp_path_factory, recording):
    episode, given_steps = recording
    root = tmp_path_factory.mktemp("run")
    writer = DatasetWriter(root)
    recorder = writer.recorder()
    recorder.open(episode)
    for step in given_steps:
        recorder.step(step)
    recorder.close(Outcome.HORIZON)

    table = read_steps(root).to_pydict()
    for name in episode.feature_names:
        values = [s.applied.get(name) for s in given_steps]
        same(table[f"steering.{name}"], [np.nan if v is None else v for v in values])
    assert table["steered"] == [any(v is not None for v in s.applied.values()) for s in given_steps]
    same(np.ravel(table["policy.action"]), np.ravel([s.action_policy for s in given_steps]))
    same(np.ravel(table["executed.action"]), np.ravel([s.executed for s in given_steps]))
    if given_steps[0].observation.state is not None:
        same(np.ravel(table["world.state"]), np.ravel([s.observation.state for s in given_steps]))
    for name in given_steps[0].extra:
        same(table[f"extra.{name}"], [s.extra[name] for s in given_steps])


def test_statistics_are_json_even_of_actions_that_are_not_numbers(tmp_path, info, steps, record):
    broken = [replace(s, executed=np.full(7, np.nan)) for s in steps(3)]
    record(DatasetWriter(tmp_path), info(), broken, Outcome.FAILED)
    stats = json.loads((tmp_path / "meta/stats.json").read_text(), parse_constant=pytest.fail)
    assert "action" not in stats
    assert stats["observation.state"]["count"] == [3]


def test_arrays_may_change_as_soon_as_step_returns(tmp_path, info, steps):
    writer = DatasetWriter(tmp_path)
    recorder = writer.recorder()
    recorder.open(info())
    executed = np.zeros(7)
    image = np.zeros((32, 32, 3), np.uint8)
    for k, step in enumerate(steps(5, cameras={})):
        executed[:] = k
        image[:] = 50 * k
        seen = replace(step.observation, images={"front": image})
        recorder.step(replace(step, executed=executed, observation=seen))
    recorder.close(Outcome.SUCCESS)
    same(read_steps(tmp_path)["executed.action"].to_pylist(), [[k] * 7 for k in range(5)])
    assert [round(frame.mean() / 50) for frame in episode_frames(tmp_path, 0, "front")] == list(range(5))


def test_an_episode_without_steps_leaves_no_trace(tmp_path, info, steps, record):
    writer = DatasetWriter(tmp_path)
    record(writer, info(0), [], Outcome.FAILED)
    assert read_episodes(tmp_path) == []
    record(writer, info(1), steps(2), Outcome.SUCCESS)
    assert [row["plan_index"] for row in read_episodes(tmp_path)] == [1]


def test_closing_while_running_marks_an_interruption(tmp_path, info, steps, record):
    record(DatasetWriter(tmp_path), info(), steps(3), Outcome.RUNNING)
    (row,) = read_episodes(tmp_path)
    assert (row["outcome"], row["interrupted"]) == ("failed", True)


def test_closing_twice_or_before_opening_does_nothing(tmp_path, info, steps, record):
    recorder = DatasetWriter(tmp_path).recorder()
    recorder.close(Outcome.FAILED)
    assert read_episodes(tmp_path) == []


class TestRefusals:
    def test_step_without_open(self, tmp_path, steps):
        with pytest.raises(OutputError, match="no episode is open"):
            DatasetWriter(tmp_path).recorder().step(steps(1)[0])

    def test_open_while_open(self, tmp_path, info):
        recorder = DatasetWriter(tmp_path).recorder()
        recorder.open(info(0))
        with pytest.raises(OutputError, match="episode 1 was opened while episode 0"):
            recorder.open(info(1))

    def test_episode_without_a_camera_of_the_recording(self, tmp_path, info, steps, record):
        writer = DatasetWriter(tmp_path)
        record(writer, info(0), steps(2), Outcome.SUCCESS)
        with pytest.raises(OutputError, match="cameras"):
            record(writer, info(1), steps(2, cameras={"front": (48, 64)}), Outcome.SUCCESS)

    @pytest.mark.parametrize(
        ("images", "words"),
        [({"rear": (32, 32)}, "camera 'rear'"), ({"front": (32, 32)}, "48 x 64, as in its first step")],
    )
    def test_later_step_with_a_foreign_image(self, tmp_path, info, steps, images, words):
        recorder = DatasetWriter(tmp_path).recorder()
        recorder.open(info())
        recorder.step(steps(1)[0])
        with pytest.raises(ObservationError, match=words):
            recorder.step(steps(2, cameras=images)[1])
        recorder.close(Outcome.FAILED)
        assert read_steps(tmp_path).num_rows == 1

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"applied": {"slow": 1.0}}, "feature 'slow'"),
            ({"extra": {"height": 1.0}}, "'height' has no column"),
            ({"executed": np.zeros(6)}, "'action' of shape"),
            ({"action_policy": np.zeros(3)}, "'policy.action' of shape"),
        ],
    )
    def test_later_step_that_does_not_fit(self, tmp_path, info, steps, changes, words):
        recorder = DatasetWriter(tmp_path).recorder()
        recorder.open(info())
        first, second = steps(2)
        recorder.step(first)
        with pytest.raises(OutputError, match=words):
            recorder.step(replace(second, **changes))

    def test_names_that_lerobot_does_not_take(self, tmp_path, info, steps, record):
        with pytest.raises(OutputError, match="'a/b' contains"):
            record(DatasetWriter(tmp_path), info(features=["a/b"]), steps(1, applied={}), Outcome.SUCCESS)

    def test_state_names_that_do_not_fit(self, tmp_path, info, steps, record):
        with pytest.raises(OutputError, match="2 state names for a state of 8"):
            record(DatasetWriter(tmp_path, state_names=("a", "b")), info(), steps(1), Outcome.SUCCESS)

    def test_a_write_that_failed_stops_the_recording_and_keeps_what_was_before(
        self, tmp_path, info, steps, monkeypatch
    ):
        recorder = DatasetWriter(tmp_path).recorder()
        recorder.open(info())
        given = steps(5)
        append, calls = StepLog.append, iter(range(9))

        def fill_up(log: StepLog, batch: Any) -> None:
            if next(calls) == 2:
                raise OSError(28, "No space left on device")
            append(log, batch)

        monkeypatch.setattr(StepLog, "append", fill_up)
        for step in given[:3]:
            recorder.step(step)  # the third is written beside the loop: its failure shows at the next call
        for step in given[3:]:
            with pytest.raises(OutputError, match="No space left"):
                recorder.step(step)
        with pytest.raises(OutputError, match="No space left"):
            recorder.close(Outcome.SUCCESS)
        (row,) = read_episodes(tmp_path)
        assert (row["length"], row["outcome"]) == (2, "failed")
