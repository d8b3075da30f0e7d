"""The files on disk against those that lerobot 0.4.4 writes for the same columns.

lerobot_format.json was taken from such files by tests/system/test_lerobot_reader.py, which also checks that it is still
what lerobot writes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vlasteer.recording import DatasetWriter
from vlasteer.types import Outcome

LEROBOT = json.loads(Path(__file__).with_name("lerobot_format.json").read_text())


@pytest.fixture
def recording(tmp_path, info, steps, record) -> Path:
    writer = DatasetWriter(tmp_path, state_names=tuple("abcdefgh"))
    for index in range(2):
        record(writer, info(index), steps(4, seed=index), Outcome.SUCCESS)
    return tmp_path


def types(path: Path) -> dict[str, str]:
    return {field.name: str(field.type) for field in pq.read_schema(path)}


def test_info_says_what_lerobots_says(recording):
    info = json.loads((recording / "meta/info.json").read_text())
    ours, theirs = info.pop("features"), LEROBOT["info"]["features"]
    assert ours == theirs
    vlasteer = info.pop("vlasteer")
    assert vlasteer["format"] == 1
    expected = {key: value for key, value in LEROBOT["info"].items() if key != "features"}
    assert info == expected | {"robot_type": "libero_goal", "total_tasks": 1}


def test_steps_have_the_same_types(recording):
    assert types(recording / "data/chunk-000/file-000.parquet") == LEROBOT["data"]


def test_episodes_have_the_same_types_and_all_but_the_statistics_of_our_own_columns(recording):
    ours = types(recording / "meta/episodes/chunk-000/file-000.parquet")
    theirs = LEROBOT["episodes"]
    own = ("step", "world.", "policy.", "commanded.", "executed.", "steer", "looked", "extra.")
    missing = {name for name in theirs if name not in ours}
    assert all(name.removeprefix("stats/").startswith(own) for name in missing)
    assert {name: ours[name] for name in theirs if name not in missing} == {
        name: kind for name, kind in theirs.items() if name not in missing
    }
    assert set(ours) - set(theirs) == {
        *("plan_index", "task", "start", "seed", "arm", "world", "instruction", "outcome", "interrupted"),
        *("recorded_at", "recording_id", "extra"),
    }


def test_tasks_are_found_by_pandas_the_way_lerobot_looks_them_up(recording):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    assert types(recording / "meta/tasks.parquet") == {
        name: kind.removeprefix("large_") for name, kind in LEROBOT["tasks"].items()
    }
    tasks = pandas.read_parquet(recording / "meta/tasks.parquet")
    assert tasks.loc["put the bowl on the plate"].task_index == 0
    assert tasks.iloc[0].name == "put the bowl on the plate"


def test_statistics_have_the_same_shape(recording):
    stats = json.loads((recording / "meta/stats.json").read_text())
    for name, kinds in stats.items():
        assert {key: len(value) for key, value in kinds.items()} == LEROBOT["stats"][name]
