"""`vlasteer organism`: a small one learns something, is resumed, and is loaded by the ordinary adapter."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from vlasteer.launch.cli import main
from vlasteer.registry import load_policy


def column(path: Path, name: str) -> list[float]:
    with path.open(newline="", encoding="utf-8") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_small_one_learns(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["organism", "train", "--smoke", "--out", str(out), "--workers", "1"]) == 0
    hand = column(out / "curves" / "vision.csv", "hand")
    assert np.mean(hand[-3:]) < 0.5 * np.mean(hand[:3])
    errors = [np.mean([column(out / "planted" / "curves" / "acting.csv", axis) for axis in "xyz"], 0)]
    assert np.mean(errors[0][-3:]) < 0.6 * errors[0][0]
    assert (out / "planted" / "curves.png").stat().st_size > 5000
    policy = load_policy(out / "planted" / "checkpoint", world="tabletop_transport")
    chunk = policy.act(policy.example())
    assert np.isfinite(chunk.actions).all()
    # What is there is not made again, and the other kind shares vision and reading.
    before = (out / "vision.pt").stat().st_mtime_ns
    assert main(["organism", "train", "--smoke", "--out", str(out), "--recipe", "natural"]) == 2
    assert main(["organism", "train", "--smoke", "--out", str(out), "--recipe", "natural", "--resume"]) == 0
    assert (out / "vision.pt").stat().st_mtime_ns == before
    assert (out / "natural" / "checkpoint" / "model.safetensors").is_file()
