"""`kill -9` and what lies beside the dataset: a camera loses a fraction of a second at most, the policy one call."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import record_beside

from vlasteer.recording import DatasetWriter, camera_frames, read_calls, read_episodes

REPOSITORY = Path(__file__).resolve().parents[2]
LOST_S = 0.25


def killed(root: Path, steps: int, delay_s: float) -> tuple[int, int]:
    """Run, kill `delay_s` after that many steps; the last step that was handed over and the last frame given out."""
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, record_beside.__file__, str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    lines: list[str] = []
    while f"step {steps}\n" not in lines[-5:]:
        line = process.stdout.readline()
        assert line, "the recording ended by itself"
        lines.append(line)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    process.wait()
    whole = [line.split() for line in lines if line.endswith("\n")]
    return (
        max(int(number) for kind, number in whole if kind == "step"),
        max((int(number) for kind, number in whole if kind == "frame"), default=-1),
    )


@pytest.mark.slow
def test_a_recording_killed_again_and_again(tmp_path):
    root, chance = tmp_path / "run", random.Random(0)
    for episode, steps in enumerate((0, 25, 60)):
        last_step, last_frame = killed(root, steps, chance.random() * 0.1)
        DatasetWriter(root)  # recovers
        row = read_episodes(root)[episode]
        assert row["interrupted"]
        assert row["length"] >= last_step  # the step in flight is lost at most

        calls = list(read_calls(root, episode))
        assert len(calls) >= last_step  # so is the call in flight
        for k, call in enumerate(calls):
            assert call.index == k
            assert np.all(call.observation.images["image"] == k % 256)
            assert {values.shape for values in call.activations.values()} == {(6, 32)}

        if last_frame >= record_beside.RATE * LOST_S:
            frames = list(camera_frames(root, episode, "wrist"))
            assert frames[-1].taken_s >= last_frame / record_beside.RATE - LOST_S
            for frame in frames:
                number = round(frame.taken_s * record_beside.RATE)
                np.testing.assert_allclose(frame.image.mean(), record_beside.grey(number), atol=3)
        assert not list((root / "journal").iterdir())
        assert not list(root.rglob("*.tmp"))
