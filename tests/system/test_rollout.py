"""`vlasteer rollout` on real LIBERO scenes, with cheap pictures and short episodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vlasteer.launch.cli import main
from vlasteer.runs import Run

pytestmark = pytest.mark.slow


@pytest.fixture
def command(openvla_tiny: Path, shared: Path, tmp_path: Path) -> list[str]:
    pack = {"format": "vlasteer-feature-pack/1", "features": {"fast": [[0, 16], [0, 69]]}}
    (tmp_path / "pack.json").write_text(json.dumps(pack))
    return [
        "rollout", "--policy", str(openvla_tiny), "--env", "libero_goal", "--assets", str(shared / "libero"),
        "--fast-render", "--horizon", "5", "--steer", "fast=10", "--pack", str(tmp_path / "pack.json"),
        "--paired", "--out", str(tmp_path / "run"),
    ]  # fmt: skip


def test_a_paired_run_is_recorded_compared_and_then_complete(command, tmp_path, capsys) -> None:
    assert main([*command, "--tasks", "0,1", "--workers", "2"]) == 0
    shown = capsys.readouterr().out
    assert "success rate" in shown
    assert "equal length" in shown
    run = Run.load(tmp_path / "run")
    assert run.episodes["arm"].tolist().count("steered") == 2
    assert run.episodes["arm"].tolist().count("unsteered") == 2
    steps = run.steps
    steered = steps[steps["arm"] == "steered"]
    assert set(steered["steering.fast"]) == {10.0}
    assert steps[steps["arm"] == "unsteered"]["steering.fast"].isna().all()
    first = dict(iter(steps[(steps["task"] == 0) & (steps["step"] == 0)].groupby("arm")))
    state = [c for c in steps.columns if c.startswith("world.state.")]
    np.testing.assert_array_equal(first["steered"][state], first["unsteered"][state])
    assert (first["steered"]["commanded.action.x"].item(), first["steered"]["commanded.action.y"].item()) != (
        first["unsteered"]["commanded.action.x"].item(),
        first["unsteered"]["commanded.action.y"].item(),
    )
    frames = list(run.frames(0, "image"))
    assert len(frames) == 5
    assert frames[0].std() > 20  # a scene, not a blank picture

    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "data").rglob("*.parquet")}
    assert main([*command, "--tasks", "0,1", "--workers", "1"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "data").rglob("*.parquet")} == written

    assert main([*command, "--tasks", "0-2"]) == 2
    assert "tasks" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_where_it_stopped(command, tmp_path) -> None:
    whole = [sys.executable, "-m", "vlasteer.launch.cli", *command, "--episodes", "3"]
    data = tmp_path / "run" / "data"
    process = subprocess.Popen(whole, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(data.rglob("*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    again = subprocess.run(whole, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    there = int(again.stdout.partition("Resuming: ")[2].partition(" of 6 episodes")[0])
    assert 1 <= there < 6  # the second may have been interrupted while it was sealed
    episodes = Run.load(tmp_path / "run").episodes
    assert sorted(episodes[episodes["outcome"] == "horizon"]["plan_index"]) == list(range(6))


@pytest.mark.parametrize("checkpoint", ["pi0-tiny", "pi0fast-tiny"])
def test_the_other_policies_roll_out_in_the_same_world(checkpoint: str, shared: Path, tmp_path: Path, capsys) -> None:
    command = [
        "rollout", "--policy", str(shared / "fixtures" / checkpoint), "--env", "libero_goal", "--assets",
        str(shared / "libero"), "--fast-render", "--horizon", "8", "--replan", "4", "--steer", "up=4", "--paired",
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main(command) == 0
    steps = Run.load(tmp_path / "run").steps
    assert len(steps) == 16
    assert steps["policy.chunk_step"].tolist() == [0, 1, 2, 3] * 4
    assert steps["looked.image"].tolist() == [True, False, False, False] * 4
    unsteered, steered = (
        steps[steps["arm"] == arm]["commanded.action.x"].to_numpy() for arm in ("unsteered", "steered")
    )
    assert np.abs(unsteered - steered).max() > 0
