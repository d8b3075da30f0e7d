"""lerobot's own reader opens what was recorded; and the format that the unit tests check against is still lerobot's.

lerobot needs other versions of torch and datasets than vlasteer and therefore an environment of its own:
`launch/lerobot-reader-env FOLDER` builds it, VLASTEER_LEROBOT_PYTHON=FOLDER/bin/python names it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from vlasteer.recording import DatasetWriter, episode_frames, read_steps
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Gripper, Observation, Outcome
from vlasteer.types import StepRecord as Step

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "unit/recording/lerobot_format.json"
PYTHON = os.environ.get("VLASTEER_LEROBOT_PYTHON", "")
SPEC = ActionSpec(ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (0.05,) * 6, 20.0, EE_NAMES)
LENGTHS = (6, 9, 4)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason="no lerobot: run launch/lerobot-reader-env and set VLASTEER_LEROBOT_PYTHON to its python"
    ),
]


def lerobot(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [PYTHON, str(HERE / "lerobot_reader.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Three episodes, two tasks, two cameras of different size, images at every other step, one feature off."""
    writer, random = DatasetWriter(tmp_path / "run"), np.random.default_rng(0)
    for index, length in enumerate(LENGTHS):
        recorder, task = writer.recorder(), f"task {index % 2}"
        recorder.open(EpisodeInfo(index, EpisodeKey(0, index, 0), task, "steered", "w", SPEC, ("fast", "up")))
        for k in range(length):
            colour = random.integers(20, 235, 3)
            pictures = {
                name: np.full((*size, 3), colour, np.uint8) for name, size in (("a", (64, 96)), ("b", (48, 48)))
            }
            seen = Observation(pictures if k % 2 == 0 else {}, task, random.normal(size=5), k / 20)
            outcome = Outcome.SUCCESS if k == length - 1 else Outcome.RUNNING
            policy, action, executed = random.normal(size=(3, 7))
            applied = {"fast": k / 4, "up": None}
            recorder.step(Step(k, seen, k // 2, k % 2, policy, action, executed, applied, 0.1, 0, outcome))
        recorder.close(Outcome.SUCCESS)
    return tmp_path / "run"


def test_lerobot_reads_what_was_recorded(tmp_path, recording):
    picked = [0, 5, 6, 14, 18]
    seen = lerobot(tmp_path, "read", str(recording), ",".join(map(str, picked)))

    assert seen["length"] == sum(LENGTHS)
    assert seen["episodes"] == len(LENGTHS)
    assert seen["ranges"] == [[0, 6], [6, 15], [15, 19]]
    assert seen["outcomes"] == ["success"] * 3
    assert seen["fps"] == 20
    assert seen["camera_keys"] == ["observation.images.a", "observation.images.b"]
    assert seen["last_episode_length"] == LENGTHS[-1]
    assert seen["window"] == [[2, 3, 64, 96]]  # two frames by delta_timestamps
    assert seen["stats"]["observation.images.a"]["mean"] == [3, 1, 1]
    assert seen["stats"]["action"]["q99"] == [7]

    table = read_steps(recording).to_pydict()
    for index in picked:
        item = seen["items"][str(index)]
        episode, frame = table["episode_index"][index], table["frame_index"][index]
        assert item["index"] == index
        assert item["task"] == f"task {episode % 2}"
        assert (item["episode_index"], item["frame_index"]) == (episode, frame)
        for name, values in table.items():
            np.testing.assert_allclose(_numeric(item[name]), _numeric(values[index]), rtol=1e-6, err_msg=name)
        for camera in "ab":
            own = list(episode_frames(recording, episode, camera))[frame]
            found = item[f"observation.images.{camera}"]
            assert found["shape"] == [3, *own.shape[:2]]
            np.testing.assert_allclose(found["mean"], own.mean(axis=(0, 1)) / 255, atol=1e-3)


def test_golden_format_is_what_lerobot_writes(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    features = {
        name: {key: feature[key] for key in ("dtype", "shape", "names")}
        for name, feature in golden["info"]["features"].items()
        if name not in ("timestamp", "frame_index", "episode_index", "index", "task_index")  # lerobot adds them
    }
    (tmp_path / "features.json").write_text(json.dumps(features))
    lerobot(tmp_path, "write", str(tmp_path / "spec"), str(tmp_path / "features.json"))
    assert format_of(tmp_path / "spec") == golden


def format_of(root: Path) -> dict[str, Any]:
    """What a dataset looks like, apart from its values."""

    def types(path: str) -> dict[str, str]:
        return {field.name: str(field.type) for field in pq.read_schema(root / path)}

    stats = json.loads((root / "meta/stats.json").read_text())
    return {
        "info": json.loads((root / "meta/info.json").read_text()),
        "data": types("data/chunk-000/file-000.parquet"),
        "episodes": types("meta/episodes/chunk-000/file-000.parquet"),
        "tasks": types("meta/tasks.parquet"),
        "stats": {name: {key: len(value) for key, value in kinds.items()} for name, kinds in stats.items()},
    }


def _numeric(value: Any) -> Any:
    return [float(c) for c in value.encode()] if isinstance(value, str) else value
