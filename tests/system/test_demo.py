"""`launch/demo`: from nothing to a recorded comparison, and what it says about itself."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def _demo(folder: Path) -> str:
    done = subprocess.run(
        [str(REPOSITORY / "launch" / "demo"), str(folder)],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_finds_steers_and_records(tmp_path: Path) -> None:
    if Path(sys.prefix) != REPOSITORY / ".venv" or not (REPOSITORY / ".venv" / "vlasteer-setup.stamp").exists():
        pytest.skip("this environment was not made by launch/setup, and the demo would make it")
    folder = tmp_path / "a demo"
    said = _demo(folder)
    assert "planted in its training" in said
    assert "no evidence about OpenVLA or Pi0" in said
    concepts = ("fast", "slow", "high", "low")
    assert set(json.loads((folder / "features.json").read_text())["features"]) == set(concepts)
    for concept in concepts:
        assert (folder / concept / "run.yaml").is_file()
        assert (folder / concept / "side_by_side.mp4").stat().st_size > 10_000
        assert list((folder / concept / "videos").rglob("*.mp4"))
    for concept, measure, sign in (
        ("fast", "moved length (mm, equal length)", 1),
        ("slow", "moved length (mm, equal length)", -1),
        ("high", "peak height (mm)", 1),
        ("low", "peak height (mm)", -1),
    ):
        with (folder / concept / "comparison.csv").open(newline="") as file:
            lines = {line["measure"]: line for line in csv.DictReader(file)}
        plain, steered, random = (float(lines[measure][arm]) for arm in ("unsteered", "steered", "random"))
        assert sign * (steered - plain) > 0
        assert abs(steered - plain) > abs(random - plain)
        assert float(lines["success rate (%)"]["steered"]) >= 90
    assert (folder / "report.html").stat().st_size > 100_000
    seen, look, then = said.strip().splitlines()[-3:]
    assert seen.startswith("Seen:")
    for told in ("fast = 1: steps", "slow = 1: steps", "high = 1: peak height", "low = 1: peak height"):
        assert told in seen
    assert f"{folder}/report.html" in look
    assert f"{folder}/fast/side_by_side.mp4" in look
    assert "--random 20" in then
    assert "nothing to do" in _demo(folder)
