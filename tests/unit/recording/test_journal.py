"""An open episode after its process died, whatever its files look like; and death at every point of sealing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlasteer.recording import DatasetWriter, dataset, episode_frames, read_episodes, read_steps
from vlasteer.recording.tables import read_log
from vlasteer.types import Outcome

LENGTH = 6


def abandon(root, info, steps, **kinds) -> None:
    """Record an episode and do not close it, as if the process had died."""
    recorder = DatasetWriter(root).recorder()
    recorder.open(info())
    for step in steps(LENGTH, **kinds):
        recorder.step(step)
    assert recorder._pending is not None
    recorder._pending.result()


def test_an_open_episode_is_recovered(tmp_path, info, steps):
    abandon(tmp_path, info, steps, outcome=Outcome.RUNNING)
    assert read_episodes(tmp_path) == []
    assert DatasetWriter(tmp_path).recovered == 1
    (row,) = read_episodes(tmp_path)
    assert (row["length"], row["outcome"], row["interrupted"]) == (LENGTH, "failed", True)
    assert sum(1 for _ in episode_frames(tmp_path, 0, "front")) == LENGTH
    assert DatasetWriter(tmp_path).recovered == 0


def test_an_episode_that_had_ended_keeps_its_outcome(tmp_path, info, steps):
    abandon(tmp_path, info, steps, outcome=Outcome.SUCCESS)
    DatasetWriter(tmp_path)
    (row,) = read_episodes(tmp_path)
    assert (row["outcome"], row["interrupted"]) == ("success", False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_log_cut_anywhere_gives_the_steps_that_are_whole(tmp_path_factory, info, steps, data):
    root = tmp_path_factory.mktemp("run")
    abandon(root, info, steps, cameras={}, outcome=Outcome.RUNNING)
    (log,) = root.glob("journal/*/steps.arrow")
    whole = log.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1), label="cut")
    log.write_bytes(whole[:cut])

    table = read_log(log)
    length = 0 if table is None else table.num_rows
    expected = steps(LENGTH, cameras={})
    assert length < LENGTH
    if table is not None:
        assert table["executed.action"].to_pylist() == [s.executed.tolist() for s in expected[:length]]
    DatasetWriter(root)
    assert [row["length"] for row in read_episodes(root)] == ([length] if length else [])
    assert not list((root / "journal").iterdir())


@pytest.mark.parametrize("kept", [0, 3])
def test_frames_lost_with_the_power_shorten_the_episode(tmp_path, info, steps, kept):
    abandon(tmp_path, info, steps, outcome=Outcome.SUCCESS)
    (video,) = tmp_path.glob("journal/*/camera-1.h264")
    delimiter = b"\x00\x00\x00\x01\x09"  # H.264's access unit delimiter begins each frame
    frames = video.read_bytes().split(delimiter)[1:]
    assert len(frames) == LENGTH
    video.write_bytes(b"".join(delimiter + frame for frame in frames[:kept]))
    DatasetWriter(tmp_path)

    rows = read_episodes(tmp_path)
    assert [(row["length"], row["interrupted"]) for row in rows] == ([(kept, True)] if kept else [])
    for row in rows:
        assert read_steps(tmp_path).num_rows == row["length"]
        for camera in ("front", "wrist"):
            assert sum(1 for _ in episode_frames(tmp_path, 0, camera)) == row["length"]


def test_a_journal_without_header_or_step_is_cleared(tmp_path, info, steps, record):
    record(DatasetWriter(tmp_path), info(0), steps(2), Outcome.SUCCESS)
    (tmp_path / "journal/000009-abc").mkdir()
    assert DatasetWriter(tmp_path).recovered == 0
    assert not list((tmp_path / "journal").iterdir())
    assert len(read_episodes(tmp_path)) == 1


class Died(BaseException):
    """Stands for the death of the process."""


@pytest.mark.parametrize(
    "last", ["seal_video", "write_tasks", "write_table", "write_rows", "replace_json", "remove_journal"]
)
@pytest.mark.parametrize("after", [False, True])
def test_death_while_sealing_neither_loses_nor_doubles_an_episode(
    tmp_path, info, steps, record, monkeypatch, last, after
):
    record(DatasetWriter(tmp_path), info(0), steps(3, seed=1), Outcome.SUCCESS)
    real = getattr(dataset, last)

    def die(*args, **kwargs):
        if after:
            real(*args, **kwargs)
        raise Died

    with monkeypatch.context() as patch:
        # A new instruction, so that the tasks are written too.
        given = steps(4, seed=2)
        given = [type(s)(**(vars(s) | {"observation": _renamed(s.observation)})) for s in given]
        writer = DatasetWriter(tmp_path)
        patch.setattr(dataset, last, die)
        with pytest.raises(Died):
            record(writer, info(1), given, Outcome.HORIZON)

    for _ in range(2):  # recovering twice changes nothing
        DatasetWriter(tmp_path)
        rows = read_episodes(tmp_path)
        assert [(row["plan_index"], row["length"]) for row in rows] == [(0, 3), (1, 4)]
        info_json = json.loads((tmp_path / "meta/info.json").read_text())
        assert (info_json["total_episodes"], info_json["total_frames"], info_json["total_tasks"]) == (2, 7, 2)
        assert json.loads((tmp_path / "meta/stats.json").read_text())["action"]["count"] == [7]
        expected = [s.executed for s in (*steps(3, seed=1), *steps(4, seed=2))]
        np.testing.assert_array_equal(read_steps(tmp_path)["executed.action"].to_pylist(), expected)
        assert not list((tmp_path / "journal").iterdir())


def _renamed(observation):
    return type(observation)(observation.images, "another task", observation.state, observation.time_s)
