"""`kill -9` at any moment loses at most the step in flight, and the folder stays a dataset."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vlasteer.recording import DatasetWriter, episode_frames, finished_episodes, read_episodes, read_steps

SCRIPT = Path(__file__).with_name("record_forever.py")
REPOSITORY = Path(__file__).resolve().parents[2]
EPISODES = 40

_spec = importlib.util.spec_from_file_location("record_forever", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
record_forever = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record_forever)


def run(root: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(root), str(EPISODES)], stdout=subprocess.PIPE, text=True, env=environment
    )


def kill_after(process: subprocess.Popen[str], lines: int, delay_s: float) -> list[str]:
    """What it printed until it was killed, `delay_s` after that many lines."""
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(lines)]
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    seen += process.stdout.readlines()
    process.wait()
    return [line.strip() for line in seen if line.endswith("\n")]


def check_readable(root: Path) -> None:
    """What a reader that knows nothing of journals sees is whole, at the very moment of the crash."""
    if not (root / "meta/info.json").exists():
        return
    rows = read_episodes(root)
    info = json.loads((root / "meta/info.json").read_text())
    assert len(rows) - info["total_episodes"] in (0, 1)  # the row comes first
    if info["total_episodes"]:
        json.loads((root / "meta/stats.json").read_text())
    for row in rows:
        steps = read_steps(root, [row["episode_index"]])
        assert steps.num_rows == row["length"]
        assert sum(1 for _ in episode_frames(root, row["episode_index"], "front")) == row["length"]


def check_contents(root: Path) -> None:
    """Every recorded number and picture is the right one, and the totals agree."""
    rows = read_episodes(root)
    for row in rows:
        table = read_steps(root, [row["episode_index"]])
        actions = [record_forever.expected(row["plan_index"], k)[0] for k in range(row["length"])]
        np.testing.assert_array_equal(table["executed.action"].to_pylist(), actions)
        assert table["steering.fast"].to_pylist() == list(range(row["length"]))
        for camera in ("front", "wrist"):
            frames = list(episode_frames(root, row["episode_index"], camera))
            greys = [record_forever.expected(row["plan_index"], k)[1] for k in range(row["length"])]
            np.testing.assert_allclose([frame.mean() for frame in frames], greys, atol=4)
    info = json.loads((root / "meta/info.json").read_text())
    assert info["total_episodes"] == len(rows)
    assert info["total_frames"] == sum(row["length"] for row in rows) == read_steps(root).num_rows
    assert [p.num_rows for p in map(pq.read_metadata, sorted(root.glob("data/*/*.parquet")))] == [
        row["length"] for row in rows
    ]
    stats = json.loads((root / "meta/stats.json").read_text())
    assert stats["action"]["count"] == [info["total_frames"]]
    assert not list((root / "journal").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_one_recording_killed_again_and_again(tmp_path, seed):
    root, chance = tmp_path / "run", random.Random(seed)
    kills = 0
    while kills < 7:
        process = run(root)
        printed = kill_after(process, lines=chance.randrange(1, 60), delay_s=chance.random() * 0.05)
        if process.returncode != -signal.SIGKILL:
            break  # it was done before
        kills += 1
        check_readable(root)
        steps = [tuple(map(int, line.split())) for line in printed if not line.startswith("closed")]
        handed_over = Counter(episode for episode, _ in steps)

        DatasetWriter(root)  # recovers
        check_contents(root)
        latest = {row["plan_index"]: row for row in read_episodes(root)}
        for episode, count in handed_over.items():
            lost = count - latest[episode]["length"] if episode in latest else count
            assert lost <= 1, f"episode {episode} lost {lost} steps"
        for line in printed:
            if line.startswith("closed"):
                assert latest[int(line.split()[1])]["outcome"] == "success"
    assert kills >= 3

    process = run(root)
    process.communicate(timeout=60)
    assert process.returncode == 0
    check_contents(root)
    assert sorted(finished_episodes(read_episodes(root))) == list(range(EPISODES))
    interrupted = [row for row in read_episodes(root) if row["interrupted"]]
    assert all(row["outcome"] == "failed" and row["length"] <= record_forever.LENGTH for row in interrupted)
