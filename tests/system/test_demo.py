"""`launch/demo`: from nothing to a recorded comparison, and what it says about itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def _demo(folder: Path) -> str:
    # An empty setting is none: with assets at hand it would take LIBERO, and minutes.
    environment = {**os.environ, "VLASTEER_LIBERO_ASSETS": "", "HF_HUB_CACHE": str(folder / "no-hub")}
    done = subprocess.run(
        [str(REPOSITORY / "launch" / "demo"), str(folder)],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
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
    assert "Its weights are random" in said
    assert "planted" in said
    pack = json.loads((folder / "features.json").read_text())
    assert set(pack["features"]) == {"fast", "slow"}
    assert (folder / "run" / "run.yaml").is_file()
    assert (folder / "run" / "comparison.csv").is_file()
    assert list((folder / "run" / "videos").rglob("*.mp4"))
    assert "nothing to do" in _demo(folder)
