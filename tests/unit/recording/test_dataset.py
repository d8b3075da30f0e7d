"""Several episodes in one dataset: resumption, episodes side by side, and what may not go into one."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from vlasteer.errors import InputError, OutputError, UnknownNameError
from vlasteer.recording import (
    DatasetWriter,
    dataset,
    episode_frames,
    finished_episodes,
    read_episodes,
    read_steps,
)
from vlasteer.types import Outcome


def totals(root) -> tuple[int, int, int]:
    info = json.loads((root / "meta/info.json").read_text())
    return info["total_episodes"], info["total_frames"], info["total_tasks"]


def test_resuming_appends(tmp_path, info, steps, record):
    for index in range(3):
        record(DatasetWriter(tmp_path), info(index), steps(3 + index, seed=index), Outcome.SUCCESS)
    rows = read_episodes(tmp_path)
    assert [row["episode_index"] for row in rows] == [0, 1, 2]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 3), (3, 7), (7, 12)]
    assert totals(tmp_path) == (3, 12, 1)
    assert read_steps(tmp_path)["index"].to_pylist() == list(range(12))
    expected = [s.executed for index in range(3) for s in steps(3 + index, seed=index)]
    np.testing.assert_array_equal(read_steps(tmp_path)["executed.action"].to_pylist(), expected)


def test_statistics_are_those_of_all_steps_however_often_the_dataset_was_reopened(tmp_path, info, steps, record):
    for index in range(3):
        record(DatasetWriter(tmp_path), info(index), steps(4 + index, seed=index), Outcome.SUCCESS)
    once = json.loads((tmp_path / "meta/stats.json").read_text())
    DatasetWriter(tmp_path)
    assert json.loads((tmp_path / "meta/stats.json").read_text()) == once

    actions = np.array(read_steps(tmp_path)["action"].to_pylist())
    assert once["action"]["count"] == [15]
    np.testing.assert_allclose(once["action"]["mean"], actions.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(once["action"]["std"], actions.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(once["action"]["min"], actions.min(axis=0))
    np.testing.assert_array_equal(once["action"]["max"], actions.max(axis=0))


def test_episodes_that_are_open_at_once_do_not_mix(tmp_path, info, steps):
    writer = DatasetWriter(tmp_path)
    given = [steps(length, seed=length) for length in (5, 8, 3)]
    recorders = [writer.recorder() for _ in given]
    for i, recorder in enumerate(recorders):
        recorder.open(info(i))
    for k in range(8):
        for recorder, episode in zip(recorders, given, strict=True):
            if k < len(episode):
                recorder.step(episode[k])
            if k == len(episode) - 1:
                recorder.close(Outcome.SUCCESS)
    rows = read_episodes(tmp_path)
    assert [(row["plan_index"], row["length"]) for row in rows] == [(2, 3), (0, 5), (1, 8)]  # as they ended
    for row in rows:
        steps_of = given[row["plan_index"]]
        recorded = read_steps(tmp_path, [row["episode_index"]])["executed.action"].to_pylist()
        np.testing.assert_array_equal(recorded, [s.executed for s in steps_of])
        for frame, step in zip(episode_frames(tmp_path, row["episode_index"], "wrist"), steps_of, strict=True):
            assert np.abs(frame.astype(int) - step.observation.images["wrist"]).max() <= 6


def test_recorders_in_threads_of_their_own(tmp_path, info, steps, record):
    writer = DatasetWriter(tmp_path)

    def run(i: int) -> None:
        for index in (i, i + 10):
            record(writer, info(index), steps(4, seed=index), Outcome.HORIZON)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read_episodes(tmp_path)
    assert sorted(row["plan_index"] for row in rows) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert read_steps(tmp_path)["index"].to_pylist() == list(range(32))
    assert not list((tmp_path / "journal").iterdir())


def test_files_of_episode_rows_hold_a_bounded_number(tmp_path, info, steps, record, monkeypatch):
    monkeypatch.setattr(dataset, "EPISODES_PER_FILE", 3)
    monkeypatch.setattr(dataset, "CHUNKS_SIZE", 2)
    for part in ((0, 1, 2, 3), (4, 5, 6, 7)):
        writer = DatasetWriter(tmp_path)
        for index in part:
            record(writer, info(index), steps(2, cameras={}), Outcome.SUCCESS)
    assert [row["plan_index"] for row in read_episodes(tmp_path)] == list(range(8))
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.glob("meta/episodes/*/*"))
    assert files == [
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-001.parquet",
        "meta/episodes/chunk-001/file-000.parquet",
    ]
    assert [pq.read_metadata(tmp_path / file).num_rows for file in files] == [3, 3, 2]
    assert (tmp_path / "data/chunk-003/file-001.parquet").exists()
    assert read_steps(tmp_path)["episode_index"].to_pylist() == [i for i in range(8) for _ in range(2)]


def test_finished_are_the_last_of_each_plan_index_with_an_outcome_of_their_own(tmp_path, info, steps, record):
    writer = DatasetWriter(tmp_path)
    ended = [
        (0, Outcome.SUCCESS),
        (1, Outcome.FAILED),
        (2, Outcome.STOPPED),
        (1, Outcome.HORIZON),
        (3, Outcome.RUNNING),
    ]
    for index, outcome in ended:
        record(writer, info(index), steps(2, cameras={}), Outcome(outcome))
    finished = finished_episodes(read_episodes(tmp_path))
    assert {index: row["episode_index"] for index, row in finished.items()} == {0: 0, 1: 3}


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"feature_names": ("fast",)}, "features"),
            ({"action_spec": "rate"}, "rate_hz: 20.0 there, 10.0 here"),
        ],
    )
    def test_another_kind_of_episode(self, tmp_path, info, steps, record, changes, words):
        record(DatasetWriter(tmp_path), info(0), steps(2), Outcome.SUCCESS)
        if "action_spec" in changes:
            changes = {"action_spec": replace(info().action_spec, rate_hz=10.0)}
        given = [replace(s, applied={"fast": 1.0}) for s in steps(2)]
        with pytest.raises(OutputError, match=words) as caught:
            record(DatasetWriter(tmp_path), info(1, **changes), given, Outcome.SUCCESS)
        assert caught.value.exit_status == 2
        assert totals(tmp_path) == (1, 2, 1)

    def test_another_size_of_state_or_of_pictures(self, tmp_path, info, steps, record):
        record(DatasetWriter(tmp_path), info(0), steps(2), Outcome.SUCCESS)
        with pytest.raises(OutputError, match="state_names"):
            record(DatasetWriter(tmp_path), info(1), steps(2, state_size=6), Outcome.SUCCESS)
        with pytest.raises(OutputError, match="cameras"):
            record(
                DatasetWriter(tmp_path),
                info(1),
                steps(2, cameras={"front": (48, 64), "wrist": (64, 64)}),
                Outcome.SUCCESS,
            )

    def test_a_dataset_of_somebody_else(self, tmp_path):
        (tmp_path / "meta").mkdir()
        (tmp_path / "meta/info.json").write_text('{"codebase_version": "v3.0", "features": {}}')
        with pytest.raises(OutputError, match="did not write"):
            DatasetWriter(tmp_path)
        assert not (tmp_path / "journal").exists()
        with pytest.raises(InputError, match="did not write"):
            read_steps(tmp_path)

    def test_a_file_in_the_place_of_the_folder(self, tmp_path):
        (tmp_path / "run").write_text("")
        with pytest.raises(OutputError, match="cannot be used"):
            DatasetWriter(tmp_path / "run")

    def test_reading_what_is_not_there(self, tmp_path, info, steps, record):
        with pytest.raises(InputError, match="holds no recording"):
            list(episode_frames(tmp_path, 0, "front"))
        with pytest.raises(InputError, match="holds no recording"):
            read_steps(tmp_path)
        record(DatasetWriter(tmp_path), info(0), steps(2), Outcome.SUCCESS)
        with pytest.raises(InputError, match="no episode 4"):
            read_steps(tmp_path, [4])
        with pytest.raises(InputError, match="no episode 4"):
            episode_frames(tmp_path, 4, "front")
        with pytest.raises(UnknownNameError, match="Did you mean 'front'"):
            episode_frames(tmp_path, 0, "fronts")
