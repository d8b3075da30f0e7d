"""rerun opens what was recorded, pictures included, without a screen: `rerun FOLDER`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vlasteer.recording import DatasetWriter
from vlasteer.types import EE_NAMES, ActionKind, ActionSpec, EpisodeInfo, EpisodeKey, Gripper, Observation, Outcome
from vlasteer.types import StepRecord as Step

pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install 'vlasteer[view]'")
pytestmark = pytest.mark.slow

SPEC = ActionSpec(ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, (0.05,) * 6, 20.0, EE_NAMES)
LENGTH = 12


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    writer, random = DatasetWriter(tmp_path / "run"), np.random.default_rng(0)
    for index in range(2):
        recorder = writer.recorder()
        recorder.open(EpisodeInfo(index, EpisodeKey(0, index, 0), "go", "steered", "w", SPEC, ("fast",)))
        for k in range(LENGTH):
            image = np.full((64, 96, 3), 20 * k, np.uint8)
            action = random.normal(size=7)
            seen = Observation({"front": image} if k % 3 == 0 else {}, "go", random.normal(size=4), k / 20)
            recorder.step(Step(k, seen, k // 3, k % 3, action, action, action, {"fast": 8.0}, 0.1, 0, Outcome.RUNNING))
        recorder.close(Outcome.HORIZON)
    return tmp_path / "run"


def rerun(home: Path, *arguments: object) -> str:
    # Its own home: rerun writes a file about analytics into it.
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "rerun", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_rerun_loads_values_and_pictures(tmp_path, recording):
    saved = tmp_path / "run.rrd"
    said = rerun(tmp_path, recording, "--save", saved)
    assert "Failed" not in said
    assert "ERROR" not in said

    found = rerun(tmp_path, "rrd", "stats", saved)
    for entity in (
        *("action", "executed.action", "commanded.action", "policy.action", "observation.state", "world.time_s"),
        *("steering.fast", "observation.images.front", "policy.inference_s", "task"),
    ):
        assert f"/{entity}: " in found
    assert "VideoStream:sample" in found  # an encoded picture per step, not only a reference to a file
    assert "RecordingInfo:name: 2" in found  # each episode a recording of its own
